/** Which replicas leave a device so that a model fits: the least recently used ones, and just enough of them. */
import type { DeviceId, ModelId, ReplicaId } from "@helixflow/schema/Ids"
import * as FleetView from "./FleetView.ts"
import { compareIds } from "./Policy.ts"
import type { SchedulerOptions } from "./SchedulerOptions.ts"

/** A replica that failed and that its supervisor did not bring back in time: it only holds memory. */
export const abandoned = (entry: FleetView.ReplicaEntry, now: number, options: SchedulerOptions): boolean =>
  FleetView.stateOf(entry) === "failed" && now >= entry.status.since + options.failedGrace

interface Victim {
  readonly id: ReplicaId
  readonly model: ModelId
  readonly bytes: number
  /** Abandoned ones leave first, then idle ones, then busy ones. */
  readonly rank: 0 | 1 | 2
  readonly lastUsed: number
}

const rankOf = (entry: FleetView.ReplicaEntry, now: number, options: SchedulerOptions): Victim["rank"] | undefined => {
  if (abandoned(entry, now, options)) return 0
  if (FleetView.stateOf(entry) !== "ready") return undefined
  return entry.taken === 0 ? 1 : 2
}

/** Lets no more replicas of a model leave than are beyond those that are kept; counts each that it lets. */
const surplusOf = (view: FleetView.FleetView, leaving: ReadonlyArray<Victim>) => {
  const left = new Map<ModelId, number>()
  const take = ({ model, rank }: Victim): boolean => {
    const kept = FleetView.model(view, model)?.placing.minReplicas ?? 0
    if (kept === 0 || rank === 0) return true
    const more = left.get(model) ?? FleetView.replicasOf(view, model).length - kept
    left.set(model, more - 1)
    return more > 0
  }
  for (const victim of leaving) take(victim)
  return take
}

export interface Eviction {
  readonly replicas: ReadonlyArray<ReplicaId>
  /** Bytes they free. */
  readonly bytes: number
  /** When the most recently used of them was used: the lower, the less is lost. */
  readonly lastUsed: number
}

/**
 * The replicas to evict so that `missing` more bytes are free on the device; undefined if even all that may leave do not
 * suffice. Replicas of `model` itself stay, unless abandoned, and so do those that are kept loaded. `busy`: replicas with requests may
 * leave too (after finishing them). `must`: those that have to leave whatever the memory.
 */
export const evict = (
  view: FleetView.FleetView,
  device: DeviceId,
  model: ModelId,
  missing: number,
  busy: boolean,
  now: number,
  options: SchedulerOptions,
  must: ReadonlyArray<ReplicaId> = []
): Eviction | undefined => {
  const eligible: Array<Victim> = []
  for (const id of FleetView.replicasOn(view, device)) {
    const entry = FleetView.replica(view, id)
    if (entry === undefined) continue
    const rank = rankOf(entry, now, options)
    if (rank === undefined || (rank === 2 && !busy) || (rank !== 0 && entry.status.model === model)) continue
    if (!FleetView.mayLeave(view, entry)) continue
    eligible.push({
      id,
      model: entry.status.model,
      bytes: FleetView.bytesOf(view, entry),
      rank,
      lastUsed: entry.lastUsed
    })
  }
  eligible.sort((a, b) => a.rank - b.rank || a.lastUsed - b.lastUsed || compareIds(a.id, b.id))

  const taken = eligible.filter(({ id }) => must.includes(id))
  if (taken.length < must.length) return undefined
  let freed = taken.reduce((sum, { bytes }) => sum + bytes, 0)
  const surplus = surplusOf(view, taken)
  for (const victim of eligible) {
    if (freed >= missing) break
    if (must.includes(victim.id) || !surplus(victim)) continue
    taken.push(victim)
    freed += victim.bytes
  }
  if (freed < missing) return undefined
  // The last ones taken may have made earlier, smaller ones needless: spare those, the most recently used first.
  const spared = new Set<ReplicaId>()
  for (const victim of [...taken].reverse()) {
    if (freed - victim.bytes >= missing && !must.includes(victim.id)) {
      freed -= victim.bytes
      spared.add(victim.id)
    }
  }
  const leaving = taken.filter((victim) => !spared.has(victim.id))
  return {
    replicas: leaving.map((victim) => victim.id),
    bytes: freed,
    lastUsed: leaving.reduce((latest, victim) => Math.max(latest, victim.lastUsed), 0)
  }
}
