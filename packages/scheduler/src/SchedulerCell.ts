/**
 * The cell that holds the scheduler's state, and the fibers that carry its commands out. A message changes the cell in one
 * synchronous step, so messages need no lock and see no half-made decision.
 *
 * What is taken is given back on every way out, and a device that cannot be told of a release now is told later.
 */
import type { Served } from "@helixflow/schema/Caller"
import type { DeviceId, ReplicaId, ReservationId } from "@helixflow/schema/Ids"
import { type ModelSpec, partsOf } from "@helixflow/schema/Model"
import type { SchedulerEvent } from "@helixflow/schema/Scheduling"
import {
  Chunk,
  Clock,
  Deferred,
  Effect,
  Exit,
  FiberHandle,
  FiberId,
  FiberSet,
  Option,
  PubSub,
  Schedule,
  Stream
} from "effect"
import * as Advance from "./Advance.ts"
import { Fleet } from "./Fleet.ts"
import * as FleetView from "./FleetView.ts"
import * as Loading from "./Loading.ts"
import * as LoadJob from "./LoadJob.ts"
import * as Placing from "./Placing.ts"
import * as Preempting from "./Preempting.ts"
import type * as Queue from "./Queue.ts"
import type { SchedulerOptions } from "./SchedulerOptions.ts"
import type { Command, Grant, LoadPlan, Refusal, SchedulerState, Step } from "./SchedulerState.ts"
import * as State from "./SchedulerState.ts"
import * as Slots from "./Slots.ts"

/** How far a watcher of the events may fall behind. */
const eventBacklog = 8_192

/** For as long as the scheduler lives. */
const untilTold = Schedule.exponential("100 millis").pipe(Schedule.union(Schedule.spaced("5 seconds")))

export interface SchedulerCell {
  readonly fleet: typeof Fleet.Service
  readonly options: SchedulerOptions
  readonly state: () => SchedulerState
  readonly set: (state: SchedulerState) => void
  /** Takes a step, decides anew for those who wait, and carries out what follows. */
  readonly settle: (step: (now: number) => Step) => Effect.Effect<void>
  /** Sleeps until time alone may change something. */
  readonly wakeInTime: (now: number) => void
  /** Leaves the queue; the ticket needs no answer any more. */
  readonly withdraw: (arrival: Queue.Arrival, ticket: number) => Effect.Effect<void>
  /** Takes over what the fleet's models are now. */
  readonly refreshModels: Effect.Effect<void>
  /** Carries a command out; returns at once. */
  readonly perform: (command: Command) => void
  /** Where the answer to a ticket that waits will be. */
  readonly answerTo: (ticket: number) => Deferred.Deferred<Grant, Refusal>
  /** Ends a placement by its claim. What is gone or going already needs nothing. */
  readonly giveBack: (claim: ReservationId, served?: Served) => Effect.Effect<void>
  /** Drains a replica and stops it. False: it still had requests at the deadline and goes on, or is not one that runs. */
  readonly drainAndStop: (replica: ReplicaId, timeoutMillis: number) => Effect.Effect<boolean>
  /** Releases a claim at its device: before it returns, or else as soon as the device can be told. */
  readonly release: (device: DeviceId, claim: ReservationId) => Effect.Effect<void>
  readonly events: Stream.Stream<SchedulerEvent>
}

/** An event, numbered so that who misses some knows how many. */
interface Emitted {
  readonly number: number
  readonly event: SchedulerEvent
}

/** What a watcher is told that has seen all before the `next`th. */
const withLosses = (next: number) => (events: Chunk.Chunk<Emitted>) => {
  const told: Array<SchedulerEvent> = []
  for (const { event, number } of events) {
    if (number > next) told.push({ _tag: "Lost", at: event.at, count: number - next })
    told.push(event)
    next = number + 1
  }
  return Chunk.unsafeFromArray(told)
}

export const make = Effect.fnUntraced(function* (options: SchedulerOptions) {
  const fleet = yield* Fleet
  const events = yield* PubSub.sliding<Emitted>(eventBacklog)
  let emitted = 0
  const tickets = new Map<number, Deferred.Deferred<Grant, Refusal>>()
  /** Evictions that wait for a replica to have no requests. */
  const draining = new Map<ReplicaId, Deferred.Deferred<void>>()
  /** Loads under way, and what ends them. */
  const loading = new Map<ReplicaId, Deferred.Deferred<void>>()
  const fork = yield* FiberSet.makeRuntime<never, void>()
  const startTimer = yield* FiberHandle.makeRuntime<never>()
  let specs: ReadonlyArray<ModelSpec> = []
  let state = State.empty(options, yield* Clock.currentTimeMillis)
  let wakesAt = Number.POSITIVE_INFINITY

  const perform = (command: Command): void => {
    switch (command._tag) {
      case "Grant":
        answer(command.ticket, Exit.succeed(command))
        break
      case "Refuse":
        answer(command.ticket, Exit.fail(command.error))
        break
      case "Load":
        fork(load(command.plan))
        break
      case "Retire":
        fork(retire(command.replica))
        break
      case "GiveUp": {
        const givenUp = loading.get(command.plan.replica)
        if (givenUp !== undefined) Deferred.unsafeDone(givenUp, Exit.void)
        break
      }
      case "PhaseOut":
        fork(phaseOut(command.replica))
        break
      case "Stop":
        fork(evict(command.replica))
        break
      case "GiveBack":
        fork(giveBack(command.slot.claim))
        break
      case "Preempt":
        fork(preempt(command.slot))
        break
      case "Emit":
        events.unsafeOffer({ number: emitted++, event: command.event })
    }
  }

  const answer = (ticket: number, exit: Exit.Exit<Grant, Refusal>): void => {
    const waiting = tickets.get(ticket)
    tickets.delete(ticket)
    if (waiting !== undefined) Deferred.unsafeDone(waiting, exit)
  }

  const answerTo = (ticket: number) => {
    const waiting = Deferred.unsafeMake<Grant, Refusal>(FiberId.none)
    tickets.set(ticket, waiting)
    return waiting
  }

  const settleAt = (now: number, step: Step): void => {
    const advanced = Advance.advance(step.state, now)
    state = advanced.state
    for (const command of step.commands) perform(command)
    for (const command of advanced.commands) perform(command)
    wakeInTime(now)
  }

  const settle = (step: (now: number) => Step) => Effect.map(Clock.currentTimeMillis, (now) => settleAt(now, step(now)))

  /** An earlier timer does as well. */
  const wakeInTime = (now: number): void => {
    if (state.wakeAt >= wakesAt) return
    wakesAt = state.wakeAt
    const elapsed = Effect.suspend(() => {
      wakesAt = Number.POSITIVE_INFINITY
      return settle(() => ({ state, commands: [] }))
    })
    startTimer(Effect.delay(elapsed, Math.max(1, Math.ceil(state.wakeAt - now))))
  }

  /** `then` runs once the device has been told. */
  const releaseThen = (device: DeviceId, claim: ReservationId, then: Effect.Effect<void>): Effect.Effect<void> => {
    const told = fleet.release(device, claim)
    const later = Effect.orDie(Effect.retry(Effect.delay(told, "100 millis"), untilTold))
    return told.pipe(
      Effect.matchEffect({
        onSuccess: () => then,
        onFailure: () => Effect.sync(() => fork(Effect.zipRight(later, then)))
      }),
      Effect.asVoid
    )
  }

  /** `then` runs once all devices of a replica have been told. */
  const releaseAllThen = (replica: Parameters<typeof partsOf>[0], then: Effect.Effect<void>): Effect.Effect<void> =>
    partsOf(replica).reduceRight((then, { device, reservation }) => releaseThen(device, reservation, then), then)

  const giveBack = (claim: ReservationId, served?: Served): Effect.Effect<void> =>
    Effect.suspend(() => {
      const ending = Slots.releasing(state, claim)
      if (ending === undefined) return Effect.void
      state = ending.state
      const { slot } = ending
      const free = settle((now) => Slots.freed(state, slot, served, now)).pipe(
        Effect.tap(() => Effect.sync(() => drained(slot.replica)))
      )
      return releaseThen(slot.device, claim, free)
    }).pipe(Effect.uninterruptible)

  const preempt = ({ claim, replica, request }: State.Slot): Effect.Effect<void> =>
    Effect.flatMap(fleet.preempt(replica, request), (gives) =>
      gives ? Effect.void : settle((now) => Preempting.kept(state, claim, now))
    )

  const drained = (replica: ReplicaId): void => {
    const waiting = draining.get(replica)
    const taken = FleetView.replica(state.view, replica)?.taken ?? 0
    if (waiting !== undefined && taken === 0) Deferred.unsafeDone(waiting, Exit.void)
  }

  const idle = (replica: ReplicaId) =>
    Effect.suspend(() => {
      const waiting = Deferred.unsafeMake<void>(FiberId.none)
      draining.set(replica, waiting)
      drained(replica)
      return Deferred.await(waiting)
    }).pipe(Effect.ensuring(Effect.sync(() => draining.delete(replica))))

  const evict = (replica: ReplicaId) =>
    Effect.suspend(() => {
      const entry = FleetView.replica(state.view, replica)
      if (entry === undefined) return Effect.void
      const gone = settle((now) => Loading.stopped(state, replica, now))
      // whatever keeps its release from being told: a claim that drains ends by itself
      const drains = Effect.forEach(
        partsOf(entry.status),
        ({ device, reservation }) =>
          Effect.ignore(fleet.commit(device, { reservation, state: "draining", ttlMillis: options.drainTimeout })),
        { concurrency: "unbounded", discard: true }
      )
      return drains.pipe(
        Effect.zipRight(fleet.stopReplica(replica)),
        Effect.zipRight(releaseAllThen(entry.status, gone))
      )
    })

  /** Takes no new requests any more. What is not done at the deadline is cut off. */
  const phaseOut = (replica: ReplicaId): Effect.Effect<void> =>
    Effect.zipRight(Effect.timeoutOption(idle(replica), options.drainTimeout), Effect.uninterruptible(evict(replica)))

  const drainAndStop = (replica: ReplicaId, timeoutMillis: number): Effect.Effect<boolean> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        const draining = Loading.draining(state, replica, true)
        if (draining === undefined) return Effect.succeed(false)
        state = draining
        const goesOn = settle(() => ({ state: Loading.draining(state, replica, false) ?? state, commands: [] }))
        return restore(Effect.timeoutOption(idle(replica), timeoutMillis)).pipe(
          Effect.onInterrupt(() => goesOn),
          Effect.flatMap((drained) =>
            Option.isSome(drained) ? Effect.as(evict(replica), true) : Effect.as(goesOn, false)
          )
        )
      })
    )

  /** Its requests go on elsewhere, so it stops in the end whatever it computes: what can't be handed over is tried again there. */
  const retire = (replica: ReplicaId): Effect.Effect<void> =>
    Effect.suspend(() => {
      const draining = Loading.draining(state, replica, true)
      if (draining === undefined) return Effect.void
      state = draining
      return Effect.zipRight(
        Effect.timeoutOption(Effect.zipRight(fleet.handOver(replica), idle(replica)), options.drainTimeout),
        Effect.uninterruptible(evict(replica))
      )
    })

  const refreshModels = Effect.flatMap(fleet.models, (now) => (now === specs ? Effect.void : takeOver(now)))

  const takeOver = (now: ReadonlyArray<ModelSpec>) =>
    Effect.map(Clock.currentTimeMillis, (at) => {
      for (const event of State.learned(specs, now, at)) perform(State.emit(event))
      specs = now
      state = State.withModels(state, now)
    })

  const load = (plan: LoadPlan) => {
    const givenUp = Deferred.unsafeMake<void>(FiberId.none)
    loading.set(plan.replica, givenUp)
    return LoadJob.run({
      fleet,
      options,
      plan,
      givenUp: Deferred.await(givenUp),
      idle,
      evict,
      release: releaseAllThen(plan, Effect.void),
      reserved: (device, free) => {
        state = Loading.memoryReserved(state, device, free)
      }
    }).pipe(
      Effect.ensuring(Effect.sync(() => loading.delete(plan.replica))),
      // a model that was replaced meanwhile is another now
      Effect.tap(() => refreshModels),
      Effect.flatMap((outcome) => settle((now) => ended(plan, outcome, now)))
    )
  }

  const ended = (plan: LoadPlan, outcome: LoadJob.LoadOutcome, now: number): Step => {
    switch (outcome._tag) {
      case "Loaded":
        return Loading.loaded(state, plan, outcome.status, now)
      case "Abandoned":
        return Loading.loadAbandoned(state, plan, outcome.reason, outcome.short, now)
      case "Failed": {
        // files that were replaced meanwhile say nothing of those that there are now
        if (FleetView.model(state.view, plan.spec.id)?.revision !== plan.spec.revision) {
          return Loading.loadAbandoned(state, plan, outcome.error.message, null, now)
        }
        const failed = Loading.loadFailed(state, plan, outcome.error, now)
        const refused = Placing.failExhausted(failed.state, plan.spec, now)
        return { state: refused.state, commands: [...failed.commands, ...refused.commands] }
      }
    }
  }

  yield* Effect.addFinalizer(() =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const closed = Placing.close(state, now)
      state = closed.state
      for (const command of closed.commands) perform(command)
    })
  )

  const cell: SchedulerCell = {
    fleet,
    options,
    state: () => state,
    set: (next) => {
      state = next
    },
    settle,
    wakeInTime,
    refreshModels,
    perform,
    answerTo,
    withdraw: (arrival, ticket) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        tickets.delete(ticket)
        const left = Placing.withdraw(state, arrival, ticket, now)
        state = left.state
        for (const command of left.commands) perform(command)
      }),
    giveBack,
    drainAndStop,
    release: (device, claim) => releaseThen(device, claim, Effect.void),
    events: Stream.suspend(() => Stream.mapChunks(Stream.fromPubSub(events), withLosses(emitted)))
  }
  return cell
})
