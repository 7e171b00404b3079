/** Whom a request counts to while it waits for a place, and how long it may. */
import { Caller, type ServiceTier } from "@helixflow/schema/Caller"
import type { PermissionDenied } from "@helixflow/schema/Errors"
import type { KeepAlive } from "@helixflow/schema/KeepAlive"
import { Context, Effect } from "effect"
import { HttpLimits } from "./HttpLimits.ts"
import { Principal, requireScope } from "./Principal.ts"

/** What a body may say of it; see `OpenAiQueue.ts`. */
interface Parameters {
  readonly service_tier?: ServiceTier | "auto" | null | undefined
  /** Seconds. */
  readonly queue_timeout?: number | null | undefined
  readonly keep_alive?: KeepAlive | null | undefined
}

export interface Queueing {
  readonly caller: Caller
  /** Milliseconds. */
  readonly queueTimeout: number
}

/** Milliseconds that the request at hand has waited for another model, which could not be had. */
export class Waited extends Context.Reference<Waited>()("@helixflow/gateway/Waited", { defaultValue: () => 0 }) {}

/** What is left to who has waited in vain: enough for a place that is free, not for a load. */
const leastMillis = 1_000

/** Whoever may use the API may wait; to go before others takes a scope. */
export const queueing = ({
  keep_alive,
  queue_timeout,
  service_tier
}: Parameters = {}): Effect.Effect<Queueing, PermissionDenied, Principal> =>
  Effect.gen(function* () {
    const principal = yield* Principal
    if (service_tier === "priority") yield* requireScope(principal, "priority")
    const tier = service_tier === "auto" ? "default" : (service_tier ?? "default")
    const timeout = queue_timeout ? queue_timeout * 1000 : (yield* HttpLimits).queueMillis
    const waited = yield* Waited
    return {
      caller: new Caller(
        {
          tenant: principal.tenant,
          tier,
          weight: principal.weight,
          ...(keep_alive != null && { keepAlive: keep_alive })
        },
        { disableValidation: true }
      ),
      queueTimeout: waited === 0 ? timeout : Math.max(leastMillis, timeout - waited)
    }
  })
