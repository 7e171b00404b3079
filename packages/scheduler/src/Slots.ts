/** The life of a placement: `binding` -> `held` (-> `yielding`) -> `releasing` -> gone. */
import type { Served } from "@helixflow/schema/Caller"
import type { ReservationId } from "@helixflow/schema/Ids"
import { HashMap, Option } from "effect"
import * as FairShare from "./FairShare.ts"
import * as FleetChange from "./FleetChange.ts"
import * as FleetView from "./FleetView.ts"
import * as Queue from "./Queue.ts"
import {
  claimId,
  emit,
  heldBy,
  millis,
  reservationOf,
  type SchedulerState,
  type Slot,
  type Step,
  slotOf,
  withoutSlot,
  withSlot
} from "./SchedulerState.ts"

/** Gives a slot of the replica to the request, before its device is asked. Its tenant has been charged. */
export const assign = (
  state: SchedulerState,
  { caller, model, past = null, preemptible = false, request }: Omit<Queue.Waiting, "ticket">,
  entry: FleetView.ReplicaEntry,
  charged: number,
  now: number
): { readonly state: SchedulerState; readonly slot: Slot } => {
  const { replica, device, reservation: within } = entry.status
  const slot: Slot = {
    claim: claimId(state, request),
    request,
    model,
    replica,
    within,
    device,
    phase: "binding",
    since: now,
    caller,
    charged,
    yieldsAt:
      preemptible && (past?.times ?? 0) < state.options.preemptions
        ? now + state.options.quantum
        : Number.POSITIVE_INFINITY,
    past
  }
  const taken = FleetChange.takeSlot(state.view, replica, 1, now)
  const roundRobin = FleetView.model(taken, model)?.policy === "round-robin"
  return {
    slot,
    state: {
      ...withSlot(state, slot),
      view: roundRobin ? FleetChange.moveCursor(taken, model, replica) : taken,
      nextClaim: state.nextClaim + 1
    }
  }
}

/** The device has given the slot, and the request is answered with it; undefined when the replica was lost meanwhile. */
export const bound = (state: SchedulerState, claim: ReservationId): SchedulerState | undefined => {
  const slot = slotOf(state, claim)
  if (slot?.phase !== "binding") return undefined
  return {
    ...state,
    slots: HashMap.set(state.slots, claim, { ...slot, phase: "held" }),
    heldBy: HashMap.set(state.heldBy, slot.request, claim)
  }
}

/** The slot is to be given back; undefined when it is gone or on its way already. `slot` is as it was before. */
export const releasing = (
  state: SchedulerState,
  claim: ReservationId
): { readonly state: SchedulerState; readonly slot: Slot } | undefined => {
  const slot = slotOf(state, claim)
  if (slot === undefined || slot.phase === "releasing") return undefined
  const answered = heldBy(state, slot.request)?.claim === claim
  return {
    slot,
    state: {
      ...state,
      slots: HashMap.set(state.slots, claim, { ...slot, phase: "releasing" }),
      heldBy: answered ? HashMap.remove(state.heldBy, slot.request) : state.heldBy
    }
  }
}

/** What its tenant is charged in the end: of what is not known the estimate stays. */
const settled = (state: SchedulerState, slot: Slot, served: Served | undefined): Queue.Queue => {
  const { model, caller, charged, past } = slot
  // who goes on has been charged before, and waits again
  if (slot.phase === "binding")
    return past === null ? Queue.settle(state.queue, model, caller, charged, null) : state.queue
  return served === undefined
    ? state.queue
    : Queue.settle(state.queue, model, caller, charged, (past?.cost ?? 0) + FairShare.costOf(served))
}

/** Milliseconds that its request has had places. */
const heldMillis = ({ past, since }: Slot, now: number): number => (past?.heldMillis ?? 0) + now - since

/** Its request was preempted: it will ask to go on. */
const paused = (state: SchedulerState, slot: Slot, served: Served, now: number): SchedulerState => {
  const { model, caller, charged, request } = slot
  const cost = (slot.past?.cost ?? 0) + FairShare.costOf(served)
  const times = (slot.past?.times ?? 0) + 1
  const past = {
    model,
    caller,
    times,
    heldMillis: heldMillis(slot, now),
    charged: Math.max(charged, cost),
    cost,
    at: now
  }
  const swept = HashMap.size(state.paused) < mostPaused ? state : forgetPaused(state, now)
  return {
    ...swept,
    queue: Queue.topUp(swept.queue, { ...past, charged }),
    paused: HashMap.set(swept.paused, request, past)
  }
}

/** Of more it is looked whether some of them will not come: they ended, or their clients left, at that moment. */
const mostPaused = 64

/** Milliseconds after which they will not. */
const pausedFor = 60_000

const forgetPaused = (state: SchedulerState, now: number): SchedulerState => {
  let { paused, queue } = state
  for (const [request, past] of paused) {
    if (now - past.at < pausedFor) continue
    queue = Queue.settlePast(queue, past)
    paused = HashMap.remove(paused, request)
  }
  return { ...state, paused, queue }
}

/**
 * The slot's claim is released: somebody else may have it. `served`: what it was used for, where that is known. The caller lets the
 * scheduler `advance`.
 */
export const freed = (state: SchedulerState, slot: Slot, served: Served | undefined, now: number): Step => {
  const isThere = FleetView.replica(state.view, slot.replica)?.status.reservation === slot.within
  const keepAlive = slot.caller.keepAlive ?? FleetView.model(state.view, slot.model)?.keepAlive
  const completed = emit({ _tag: "Completed", at: millis(now), reservation: reservationOf(slot.request), served })
  // who lost its worker at that moment says nothing
  const isPaused = slot.phase === "yielding" && served !== undefined
  const used = isPaused ? paused(state, slot, served, now) : ended(state, slot, served, now)
  return {
    state: {
      ...withoutSlot(used, slot),
      view: isThere ? FleetChange.takeSlot(state.view, slot.replica, -1, now, keepAlive) : state.view
    },
    commands: slot.phase === "binding" ? [] : [completed]
  }
}

const ended = (state: SchedulerState, slot: Slot, served: Served | undefined, now: number): SchedulerState => {
  const queue = settled(state, slot, served)
  // a slot that was never used says nothing of how long requests have theirs
  if (slot.phase === "binding") return { ...state, queue }
  const held = heldMillis(slot, now)
  const usual = Option.getOrElse(HashMap.get(state.holdMillis, slot.model), () => held)
  return { ...state, queue, holdMillis: HashMap.set(state.holdMillis, slot.model, usual + 0.05 * (held - usual)) }
}
