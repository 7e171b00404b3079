/**
 * Where a request goes: a pure function of the fleet view, the request and the time. The first row that applies decides:
 *
 * | the model's replicas | the devices | decision |
 * |---|---|---|
 * | one is ready with a free slot | | `Placed` there, by the policy |
 * | none has, or will have, the revision that the request was begun with | | `Replaced` |
 * | one is loading, or failed just now and may be restarted | | `Wait` for it: loads of a model are single flight |
 * | fewer than `spec.replicas`, but for those of files that were replaced | it fits somewhere | `Load`, by the policy |
 * | none | it fits where idle replicas leave | `Load` and evict just enough, where that loses least |
 * | none, and the request has waited for `patience` | it fits where busy replicas leave that have had their time | `Load` and evict them once they are done |
 * | all that are ready failed this request before | nothing above | `Placed` there after all, once news of their death would have come |
 * | none | each that is large enough failed to load it | `Broken` if the deadline is before the next try, otherwise `Wait` |
 * | none | none is large enough | `Rejected` |
 * | anything else | | `Wait`, with every reason |
 *
 * A ready replica costs nothing to use, hence the first row; an extra replica never evicts, hence "none" in rows four and five.
 */
import type { LoadFailed } from "@helixflow/schema/Errors"
import type { DeviceId, ReplicaId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import type { Reason } from "@helixflow/schema/Scheduling"
import { HashMap } from "effect"
import * as Defrag from "./Defrag.ts"
import * as Demand from "./Demand.ts"
import * as Eviction from "./Eviction.ts"
import * as FleetView from "./FleetView.ts"
import { choose, mayKeep, policies, type UseCandidate } from "./Policy.ts"
import type { SchedulerOptions } from "./SchedulerOptions.ts"
import * as Survey from "./Survey.ts"

export interface Query {
  readonly spec: ModelSpec
  /** Replicas that failed this request before. */
  readonly not: ReadonlyArray<ReplicaId>
  /** When the request came, and until when it waits. */
  readonly since: number
  readonly deadline: number
  /** What the request has in common with others that had better go to the same replica. */
  readonly affinity?: string | null
  /** The replica that requests of its kind were on last; null: none is known. */
  readonly prefer?: ReplicaId | null
  /** The only revision of the model that it can go on with; null: any. */
  readonly revision?: string | null
  /** Whether requests wait for a model: who is waited for stays for longer. */
  readonly wanted: Eviction.Wanted
}

export type Decision =
  | { readonly _tag: "Placed"; readonly replica: FleetView.ReplicaEntry; readonly score: number }
  | Survey.LoadDecision
  /** `until`: when time alone may change the answer; `Infinity` if only news can. */
  | { readonly _tag: "Wait"; readonly reasons: ReadonlyArray<Reason>; readonly until: number }
  /** Loading failed wherever it could be, and is not tried again before the deadline. */
  | { readonly _tag: "Broken"; readonly error: LoadFailed }
  /** No replica has the revision that it was begun with, and none will: the files are others now. */
  | { readonly _tag: "Replaced" }
  /** No device can ever hold the model. */
  | { readonly _tag: "Rejected"; readonly reasons: ReadonlyArray<Reason> }

/** What the model's own replicas have to offer. */
export interface Standing {
  readonly usable: ReadonlyArray<FleetView.ReplicaEntry>
  /** Ready with a free slot, but they failed this request before. */
  readonly excluded: ReadonlyArray<FleetView.ReplicaEntry>
  /** A replica is on its way to being ready. */
  readonly coming: boolean
  /** Replicas that count against `spec.replicas`: not those of files that were replaced, which serve until others are ready. */
  readonly live: number
  /** No replica is there or on its way, not even of files that were replaced. */
  readonly alone: boolean
  /** Replicas that failed and were not restarted in time: a load takes them away. */
  readonly abandoned: ReadonlyArray<ReplicaId>
  readonly reasons: ReadonlyArray<readonly [ReadonlyArray<DeviceId>, Reason]>
  readonly until: number
}

/** Whether the replica's worker is another than the one that may have failed the request: it was not there when the request came. */
const isFresh = (entry: FleetView.ReplicaEntry, { since }: Query): boolean =>
  FleetView.stateOf(entry) === "loading" ||
  (entry.loadedAt !== null && entry.loadedAt >= since) ||
  (FleetView.stateOf(entry) === "ready" && entry.status.since > since)

/** The replicas of one revision that are ready, and those of them with a free slot. */
interface Offers {
  ready: number
  readonly usable: Array<FleetView.ReplicaEntry>
  readonly excluded: Array<FleetView.ReplicaEntry>
}

export const standing = (view: FleetView.FleetView, query: Query, now: number, options: SchedulerOptions): Standing => {
  const { spec, not, revision = null } = query
  const asked = revision ?? spec.revision
  const current: Offers = { ready: 0, usable: [], excluded: [] }
  const outdated: Offers = { ready: 0, usable: [], excluded: [] }
  const reasons: Array<readonly [ReadonlyArray<DeviceId>, Reason]> = []
  const abandoned: Array<ReplicaId> = []
  let coming = false
  let live = 0
  let until = Number.POSITIVE_INFINITY
  for (const id of FleetView.replicasOf(view, spec.id)) {
    const entry = FleetView.replica(view, id)
    if (entry === undefined) continue
    const isOutdated = entry.status.revision !== asked
    if (isOutdated && revision !== null) {
      coming ||= revision === spec.revision && FleetView.stateOf(entry) === "loading"
      continue
    }
    const because = (reason: Reason) => reasons.push([FleetView.devicesOf(entry), reason])
    const barred = not.includes(id) && !isFresh(entry, query)
    // what was begun with files that were replaced may go on where they are left, until that is gone
    const lingers = revision !== null && revision !== spec.revision && entry.life === "stopping"
    const state = lingers ? entry.status.state : FleetView.stateOf(entry)
    if (barred) because({ _tag: "Excluded", replica: id })
    switch (state) {
      case "ready": {
        const offers = isOutdated ? outdated : current
        offers.ready += 1
        const slots = FleetView.slotsOf(entry, spec)
        if (entry.taken >= slots || entry.heldUntil > now) {
          because({ _tag: "NoFreeSlot", replica: id, slots })
          if (entry.taken < slots) until = Math.min(until, entry.heldUntil)
        } else if (barred) {
          offers.excluded.push(entry)
        } else {
          offers.usable.push(entry)
        }
        break
      }
      case "loading":
        live += 1
        coming = true
        because({ _tag: "ReplicaLoading", replica: id })
        break
      case "failed":
        because({ _tag: "ReplicaFailed", replica: id, failure: entry.status.lastFailure ?? "unknown" })
        if (Eviction.abandoned(entry, now, options)) {
          abandoned.push(id)
          break
        }
        // a worker refuses files that it was not started for
        if (!isOutdated) live += 1
        coming ||= !barred && !isOutdated
        until = Math.min(until, entry.status.since + options.failedGrace)
        break
      case "draining":
      case "absent":
        because({ _tag: "ReplicaDraining", replica: id })
        break
    }
  }
  const { excluded, usable } = current.ready > 0 ? current : outdated
  live += current.ready
  return { usable, excluded, coming, live, alone: live + outdated.ready === 0, abandoned, reasons, until }
}

const use = (
  view: FleetView.FleetView,
  { affinity = null, prefer = null, spec }: Query,
  entries: ReadonlyArray<FleetView.ReplicaEntry>
): Decision | undefined => {
  const only = entries.length === 1 ? entries[0] : undefined
  if (only !== undefined) return { _tag: "Placed", replica: only, score: 0 }
  const candidates = entries.map((entry): UseCandidate & { readonly entry: FleetView.ReplicaEntry } => ({
    id: entry.status.replica,
    taken: entry.taken,
    slots: FleetView.slotsOf(entry, spec),
    entry
  }))
  const meanTaken = candidates.reduce((sum, { slots, taken }) => sum + taken / slots, 0) / candidates.length
  // what it has computed of their beginnings is worth more than any other difference
  const kept = prefer === null ? undefined : candidates.find(({ id }) => id === prefer)
  if (kept !== undefined && mayKeep(kept, meanTaken)) return { _tag: "Placed", replica: kept.entry, score: 0 }
  const state = { cursor: FleetView.cursor(view, spec.id), affinity, meanTaken }
  const choice = choose(candidates, policies[spec.policy].use, state)
  return choice && { _tag: "Placed", replica: choice.candidate.entry, score: choice.score }
}

/** The same search for every decision about the request. */
const searchFor = ({ since, spec, wanted }: Query, alone: boolean, options: SchedulerOptions): Survey.Search => ({
  spec,
  evicts: alone,
  patientUntil: since + options.patience,
  wanted
})

/** With every reason, also of the devices. */
export const decide = (view: FleetView.FleetView, query: Query, now: number, options: SchedulerOptions): Decision =>
  decided(view, query, now, options, true)

/** The same decision; a wait does not say what keeps the model off the devices, which costs more than all the rest. */
export const attempt = (view: FleetView.FleetView, query: Query, now: number, options: SchedulerOptions): Decision =>
  decided(view, query, now, options, false)

const decided = (
  view: FleetView.FleetView,
  query: Query,
  now: number,
  options: SchedulerOptions,
  tells: boolean
): Decision => {
  const { spec, revision = null } = query
  const own = standing(view, query, now, options)
  const ready = use(view, query, own.usable)
  if (ready !== undefined) return ready
  const reasons = own.reasons.map(([, reason]) => reason)
  let until = own.until
  if (own.coming) return { _tag: "Wait", reasons, until }
  if (revision !== null && revision !== spec.revision) {
    if (own.live === 0) return { _tag: "Replaced" }
  } else if (own.live < spec.replicas) {
    const devices = Survey.survey(view, searchFor(query, own.alone, options), now, options)
    if (devices.load !== undefined) {
      return { ...devices.load, evict: [...new Set([...devices.load.evict, ...own.abandoned])] }
    }
    const impossible = own.alone && !devices.possible && !HashMap.isEmpty(view.devices)
    const told = tells || impossible ? Survey.reasons(view, spec, now) : []
    reasons.push(...told)
    until = Math.min(until, devices.until)
    if (own.alone) {
      if (impossible) return { _tag: "Rejected", reasons: told }
      if (devices.broken !== undefined && devices.broken.until >= query.deadline) {
        return { _tag: "Broken", error: devices.broken.error }
      }
    }
  } else {
    reasons.push({ _tag: "ReplicaLimit", limit: spec.replicas })
  }
  if (own.excluded.length === 0) return { _tag: "Wait", reasons, until }
  const trusted = query.since + options.exclusion
  const again = now >= trusted ? use(view, query, own.excluded) : undefined
  return again ?? { _tag: "Wait", reasons, until: Math.min(until, trusted) }
}

/**
 * The load that keeps as many replicas of the model as are asked for, if one is missing. The first of them may evict idle replicas
 * of models that nothing is kept of; none makes busy ones leave.
 */
export const keep = (
  view: FleetView.FleetView,
  spec: ModelSpec,
  wanted: Eviction.Wanted,
  now: number,
  options: SchedulerOptions
): { readonly load: Survey.LoadDecision | undefined; readonly until: number } => {
  const query: Query = { spec, not: [], since: now, deadline: Number.POSITIVE_INFINITY, wanted }
  const own = standing(view, query, now, options)
  if (own.coming || own.live >= spec.placing.minReplicas) return { load: undefined, until: own.until }
  const search = { spec, evicts: own.alone, patientUntil: Number.POSITIVE_INFINITY, wanted }
  const { load, until } = Survey.survey(view, search, now, options)
  return {
    load: load && { ...load, evict: [...new Set([...load.evict, ...own.abandoned])] },
    until: Math.min(own.until, until)
  }
}

/**
 * The moves that make room for a model's first replica where that costs less than to evict those that `decision` says: what a move costs
 * is the loads, what an eviction costs is the loads that it will cause, as often as those who leave were asked for lately. Where nobody can
 * be evicted they are made once the request has waited for `patience`.
 */
export const moves = (
  view: FleetView.FleetView,
  query: Query,
  decision: Decision,
  now: number,
  options: SchedulerOptions
): Defrag.Plan | undefined => {
  const crowded = decision._tag === "Load" ? decision.evict.length > 0 : decision._tag === "Wait"
  if (!crowded || (decision._tag === "Wait" && now < query.since + options.patience)) return undefined
  const own = standing(view, query, now, options)
  if (own.live > 0) return undefined
  const limit = decision._tag === "Load" ? 2 ** (decision.loss - Demand.levelAt(now)) : Number.POSITIVE_INFINITY
  return Defrag.plan(view, query.spec, limit, now)
}

/** Whether no replica is there or coming and every device that could hold the model has just failed to load it. */
export const exhausted = (
  view: FleetView.FleetView,
  query: Query,
  now: number,
  options: SchedulerOptions
): LoadFailed | undefined => {
  const own = standing(view, query, now, options)
  return !own.alone ? undefined : Survey.survey(view, searchFor(query, true, options), now, options).broken?.error
}
