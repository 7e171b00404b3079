/**
 * The scheduler as a state machine: every step is `(state, what happened, now) -> (next state, commands)`. The actor around it
 * carries the commands out and reports back with further steps; nothing here waits, fails or knows of fibers. The steps are in
 * `Slots.ts` (a placement's life), `Placing.ts` (arrivals), `Advance.ts` (those who wait), `Preempting.ts` (those who make way for them),
 * `Loading.ts` (replicas) and `News.ts` (what the fleet says).
 *
 * Invariants, checked by the actor's property tests:
 * - a slot that is given is in `slots` until its claim is released, and counts in its replica's `taken`;
 * - a replica has at most as many placements as slots, a request at most one;
 * - a ticket is answered exactly once: by `Grant` or by `Refuse`;
 * - a model has at most one load under way, a device too.
 */
import type { Caller } from "@helixflow/schema/Caller"
import { DeviceKind } from "@helixflow/schema/Device"
import type {
  LoadFailed,
  ModelNotFound,
  ModelReplaced,
  NoDeviceFits,
  QueueFull,
  QueueTimeout,
  ShuttingDown,
  TenantQueueFull
} from "@helixflow/schema/Errors"
import {
  type DeviceId,
  Millis,
  type ModelId,
  type ReplicaId,
  type RequestId,
  ReservationId
} from "@helixflow/schema/Ids"
import type { ModelSpec, ReplicaPart } from "@helixflow/schema/Model"
import type { LoadCause, SchedulerEvent } from "@helixflow/schema/Scheduling"
import { HashMap, HashSet, Option } from "effect"
import * as FairShare from "./FairShare.ts"
import * as FleetChange from "./FleetChange.ts"
import * as FleetView from "./FleetView.ts"
import * as Forecast from "./Forecast.ts"
import * as Queue from "./Queue.ts"
import type { SchedulerOptions } from "./SchedulerOptions.ts"

/**
 * A slot of a replica, from the decision on. `binding`: the device is being asked for it; `held`: the request has it; `yielding`: it
 * was asked to give it up; `releasing`: the device is being told that it is free.
 */
export interface Slot {
  /** The claim in the device's ledger, within the replica's. Never the same twice, so a late release harms nobody. */
  readonly claim: ReservationId
  readonly request: RequestId
  readonly model: ModelId
  readonly replica: ReplicaId
  /** The replica's own claim: another replica that has its name later has another one. */
  readonly within: ReservationId
  readonly device: DeviceId
  readonly phase: "binding" | "held" | "yielding" | "releasing"
  /** When it was given, milliseconds since the epoch. */
  readonly since: number
  readonly caller: Caller
  /** What its tenant was charged for it, in weighted tokens; see `FairShare`. */
  readonly charged: number
  /** When the request may be preempted; `Infinity`: never. */
  readonly yieldsAt: number
  /** What it was before, if it was preempted. */
  readonly past: Queue.Past | null
}

/** What is known of when models are asked for, and what was loaded ahead of it. */
export interface Ahead {
  readonly forecast: Forecast.Forecast
  /** Loads under way that nobody waited for when they began. */
  readonly loads: ReadonlyArray<LoadPlan>
  /** When each model was loaded ahead last. */
  readonly loadedAt: HashMap.HashMap<ModelId, number>
  /** When it was looked last for what to load ahead, and when it is to be looked next. */
  readonly lookedAt: number
  readonly lookAt: number
}

/** A replica to be started once those in `evict` are gone. */
export interface LoadPlan {
  readonly spec: ModelSpec
  readonly replica: ReplicaId
  readonly device: DeviceId
  /** Of that device, and of the further ones. */
  readonly kind: DeviceKind
  readonly reservation: ReservationId
  /** The parts on further devices, where the model is split. */
  readonly parts: ReadonlyArray<ReplicaPart>
  readonly evict: ReadonlyArray<ReplicaId>
  readonly cause: LoadCause
  /** Hands its requests over to the replica once that is ready, and leaves. */
  readonly replaces: ReplicaId | null
}

export type Refusal =
  | ModelNotFound
  | ModelReplaced
  | NoDeviceFits
  | QueueFull
  | TenantQueueFull
  | QueueTimeout
  | LoadFailed
  | ShuttingDown

/** The answer to a ticket: a slot, to be asked of its device. `cold`: the replica was loaded for it. */
export interface Grant {
  readonly _tag: "Grant"
  readonly ticket: number
  readonly slot: Slot
  readonly cold: boolean
}

export interface Refuse {
  readonly _tag: "Refuse"
  readonly ticket: number
  readonly error: Refusal
}

export type Command =
  | Grant
  | Refuse
  | { readonly _tag: "Load"; readonly plan: LoadPlan }
  /** Let a replica hand its requests over, and stop it: another of its model is ready. */
  | { readonly _tag: "Retire"; readonly replica: ReplicaId }
  /** End a load under way: somebody needs its place who waits. */
  | { readonly _tag: "GiveUp"; readonly plan: LoadPlan }
  /** Stop a replica of files that were replaced once it has no requests, or when they were waited for for long enough. */
  | { readonly _tag: "PhaseOut"; readonly replica: ReplicaId }
  /** Stop the replica, which takes no requests any more, and report it with `stopped`. */
  | { readonly _tag: "Stop"; readonly replica: ReplicaId }
  /** Release the slot's claim, then report it with `freed`. */
  | { readonly _tag: "GiveBack"; readonly slot: Slot }
  /** Ask the request that has the slot to give it up, and report it with `kept` if it does not. */
  | { readonly _tag: "Preempt"; readonly slot: Slot }
  | { readonly _tag: "Emit"; readonly event: SchedulerEvent }

/** A lane that nothing could be done for. It is looked at again when one of these has changed, its model moved, or its time has come. */
export interface Stalled {
  /** The ticket of who waits longest. */
  readonly head: number
  /** What there was room for, as `Advance.ts` counts it. */
  readonly room: number
  readonly until: number
}

/** A lane that nobody has to make way for. It is looked at again when it has changed, its model moved, or its time has come. */
export interface Content {
  readonly lane: ReadonlyArray<Queue.Waiting>
  readonly until: number
}

export interface SchedulerState {
  readonly options: SchedulerOptions
  readonly view: FleetView.FleetView
  readonly queue: Queue.Queue
  /** By claim. */
  readonly slots: HashMap.HashMap<ReservationId, Slot>
  /** The claims of each model's slots. */
  readonly slotsOf: HashMap.HashMap<ModelId, HashSet.HashSet<ReservationId>>
  /** The claim of the slot that a request was answered with and has not completed. */
  readonly heldBy: HashMap.HashMap<RequestId, ReservationId>
  /** Exponentially weighted mean of how long a model's slots are held, for an honest `retry-after`. */
  readonly holdMillis: HashMap.HashMap<ModelId, number>
  readonly ahead: Ahead
  readonly stalled: HashMap.HashMap<ModelId, Stalled>
  readonly content: HashMap.HashMap<ModelId, Content>
  /** Requests that were preempted and have not asked to go on yet. */
  readonly paused: HashMap.HashMap<RequestId, Queue.Past>
  /** Tenants' shares of the time that loads take: a counter is milliseconds over the tenant's weight. */
  readonly loadShares: FairShare.FairShare
  /** When moves were looked for last that make room for a model that waits: for any, and for each, and what the index was then. */
  readonly movesSought: {
    readonly at: number
    readonly of: HashMap.HashMap<ModelId, { readonly at: number; readonly grown: number }>
  }
  /** Tells the claims of this scheduler from those of one before it. */
  readonly incarnation: string
  readonly nextTicket: number
  readonly nextClaim: number
  /** When time alone may change something; `Infinity` if nothing waits for time. */
  readonly wakeAt: number
  readonly closed: boolean
}

export interface Step {
  readonly state: SchedulerState
  readonly commands: ReadonlyArray<Command>
}

export const empty = (options: SchedulerOptions, now: number): SchedulerState => ({
  options,
  view: FleetView.empty,
  queue: Queue.empty({ limit: options.queueLimit, tenantLimit: options.tenantQueueLimit, aging: options.aging }),
  slots: HashMap.empty(),
  slotsOf: HashMap.empty(),
  heldBy: HashMap.empty(),
  holdMillis: HashMap.empty(),
  movesSought: { at: 0, of: HashMap.empty() },
  ahead: { forecast: Forecast.empty, loads: [], loadedAt: HashMap.empty(), lookedAt: 0, lookAt: 0 },
  stalled: HashMap.empty(),
  content: HashMap.empty(),
  paused: HashMap.empty(),
  loadShares: FairShare.empty,
  incarnation: now.toString(36),
  nextTicket: 0,
  nextClaim: 0,
  wakeAt: Number.POSITIVE_INFINITY,
  closed: false
})

/** The configured models, when they have changed. */
export const withModels = (state: SchedulerState, specs: ReadonlyArray<ModelSpec>): SchedulerState => ({
  ...state,
  view: FleetChange.withModels(state.view, specs),
  stalled: HashMap.empty()
})

/** The models that claim another amount besides their KV cache on a kind of device than before, of the same files: it was learned. */
export const learned = (
  before: ReadonlyArray<ModelSpec>,
  specs: ReadonlyArray<ModelSpec>,
  now: number
): ReadonlyArray<SchedulerEvent> => {
  const known = new Map(before.map((spec) => [spec.id, spec]))
  return specs.flatMap((spec) => {
    const was = known.get(spec.id)
    if (was === undefined || was.revision !== spec.revision) return []
    return DeviceKind.literals.flatMap((kind): ReadonlyArray<SchedulerEvent> => {
      const { weights } = spec.footprintOn(kind)
      if (weights === was.footprintOn(kind).weights) return []
      return [{ _tag: "Learned", at: millis(now), model: spec.id, kind, weights }]
    })
  })
}

export const slotOf = (state: SchedulerState, claim: ReservationId): Slot | undefined =>
  Option.getOrUndefined(HashMap.get(state.slots, claim))

export const slotsOf = (state: SchedulerState, model: ModelId): ReadonlyArray<Slot> =>
  Option.match(HashMap.get(state.slotsOf, model), {
    onNone: () => [],
    onSome: (claims) => Array.from(claims).flatMap((claim) => slotOf(state, claim) ?? [])
  })

/** With a slot that is new. */
export const withSlot = (state: SchedulerState, slot: Slot): SchedulerState => ({
  ...state,
  slots: HashMap.set(state.slots, slot.claim, slot),
  slotsOf: HashMap.modifyAt(state.slotsOf, slot.model, (claims) =>
    Option.some(HashSet.add(Option.getOrElse(claims, HashSet.empty<ReservationId>), slot.claim))
  )
})

export const withoutSlot = (state: SchedulerState, { claim, model }: Slot): SchedulerState => ({
  ...state,
  slots: HashMap.remove(state.slots, claim),
  slotsOf: HashMap.modifyAt(state.slotsOf, model, (claims) =>
    Option.filter(
      Option.map(claims, (all) => HashSet.remove(all, claim)),
      (all) => HashSet.size(all) > 0
    )
  )
})

/** The slot that a request was answered with and has not completed. */
export const heldBy = (state: SchedulerState, request: RequestId): Slot | undefined => {
  const claim = Option.getOrUndefined(HashMap.get(state.heldBy, request))
  return claim === undefined ? undefined : slotOf(state, claim)
}

/** A name for the next claim of this owner, or for one so many further. */
export const claimId = (state: SchedulerState, owner: RequestId | ReplicaId, ahead = 0): ReservationId =>
  ReservationId.make(`${owner}/${state.incarnation}.${state.nextClaim + ahead}`, { disableValidation: true })

/** A placement's reservation has the request's name: whoever is interrupted while a place is on its way can give it back. */
export const reservationOf = (request: RequestId): ReservationId =>
  ReservationId.make(request, { disableValidation: true })

/** A clock's reading as the schema has it. */
export const millis = (now: number): Millis => Millis.make(now, { disableValidation: true })

export const emit = (event: SchedulerEvent): Command => ({ _tag: "Emit", event })
