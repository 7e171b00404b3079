/** Carries a load out: makes room, claims the memory, starts the replica. However it ends, nothing of it is left behind. */
import { LoadFailed } from "@helixflow/schema/Errors"
import { Bytes, type DeviceId, type ReplicaId } from "@helixflow/schema/Ids"
import { partsOf, type ReplicaStatus } from "@helixflow/schema/Model"
import { Cause, Data, Duration, Effect, Exit, Option, Schedule } from "effect"
import type { Fleet } from "./Fleet.ts"
import type { SchedulerOptions } from "./SchedulerOptions.ts"
import type { LoadPlan } from "./SchedulerState.ts"

/** The replicas that should make room did not finish in time. */
class StillBusy extends Data.TaggedError("StillBusy") {}

/** Somebody needs the place who waits, and nobody waits for this. */
class GaveWay extends Data.TaggedError("GaveWay") {}

export type LoadOutcome =
  | { readonly _tag: "Loaded"; readonly status: ReplicaStatus }
  | { readonly _tag: "Failed"; readonly error: LoadFailed }
  /** The model is not to blame; if memory was, what the device has free by its own figure. */
  | {
      readonly _tag: "Abandoned"
      readonly reason: string
      readonly short: { readonly device: DeviceId; readonly free: number } | null
    }

export interface LoadJob {
  readonly fleet: typeof Fleet.Service
  readonly options: SchedulerOptions
  readonly plan: LoadPlan
  /** Succeeds when the load is to be given up. */
  readonly givenUp: Effect.Effect<void>
  /** Succeeds when no request has a slot of the replica. */
  readonly idle: (replica: ReplicaId) => Effect.Effect<void>
  /** Stops a replica and releases its claim. */
  readonly evict: (replica: ReplicaId) => Effect.Effect<void>
  /** Releases the claims of the plan, for good. */
  readonly release: Effect.Effect<void>
  /** The memory of a device is promised, and so much is left. */
  readonly reserved: (device: DeviceId, free: number) => void
}

/** A device that is overloaded or restarting is asked again for a few seconds. */
const transient = Schedule.intersect(Schedule.exponential("100 millis"), Schedule.recurs(5))

const whileTransient = <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.retry(effect, {
    schedule: transient,
    while: ({ _tag }) => _tag === "ActorUnreachable" || _tag === "MailboxFull"
  })

/** Never fails; interrupted, it cleans up first. */
export const run = ({ fleet, options, plan, ...job }: LoadJob): Effect.Effect<LoadOutcome> => {
  const { spec, replica, device, kind, reservation, parts } = plan
  const all = partsOf(plan)
  const bytes = spec.claimOn(kind)
  const makeRoom = Effect.forEach(plan.evict, job.idle, { concurrency: "unbounded", discard: true }).pipe(
    Effect.timeoutFail({ duration: options.drainTimeout, onTimeout: () => new StillBusy() }),
    // from here on they are as good as gone: half a stop would leave their memory in doubt
    Effect.zipRight(
      Effect.uninterruptible(Effect.forEach(plan.evict, job.evict, { concurrency: "unbounded", discard: true }))
    )
  )
  // on all devices or, as the end of a load releases every part of it, on none
  const claim = Effect.forEach(all, ({ device, reservation }) =>
    fleet
      .reserve(device, {
        reservation,
        owner: replica,
        bytes,
        shareable: spec.kvBytesOn(kind),
        within: null,
        ttlMillis: options.reservationTtl
      })
      .pipe(
        whileTransient,
        Effect.tap(({ free }) => Effect.sync(() => job.reserved(device, free)))
      )
  )
  const commit = (state: "loading" | "resident", ttlMillis: number | null) =>
    Effect.forEach(
      all,
      ({ device, reservation }) => fleet.commit(device, { reservation, state, ttlMillis }).pipe(whileTransient),
      { discard: true }
    )
  const start = fleet.startReplica({ replica, model: spec, device, reservation, parts }).pipe(
    Effect.timeoutFail({
      duration: options.loadTimeout,
      onTimeout: () =>
        new LoadFailed({
          model: spec.id,
          reason: `it was not ready after ${Duration.format(Duration.millis(options.loadTimeout))}`,
          file: null
        })
    })
  )
  let free: Bytes | null = null
  const load = Effect.gen(function* () {
    yield* makeRoom
    const promised = yield* claim
    free = Bytes.make(Math.min(...promised.map(({ free }) => free)))
    // the claim outlives the start's own deadline, so that it never expires under a living process
    yield* commit("loading", options.loadTimeout + options.reservationTtl)
    const status = yield* start
    yield* commit("resident", null).pipe(Effect.onError(() => fleet.stopReplica(replica)))
    return status
  })

  const givesWay = Effect.zipRight(job.givenUp, new GaveWay())

  const failed = (reason: string) => new LoadFailed({ model: spec.id, reason, file: null })
  const outcomeOf = (cause: Cause.Cause<Effect.Effect.Error<typeof load> | GaveWay>): LoadOutcome =>
    Option.match(Cause.failureOption(cause), {
      onNone: () => ({ _tag: "Failed", error: failed(Cause.pretty(cause)) }),
      onSome: (error) => {
        if (error._tag === "ModelReplaced") return { _tag: "Abandoned", reason: error.message, short: null }
        if (error._tag === "LoadFailed") return { _tag: "Failed", error: withFigures(error, bytes, free) }
        if (error._tag === "OutOfMemory") return { _tag: "Abandoned", reason: error.message, short: error }
        if (error._tag === "GaveWay") return { _tag: "Abandoned", reason: "it gave way to a request", short: null }
        if (error._tag === "StillBusy") return { _tag: "Abandoned", reason: stillBusy(plan), short: null }
        return { _tag: "Failed", error: failed(error.message) }
      }
    })

  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.exit(restore(Effect.raceFirst(load, givesWay))), (exit): Effect.Effect<LoadOutcome> => {
      if (Exit.isSuccess(exit)) return Effect.succeed({ _tag: "Loaded", status: exit.value })
      const ended: Effect.Effect<LoadOutcome> = Cause.isInterruptedOnly(exit.cause)
        ? Effect.interrupt
        : Effect.succeed(outcomeOf(exit.cause))
      return Effect.zipRight(job.release, ended)
    })
  )
}

/** The scheduler's part of what is known of a load that memory was not enough for. */
const withFigures = (error: LoadFailed, claimed: Bytes, free: Bytes | null): LoadFailed =>
  error.memory === null ? error : new LoadFailed({ ...error, memory: { ...error.memory, claimed, free } })

const stillBusy = (plan: LoadPlan) => `${plan.evict.join(", ")} did not finish in time to make room`
