/** What names a completion: ids, seeds and the fingerprint of what computed it. */
import { createHash, randomInt, randomUUID } from "node:crypto"
import type { ServiceTier } from "@helixflow/schema/Caller"
import { SessionId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import { Clock, Effect } from "effect"

/** What all parts of an answer have in common. */
export interface CompletionIdentity {
  readonly id: SessionId
  /** Seconds since the epoch. */
  readonly created: number
  readonly model: string
  readonly fingerprint: string
  /** The service tier that the request was served in, if it said one. */
  readonly tier?: ServiceTier | undefined
}

/** As large as a seed that nobody chose needs to be. */
const seeds = 2 ** 31

export const randomSeed: Effect.Effect<number> = Effect.sync(() => randomInt(seeds))

const fingerprints = new WeakMap<ModelSpec, string>()

/** The same for the same model in the same form: https://platform.openai.com/docs/advanced-usage#reproducible-outputs */
export const fingerprintOf = (spec: ModelSpec): string => {
  const known = fingerprints.get(spec)
  if (known !== undefined) return known
  const form = [spec.id, spec.created, spec.weights, spec.kvPerToken, spec.context].join("\n")
  const fingerprint = `fp_${createHash("sha256").update(form).digest("hex").slice(0, 10)}`
  fingerprints.set(spec, fingerprint)
  return fingerprint
}

export const makeIdentity = (
  prefix: "chatcmpl" | "cmpl",
  spec: ModelSpec,
  asked?: ServiceTier | "auto" | null
): Effect.Effect<CompletionIdentity> =>
  Effect.map(Clock.currentTimeMillis, (now) => ({
    id: SessionId.make(`${prefix}-${randomUUID().replaceAll("-", "")}`),
    created: Math.floor(now / 1000),
    model: spec.id,
    fingerprint: fingerprintOf(spec),
    tier: asked === "auto" ? "default" : (asked ?? undefined)
  }))
