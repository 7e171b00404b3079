/** The life of a placement: `binding` -> `held` -> `releasing` -> gone. */
import type { Caller, Served } from "@helixflow/schema/Caller"
import type { ModelId, RequestId, ReservationId } from "@helixflow/schema/Ids"
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
  slotOf
} from "./SchedulerState.ts"

/** Gives a slot of the replica to the request, before its device is asked. Its tenant has been charged. */
export const assign = (
  state: SchedulerState,
  { request, model, caller }: { readonly request: RequestId; readonly model: ModelId; readonly caller: Caller },
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
    charged
  }
  const taken = FleetChange.takeSlot(state.view, replica, 1, now)
  const roundRobin = FleetView.model(taken, model)?.policy === "round-robin"
  return {
    slot,
    state: {
      ...state,
      view: roundRobin ? FleetChange.moveCursor(taken, model, replica) : taken,
      slots: HashMap.set(state.slots, slot.claim, slot),
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
  const { model, caller, charged } = slot
  if (slot.phase === "binding") return Queue.settle(state.queue, model, caller, charged, null)
  return served === undefined
    ? state.queue
    : Queue.settle(state.queue, model, caller, charged, FairShare.costOf(served))
}

/**
 * The slot's claim is released: somebody else may have it. `served`: what it was used for, where that is known. The caller lets the
 * scheduler `advance`.
 */
export const freed = (state: SchedulerState, slot: Slot, served: Served | undefined, now: number): Step => {
  const held = now - slot.since
  const usual = Option.getOrElse(HashMap.get(state.holdMillis, slot.model), () => held)
  // a slot that was never used says nothing of how long slots are
  const holdMillis =
    slot.phase === "held" ? HashMap.set(state.holdMillis, slot.model, usual + 0.05 * (held - usual)) : state.holdMillis
  const isThere = FleetView.replica(state.view, slot.replica)?.status.reservation === slot.within
  const keepAlive = slot.caller.keepAlive ?? FleetView.model(state.view, slot.model)?.keepAlive
  const completed = emit({ _tag: "Completed", at: millis(now), reservation: reservationOf(slot.request), served })
  return {
    state: {
      ...state,
      queue: settled(state, slot, served),
      view: isThere ? FleetChange.takeSlot(state.view, slot.replica, -1, now, keepAlive) : state.view,
      slots: HashMap.remove(state.slots, slot.claim),
      holdMillis
    },
    commands: slot.phase === "held" ? [completed] : []
  }
}
