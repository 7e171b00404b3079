/** What the fleet says of itself, and what follows for those who have a place. */
import { anonymous } from "@helixflow/schema/Caller"
import type { DeviceStatus } from "@helixflow/schema/Device"
import { type ReplicaId, RequestId } from "@helixflow/schema/Ids"
import type { ReplicaStatus } from "@helixflow/schema/Model"
import { HashMap } from "effect"
import * as FleetChange from "./FleetChange.ts"
import * as FleetView from "./FleetView.ts"
import {
  type Command,
  emit,
  millis,
  type SchedulerState,
  type Slot,
  type Step,
  slotOf,
  withSlot
} from "./SchedulerState.ts"

/** News from the fleet. The caller lets the scheduler `advance`. */
export const observe = (
  state: SchedulerState,
  news: { readonly devices: ReadonlyArray<DeviceStatus>; readonly replicas: ReadonlyArray<ReplicaStatus> },
  now: number
): Step => {
  let current = state
  const commands: Array<Command> = []
  const met = new Set<ReplicaId>()
  for (const status of news.devices) {
    if (FleetView.device(current.view, status.device.id) === undefined) {
      for (const id of FleetView.replicasOn(current.view, status.device.id)) met.add(id)
    }
    current = { ...current, view: FleetChange.observeDevice(current.view, status) }
  }
  for (const status of news.replicas) {
    const before = FleetView.replica(current.view, status.replica)
    if (before === undefined) met.add(status.replica)
    // The first word of a worker's successor. If it is the last word instead, the replica will count as abandoned soon.
    if (status.state === "absent" && before?.life === "running" && before.status.state === "failed") continue
    current = { ...current, view: FleetChange.observeReplica(current.view, status, now) }
    const after = FleetView.replica(current.view, status.replica)
    // an older word than the one that is known, or one about a load that has not ended
    if (after === undefined || after.status !== status || after.life === "starting") continue
    if (before !== undefined && after.life === "running") commands.push(...told(before.status, status, now))
    commands.push(...lost(current, before?.status.pid ?? null, status))
    // who made it stop will hear that it has
    if (status.state === "absent" && after.life === "running") {
      current = { ...current, view: FleetChange.forgetReplica(current.view, status.replica, now) }
    }
  }
  for (const id of met) current = adopt(current, id, now)
  return { state: current, commands }
}

/** What the log says of a replica's word that is another than its last. */
const told = (before: ReplicaStatus, { lastFailure, pid, replica, state }: ReplicaStatus, now: number) => {
  const at = millis(now)
  if ((state === "failed" || state === "absent") && before.state !== state) {
    return [emit({ _tag: "WorkerLost", at, replica, state, reason: lastFailure })]
  }
  return state === "ready" && before.pid !== pid ? [emit({ _tag: "WorkerBack", at, replica })] : []
}

/** The slots whose worker is gone: all when the replica is not up, those from before when another process serves it now. */
const lost = (state: SchedulerState, pid: number | null, status: ReplicaStatus): ReadonlyArray<Command> => {
  const up = status.state === "ready" || status.state === "draining"
  if (up && (pid === null || status.pid === null || status.pid === pid)) return []
  if (FleetView.replica(state.view, status.replica)?.taken === 0) return []
  const commands: Array<Command> = []
  for (const slot of HashMap.values(state.slots)) {
    if (slot.replica === status.replica && (!up || slot.since < status.since)) commands.push({ _tag: "GiveBack", slot })
  }
  return commands
}

/** A replica met for the first time: the slots that its device lists were given by a scheduler before this one. */
const adopt = (state: SchedulerState, id: ReplicaId, now: number): SchedulerState => {
  const entry = FleetView.replica(state.view, id)
  const device = entry && FleetView.device(state.view, entry.status.device)
  if (entry === undefined || device === undefined) return state
  let current = state
  for (const claim of device.status.claims) {
    const given = claim.within === entry.status.reservation && claim.state === "resident"
    if (!given || slotOf(current, claim.reservation) !== undefined) continue
    const request = RequestId.make(claim.owner)
    const { replica, model, device: on, reservation: within } = entry.status
    const slot: Slot = {
      claim: claim.reservation,
      request,
      model,
      replica,
      within,
      device: on,
      phase: "held",
      since: now,
      caller: anonymous,
      charged: 0,
      yieldsAt: Number.POSITIVE_INFINITY,
      past: null
    }
    current = {
      ...withSlot(current, slot),
      view: FleetChange.takeSlot(current.view, id, 1, now),
      heldBy: HashMap.set(current.heldBy, request, slot.claim)
    }
  }
  return current
}
