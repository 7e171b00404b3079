/** The index of a view's devices: what it holds of each, and how it is brought up to date. */
import type { DeviceId, ReplicaId } from "@helixflow/schema/Ids"
import * as DeviceIndex from "./DeviceIndex.ts"
import * as FleetView from "./FleetView.ts"

/** The devices in every order. */
export const indexOf = (view: FleetView.FleetView): DeviceIndex.DeviceIndex => {
  const cell = view.index
  if (cell.current !== null) return cell.current
  let index = cell.base
  for (const id of cell.stale) {
    const profile = profileOf(view, id)
    if (profile !== undefined) index = DeviceIndex.set(index, id, profile)
  }
  cell.current = index
  return index
}

const nobody = (): { value: number; bytes: number; readonly ready: Array<ReplicaId> } => ({
  value: Number.POSITIVE_INFINITY,
  bytes: 0,
  ready: []
})

/** What the index knows of a device. An upper bound of what may leave, whatever the time: who chooses looks again. */
export const profileOf = (view: FleetView.FleetView, id: DeviceId): DeviceIndex.Profile | undefined => {
  const entry = FleetView.device(view, id)
  if (entry === undefined) return undefined
  const { kind, name, total } = entry.status.device
  let loading = false
  const idle = nobody()
  const all = nobody()
  for (const name of FleetView.replicasOn(view, id)) {
    const replica = FleetView.replica(view, name)
    if (replica === undefined) continue
    const state = FleetView.stateOf(replica)
    if (state === "loading") loading = true
    if ((state !== "ready" && state !== "failed") || !FleetView.mayLeave(view, replica)) continue
    const bytes = FleetView.bytesOn(view, replica, id)
    for (const leaving of state === "failed" || replica.taken === 0 ? [idle, all] : [all]) {
      leaving.value = Math.min(leaving.value, replica.value)
      leaving.bytes += bytes
      if (state === "ready") leaving.ready.push(name)
    }
  }
  return { kind, name, total, free: entry.free, loading, idle, all }
}
