/**
 * Takes a device out of service whose replicas keep failing: two of them gave up (each after six crashes within a minute) within ten
 * minutes. Then the supervisor of its replicas ends, all of them with it, and is started again only after a while, which doubles each
 * time: meanwhile what ran there runs elsewhere, and nothing is loaded there.
 *
 * Loads that fail say more of the model than of the device; the scheduler tries them elsewhere by itself.
 */
import type { ReplicaId } from "@helixflow/schema/Ids"
import { Clock, Context, Data, Deferred, Effect } from "effect"
import type { ChildSpec } from "./ChildInstance.ts"
import { type RestartPolicy, withinPeriod } from "./RestartPolicy.ts"

export class DeviceFailing extends Data.TaggedError("DeviceFailing")<{
  readonly replica: string
  readonly count: number
}> {
  override get message() {
    return `the device is taken out of service: ${this.count} of its replicas kept failing, ${this.replica} last`
  }
}

/** The first give-up may be the model's fault. */
const defaultPolicy: RestartPolicy = {
  intensity: 1,
  periodMillis: 600_000,
  backoff: { minMillis: 10_000, factor: 2, maxMillis: 600_000 },
  quietMillis: 600_000
}

/** How many give-ups within which time are too many, and how long a device then stays out of service. */
export class DeviceGuardPolicy extends Context.Reference<DeviceGuardPolicy>()("@helixflow/runtime/DeviceGuardPolicy", {
  defaultValue: () => defaultPolicy
}) {}

export interface DeviceGuard {
  /** A replica on the device is not restarted any more. */
  readonly gaveUp: (replica: ReplicaId) => Effect.Effect<void>
  /** The supervisor of the device's replicas as a child that ends when there were too many. */
  readonly over: <E>(replicas: ChildSpec<E>) => ChildSpec<E>
}

export const make = (policy: RestartPolicy): DeviceGuard => {
  let giveUps: ReadonlyArray<number> = []
  /** Of the supervisor that runs. */
  let exceeded: Deferred.Deferred<never, DeviceFailing> | null = null
  return {
    gaveUp: (replica) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        giveUps = [...withinPeriod(policy, giveUps, now), now]
        const { length: count } = giveUps
        return exceeded !== null && count > policy.intensity
          ? Deferred.fail(exceeded, new DeviceFailing({ replica, count }))
          : Effect.void
      }),
    over: (replicas) => ({
      ...replicas,
      pace: policy,
      start: Effect.gen(function* () {
        const failing = yield* Deferred.make<never, DeviceFailing>()
        exceeded = failing
        const run = yield* replicas.start
        return Effect.raceFirst(run, Deferred.await(failing))
      })
    })
  }
}
