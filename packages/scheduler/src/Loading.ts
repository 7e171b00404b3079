/** The loads of replicas: begun by a decision, ended by what the fleet made of it. */
import type { LoadFailed } from "@helixflow/schema/Errors"
import { type DeviceId, type ModelId, makeReplicaId, type ReplicaId } from "@helixflow/schema/Ids"
import { type ModelSpec, partsOf, ReplicaStatus } from "@helixflow/schema/Model"
import type { LoadCause } from "@helixflow/schema/Scheduling"
import { HashMap } from "effect"
import * as Asked from "./Asked.ts"
import * as FleetChange from "./FleetChange.ts"
import * as FleetView from "./FleetView.ts"
import { claimId, emit, type LoadPlan, millis, type SchedulerState, type Step } from "./SchedulerState.ts"
import type { LoadDecision } from "./Survey.ts"

/** The smallest number that no replica of the model on this device has. */
const freeReplicaId = (view: FleetView.FleetView, device: DeviceId, model: ModelId): ReplicaId => {
  for (let n = 0; ; n++) {
    const id = makeReplicaId(device, model, n)
    if (FleetView.replica(view, id) === undefined) return id
  }
}

/** A load is decided: it counts from now on, and those who make room take no new requests. */
export const startLoad = (
  state: SchedulerState,
  spec: ModelSpec,
  decision: LoadDecision,
  cause: LoadCause,
  now: number,
  replaces: ReplicaId | null = null
): Step => {
  const replica = freeReplicaId(state.view, decision.device, spec.id)
  const reservation = claimId(state, replica)
  const parts = decision.parts.map((device, index) => ({ device, reservation: claimId(state, replica, index + 1) }))
  const status = new ReplicaStatus(
    {
      replica,
      device: decision.device,
      model: spec.id,
      reservation,
      parts,
      state: "loading",
      active: 0,
      slots: spec.slots,
      revision: spec.revision,
      pid: null,
      rss: null,
      // it has said nothing yet: whatever it says is news
      since: millis(0),
      lastFailure: null
    },
    { disableValidation: true }
  )
  let view = FleetChange.assumeLoad(state.view, status, spec.claimOn(decision.kind), now)
  for (const id of decision.evict) view = FleetChange.updateReplica(view, id, () => ({ life: "stopping" }))
  if (spec.policy === "round-robin") view = FleetChange.moveCursor(view, spec.id, decision.device)
  if (cause === "preload") view = FleetChange.updateReplica(view, replica, () => ({ ahead: true }))
  const { device, evict, kind } = decision
  const plan: LoadPlan = { spec, replica, device, kind, reservation, parts, evict, cause, replaces }
  const split = parts.length === 0 ? {} : { parts: decision.parts }
  return {
    state: { ...state, view, nextClaim: state.nextClaim + 1 + parts.length },
    commands: [
      { _tag: "Load", plan },
      emit({ _tag: "LoadStarted", at: millis(now), replica, reservation, ...split, evict, cause, replaces })
    ]
  }
}

/** A replica, the device that it moves to, and who leaves that first. */
export interface Move {
  readonly replica: ReplicaId
  readonly to: DeviceId
  readonly evict?: ReadonlyArray<ReplicaId>
}

/** A move that makes room for a model: the replica is loaded where it moves to, and leaves once it is ready there. */
export const startMove = (state: SchedulerState, move: Move, model: ModelId, now: number): Step => {
  const entry = FleetView.replica(state.view, move.replica)
  const spec = entry && FleetView.model(state.view, entry.status.model)
  const kind = FleetView.device(state.view, move.to)?.status.device.kind
  if (spec === undefined || kind === undefined) return { state, commands: [] }
  const { evict = [], to: device } = move
  const load: LoadDecision = { _tag: "Load", device, kind, parts: [], evict, loss: Number.NEGATIVE_INFINITY, score: 0 }
  const to = freeReplicaId(state.view, move.to, spec.id)
  const started = startLoad(state, spec, load, "move", now, move.replica)
  const moves = HashMap.set(started.state.view.moves, model, { from: move.replica, to })
  return { ...started, state: { ...started.state, view: { ...started.state.view, moves } } }
}

/** The load is under way no more. */
const over = (state: SchedulerState, plan: LoadPlan): SchedulerState =>
  plan.cause === "preload"
    ? {
        ...state,
        ahead: { ...state.ahead, loads: state.ahead.loads.filter(({ replica }) => replica !== plan.replica) }
      }
    : state

/**
 * Until when who was loaded in another's place is kept, if nobody uses it: as long as the one that has moved, or from now on where that had
 * files that were replaced.
 */
const keptUntil = (view: FleetView.FleetView, { cause, replaces, spec }: LoadPlan, now: number): number => {
  if (replaces !== null) return FleetView.replica(view, replaces)?.keepUntil ?? Number.POSITIVE_INFINITY
  return cause !== "keep" || spec.keepAlive === "forever" ? Number.POSITIVE_INFINITY : now + spec.keepAlive
}

/** The replica is ready, unless it has ended meanwhile. `status` is its own word. The caller lets the scheduler `advance`. */
export const loaded = (state: SchedulerState, plan: LoadPlan, status: ReplicaStatus, now: number): Step => {
  const told = FleetChange.observeReplica(state.view, status, now)
  const keepUntil = keptUntil(told, plan, now)
  const running = FleetChange.updateReplica(told, plan.replica, () => ({ life: "running", loadedAt: now, keepUntil }))
  const ended = FleetView.replica(running, plan.replica)?.status.state === "absent"
  const view = ended ? FleetChange.forgetReplica(running, plan.replica, now) : running
  const { id } = plan.spec
  // the scheduler's own entry began with the decision
  const took = now - (FleetView.replica(state.view, plan.replica)?.lastUsed ?? now)
  return {
    state: {
      ...over(state, plan),
      // what it takes is learned from its worker from now on
      view: FleetChange.lowerClaim(FleetChange.loadTook(FleetChange.clearFailures(view, id), id, took), id)
    },
    commands: [
      emit({ _tag: "LoadEnded", at: millis(now), replica: plan.replica, failure: null }),
      ...(plan.replaces === null || ended ? [] : [{ _tag: "Retire" as const, replica: plan.replaces }])
    ]
  }
}

/** A device has promised the replica's memory and told what is left: the view has its figure from here on. */
export const memoryReserved = (state: SchedulerState, device: DeviceId, free: number): SchedulerState => ({
  ...state,
  view: FleetChange.correctFree(state.view, device, free)
})

/** How much more is claimed than a worker was seen to take, and than was claimed, when memory was not enough. */
const margin = 1.05
const raise = 1.25

/**
 * Memory was not enough, for the first time since the model was loaded: it is decided anew at once, with a claim that a further worker
 * should be content with, and that others leave for. It never claims more than the largest device of that kind has.
 */
const decideAnew = (state: SchedulerState, plan: LoadPlan, error: LoadFailed, now: number): Step => {
  const { kind, replica, spec } = plan
  const asked = { ...spec.placing, kind }
  const largest = Array.from(HashMap.values(state.view.devices)).reduce(
    (most, { status: { device } }) =>
      Asked.suits(asked, device) && Asked.isPinnedTo(asked, device) ? Math.max(most, device.total) : most,
    0
  )
  const wanted = Math.max((error.memory?.needed ?? 0) * margin, spec.claimOn(kind) * raise)
  const forgotten = FleetChange.forgetReplica(state.view, replica, now)
  const bytes = Math.ceil(Math.min(wanted, largest))
  const view = FleetChange.raiseClaim(forgotten, { bytes, kind, configured: spec })
  const failure = `${error.message} It is tried once more, with more memory.`
  return {
    state: { ...over(state, plan), view },
    commands: [emit({ _tag: "LoadEnded", at: millis(now), replica, failure })]
  }
}

/**
 * The replica did not become ready and its claim is released. The device is not tried again at once, and less and less often. The
 * caller fails those who cannot be served elsewhere, then lets the scheduler `advance`. Where memory was not enough, it is decided anew
 * first.
 */
export const loadFailed = (state: SchedulerState, plan: LoadPlan, error: LoadFailed, now: number): Step => {
  const { spec, replica } = plan
  if (error.memory !== null && !FleetView.isRaised(state.view, spec.id)) return decideAnew(state, plan, error, now)
  const { backoffBase, backoffCap } = state.options
  const forgotten = FleetChange.lowerClaim(FleetChange.forgetReplica(state.view, replica, now), spec.id)
  // which of its devices is to blame, nobody knows
  const view = partsOf(plan).reduce((view, { device }) => {
    const count = (FleetView.failuresOf(view, spec.id).get(device)?.count ?? 0) + 1
    const until = now + Math.min(backoffCap, backoffBase * 2 ** (count - 1))
    return FleetChange.recordFailure(view, spec.id, device, { replica, error, count, until })
  }, forgotten)
  return {
    state: { ...over(state, plan), view },
    commands: [emit({ _tag: "LoadEnded", at: millis(now), replica, failure: error.message })]
  }
}

/**
 * The load was given up without the model being to blame: a device had less memory than believed (`free`, its own figure), or
 * those who should make room did not finish in time and stay. The caller lets the scheduler `advance`.
 */
export const loadAbandoned = (
  state: SchedulerState,
  plan: LoadPlan,
  reason: string,
  short: { readonly device: DeviceId; readonly free: number } | null,
  now: number
): Step => {
  let view = FleetChange.forgetReplica(state.view, plan.replica, now)
  for (const id of plan.evict) view = FleetChange.updateReplica(view, id, () => ({ life: "running" }))
  if (short !== null) view = FleetChange.correctFree(view, short.device, short.free)
  return {
    state: { ...over(state, plan), view },
    commands: [emit({ _tag: "LoadEnded", at: millis(now), replica: plan.replica, failure: reason })]
  }
}

/** A replica takes no new requests, because it is to be stopped, or takes them again. Undefined: it is not one that runs. */
export const draining = (state: SchedulerState, replica: ReplicaId, drains: boolean): SchedulerState | undefined => {
  const life = FleetView.replica(state.view, replica)?.life
  if (life !== (drains ? "running" : "stopping")) return undefined
  return {
    ...state,
    view: FleetChange.updateReplica(state.view, replica, () => ({ life: drains ? "stopping" : "running" }))
  }
}

/** A replica that made room is gone and its claim released. */
export const stopped = (state: SchedulerState, replica: ReplicaId, now: number): Step => ({
  state: { ...state, view: FleetChange.forgetReplica(state.view, replica, now) },
  commands: [emit({ _tag: "Evicted", at: millis(now), replica })]
})
