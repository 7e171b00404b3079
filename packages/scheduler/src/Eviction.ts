/**
 * Which replicas leave a device so that a model fits: those that lose least for what they free, and just enough of them.
 *
 * Who has requests leaves only to somebody who has waited for `patience`, and who has requests that wait for it to somebody who has waited
 * for `wantedPatience`. And nobody leaves right after it was loaded: an idle one stays for as long as it takes to load it, at most
 * `minResidency`, since who has just asked for it may ask again; a busy one stays for a multiple of that, so that a load serves many
 * requests and two models do not swap for each.
 */
import type { DeviceId, ModelId, ReplicaId } from "@helixflow/schema/Ids"
import * as Demand from "./Demand.ts"
import * as FleetView from "./FleetView.ts"
import { compareIds } from "./Policy.ts"
import type { SchedulerOptions } from "./SchedulerOptions.ts"

/** A replica that failed and that its supervisor did not bring back in time: it only holds memory. */
export const abandoned = (entry: FleetView.ReplicaEntry, now: number, options: SchedulerOptions): boolean =>
  FleetView.stateOf(entry) === "failed" && now >= entry.status.since + options.failedGrace

/** Abandoned ones leave first, then idle ones, then those with requests, then those that others wait for. */
export type Rank = 0 | 1 | 2 | 3

interface Victim {
  readonly id: ReplicaId
  readonly model: ModelId
  /** Bytes that it frees on the device. */
  readonly bytes: number
  readonly rank: Rank
  /** What is lost with it for each of these bytes: `ReplicaEntry.value`, and more where it leaves other devices too. */
  readonly value: number
}

/** Whether requests wait for a model. */
export type Wanted = (model: ModelId) => boolean

const rankOf = (
  entry: FleetView.ReplicaEntry,
  wanted: Wanted,
  now: number,
  options: SchedulerOptions
): Rank | undefined => {
  if (abandoned(entry, now, options)) return 0
  if (FleetView.stateOf(entry) !== "ready") return undefined
  if (wanted(entry.status.model)) return 3
  return entry.taken === 0 ? 1 : 2
}

/** Until when the replica stays because it was loaded just now; 0 when it was long ago, as of one that was there before this scheduler. */
const staysUntil = (
  view: FleetView.FleetView,
  entry: FleetView.ReplicaEntry,
  rank: Rank,
  now: number,
  { groupFactor, maxResidency, minResidency }: SchedulerOptions
): number => {
  if (rank === 0 || entry.loadedAt === null || entry.ahead) return 0
  if (now - entry.loadedAt >= Math.max(minResidency, maxResidency)) return 0
  const reload = FleetView.reloadMillisOf(view, entry)
  const grouped = Math.min(maxResidency, Math.max(minResidency, groupFactor * reload))
  return entry.loadedAt + (rank === 1 ? Math.min(minResidency, reload) : grouped)
}

/** Lets no more replicas of a model leave than are beyond those that are kept; counts each that it lets. */
const surplusOf = (view: FleetView.FleetView, leaving: ReadonlyArray<Pick<Victim, "model" | "rank">>) => {
  const left = new Map<ModelId, number>()
  const take = ({ model, rank }: Pick<Victim, "model" | "rank">): boolean => {
    const kept = FleetView.model(view, model)?.placing.minReplicas ?? 0
    if (kept === 0 || rank === 0) return true
    const more = left.get(model) ?? FleetView.replicasOf(view, model).length - kept
    left.set(model, more - 1)
    return more > 0
  }
  for (const victim of leaving) take(victim)
  return take
}

/** What is asked for. */
export interface Room {
  readonly device: DeviceId
  /** Replicas of the model itself stay, unless abandoned. */
  readonly model: ModelId
  /** Bytes that have to become free. */
  readonly missing: number
  /** The last that may leave. Those with requests finish them first. */
  readonly upTo: Rank
  /** Those that have to leave whatever the memory. */
  readonly must: ReadonlyArray<ReplicaId>
  /** Those that leave another device for the same load, so that they are lost already. */
  readonly leaving?: ReadonlyArray<ReplicaId>
  readonly wanted: Wanted
}

export interface Eviction {
  readonly replicas: ReadonlyArray<ReplicaId>
  /** Bytes they free. */
  readonly bytes: number
  /** What is lost with them, as a logarithm of no particular unit. */
  readonly loss: number
}

export interface Found {
  /** Undefined if even all that may leave do not suffice. */
  readonly eviction: Eviction | undefined
  /** When the next of those that stay because they were loaded just now may leave; `Infinity` if there are none. */
  readonly until: number
}

const lossOf = (victims: ReadonlyArray<Victim>): number =>
  victims.reduce(
    (loss, { bytes, value }) => Demand.sum(loss, value + Math.log2(Math.max(1, bytes))),
    Number.NEGATIVE_INFINITY
  )

/** The replicas to evict to make the room. Those that are kept loaded stay. */
export const evict = (view: FleetView.FleetView, room: Room, now: number, options: SchedulerOptions): Found => {
  const { device, leaving: already = [], model, upTo, wanted } = room
  const gone = already.flatMap((id) => FleetView.replica(view, id) ?? [])
  const missing = room.missing - gone.reduce((sum, entry) => sum + FleetView.bytesOn(view, entry, device), 0)
  const must = room.must.filter((id) => !already.includes(id))
  let until = Number.POSITIVE_INFINITY
  const eligible: Array<Victim> = []
  for (const id of FleetView.replicasOn(view, device)) {
    const entry = FleetView.replica(view, id)
    if (entry === undefined || already.includes(id)) continue
    const rank = rankOf(entry, wanted, now, options)
    if (rank === undefined || rank > upTo || (rank !== 0 && entry.status.model === model)) continue
    if (!FleetView.mayLeave(view, entry)) continue
    const stays = staysUntil(view, entry, rank, now, options)
    if (now < stays) {
      until = Math.min(until, stays)
      continue
    }
    const bytes = FleetView.bytesOn(view, entry, device)
    const elsewhere = entry.status.parts.length === 0 ? 0 : Math.log2(FleetView.bytesOf(view, entry) / bytes)
    eligible.push({ id, model: entry.status.model, bytes, rank, value: entry.value + elsewhere })
  }
  eligible.sort((a, b) => a.rank - b.rank || a.value - b.value || compareIds(a.id, b.id))
  const lost = gone.flatMap((entry) => {
    const rank = rankOf(entry, wanted, now, options)
    return rank === undefined ? [] : [{ model: entry.status.model, rank }]
  })
  const leaving = enough(view, eligible, missing, must, lost)
  if (leaving === undefined) return { eviction: undefined, until }
  const bytes = leaving.reduce((sum, victim) => sum + victim.bytes, 0)
  return { eviction: { replicas: leaving.map(({ id }) => id), bytes, loss: lossOf(leaving) }, until }
}

/** So many of them, the first before the others, that the bytes are free; or a single one where that loses less. */
const enough = (
  view: FleetView.FleetView,
  eligible: ReadonlyArray<Victim>,
  missing: number,
  must: ReadonlyArray<ReplicaId>,
  lost: ReadonlyArray<Pick<Victim, "model" | "rank">>
): ReadonlyArray<Victim> | undefined => {
  const taken = eligible.filter(({ id }) => must.includes(id))
  if (taken.length < must.length) return undefined
  let freed = taken.reduce((sum, { bytes }) => sum + bytes, 0)
  const surplus = surplusOf(view, [...lost, ...taken])
  for (const victim of eligible) {
    if (freed >= missing) break
    if (must.includes(victim.id) || !surplus(victim)) continue
    taken.push(victim)
    freed += victim.bytes
  }
  if (freed < missing) return undefined
  // The last ones taken may have made earlier, smaller ones needless: spare those, the most valuable first.
  const spared = new Set<ReplicaId>()
  for (const victim of [...taken].reverse()) {
    if (freed - victim.bytes >= missing && !must.includes(victim.id)) {
      freed -= victim.bytes
      spared.add(victim.id)
    }
  }
  const leaving = taken.filter((victim) => !spared.has(victim.id))
  if (must.length > 0 || lost.length > 0) return leaving
  // What loses least for a byte may be far larger than what is missing.
  const rank = Math.max(...leaving.map((victim) => victim.rank))
  let least = lossOf(leaving)
  let single: Victim | undefined
  for (const victim of eligible) {
    if (victim.rank > rank || victim.bytes < missing) continue
    const loss = lossOf([victim])
    if (loss >= least) continue
    least = loss
    single = victim
  }
  return single === undefined ? leaving : [single]
}
