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
import * as Offers from "./Offers.ts"
import { choose, mayKeep, policies } from "./Policy.ts"
import type { SchedulerOptions } from "./SchedulerOptions.ts"
import * as Survey from "./Survey.ts"

export interface Query {
  /** As the view has it. */
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
  | { readonly _tag: "Placed"; readonly replica: FleetView.ReplicaEntry }
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
  /** Those that serve requests like this one. */
  readonly offers: Offers.Offers
  /** Replicas that failed this request before. */
  readonly barred: Offers.Barred
  /** A replica is on its way to being ready. */
  readonly coming: boolean
  /** Replicas that count against `spec.replicas`: not those of files that were replaced, which serve until others are ready. */
  readonly live: number
  /** No replica is there or on its way, not even of files that were replaced. */
  readonly alone: boolean
  /** Replicas that failed and were not restarted in time: a load takes them away. */
  readonly abandoned: ReadonlyArray<ReplicaId>
  readonly until: number
}

/** Whether the replica's worker is another than the one that may have failed the request: it was not there when the request came. */
const isFresh = (entry: FleetView.ReplicaEntry, { since }: Query): boolean =>
  FleetView.stateOf(entry) === "loading" ||
  (entry.loadedAt !== null && entry.loadedAt >= since) ||
  (FleetView.stateOf(entry) === "ready" && entry.status.since > since)

const membersOf = (view: FleetView.FleetView, spec: ModelSpec, ids: ReadonlyArray<ReplicaId>) =>
  ids.flatMap((id) => {
    const entry = FleetView.replica(view, id)
    return entry?.status.model === spec.id ? [[id, FleetView.memberOf(view, entry)] as const] : []
  })

const barredFrom = (view: FleetView.FleetView, query: Query): Offers.Barred =>
  new Map(membersOf(view, query.spec, query.not).filter(([, { entry }]) => !isFresh(entry, query)))

const countReady = (offers: Offers.Offers): number => offers.reduce((sum, { ready }) => sum + ready, 0)

/** What was begun with files that were replaced may go on where they are left, until that is gone. */
const lingers = ({ revision = null, spec }: Query): boolean => revision !== null && revision !== spec.revision

export const standing = (view: FleetView.FleetView, query: Query, now: number, options: SchedulerOptions): Standing => {
  const { spec, revision = null } = query
  const asked = revision ?? spec.revision
  const barred = barredFrom(view, query)
  const current: Array<Offers.Pool> = []
  const outdated: Array<Offers.Pool> = []
  const abandoned: Array<ReplicaId> = []
  let coming = false
  let live = 0
  let until = Number.POSITIVE_INFINITY
  for (const pool of FleetView.offersOf(view, spec.id)) {
    const isOutdated = pool.revision !== asked
    if (pool.stopping && (isOutdated || !lingers(query))) continue
    if (isOutdated && revision !== null) {
      coming ||= revision === spec.revision && pool.loading > 0
      continue
    }
    const serving = isOutdated ? outdated : current
    serving.push(pool)
    live += pool.loading
    coming ||= pool.loading > 0
    for (const id of pool.failed) {
      const entry = FleetView.replica(view, id)
      if (entry === undefined) continue
      if (Eviction.abandoned(entry, now, options)) {
        abandoned.push(id)
        continue
      }
      // a worker refuses files that it was not started for
      if (!isOutdated) live += 1
      coming ||= !isOutdated && !barred.has(id)
      until = Math.min(until, entry.status.since + options.failedGrace)
    }
  }
  const ready = countReady(current)
  return {
    offers: ready > 0 ? current : outdated,
    barred,
    coming,
    live: live + ready,
    alone: live + ready + countReady(outdated) === 0,
    abandoned,
    until: Math.min(until, Offers.heldUntil([...current, ...outdated], now))
  }
}

/** Why the replica is not used; undefined: nothing speaks against it. */
const reasonAgainst = ({ entry, slots }: Offers.Member, query: Query, now: number): Reason | undefined => {
  const { lastFailure, replica, state } = entry.status
  switch (lingers(query) && entry.life === "stopping" ? state : FleetView.stateOf(entry)) {
    case "ready":
      return entry.taken >= slots || entry.heldUntil > now ? { _tag: "NoFreeSlot", replica, slots } : undefined
    case "loading":
      return { _tag: "ReplicaLoading", replica }
    case "failed":
      return { _tag: "ReplicaFailed", replica, failure: lastFailure ?? "unknown" }
    case "draining":
    case "absent":
      return { _tag: "ReplicaDraining", replica }
  }
}

export interface Told {
  readonly usable: ReadonlyArray<FleetView.ReplicaEntry>
  readonly reasons: ReadonlyArray<readonly [ReadonlyArray<DeviceId>, Reason]>
}

/** Those of the model's replicas that the request may use, and why it may not use the others: all of them, one by one. */
export const told = (view: FleetView.FleetView, query: Query, own: Standing, now: number): Told => {
  const { spec, revision = null } = query
  const usable: Array<FleetView.ReplicaEntry> = []
  const reasons: Array<readonly [ReadonlyArray<DeviceId>, Reason]> = []
  for (const [id, member] of membersOf(view, spec, FleetView.replicasOf(view, spec.id))) {
    const { entry } = member
    if (revision !== null && entry.status.revision !== revision) continue
    const because = (reason: Reason) => reasons.push([FleetView.devicesOf(entry), reason])
    if (own.barred.has(id)) because({ _tag: "Excluded", replica: id })
    const reason = reasonAgainst(member, query, now)
    if (reason !== undefined) because(reason)
    else if (!own.barred.has(id) && Offers.has(own.offers, member, now)) usable.push(entry)
  }
  return { usable, reasons }
}

/** The replica that the policy chooses of those with a free slot. */
const use = (
  view: FleetView.FleetView,
  { affinity = null, prefer = null, spec }: Query,
  offers: Offers.Offers,
  barred: Offers.Barred,
  now: number
): Decision | undefined => {
  const [preferred] = prefer === null ? [] : membersOf(view, spec, [prefer])
  const kept = preferred !== undefined && !barred.has(preferred[0]) && Offers.has(offers, preferred[1], now)
  const weighs = kept || (spec.policy === "affinity" && affinity !== null)
  const meanTaken = weighs ? Offers.meanTaken(offers, barred, now) : 0
  // what it has computed of their beginnings is worth more than any other difference
  if (kept && mayKeep({ taken: preferred[1].entry.taken, slots: preferred[1].slots }, meanTaken)) {
    return { _tag: "Placed", replica: preferred[1].entry }
  }
  const state = { cursor: FleetView.cursor(view, spec.id), affinity, meanTaken }
  const candidates = membersOf(view, spec, Offers.leading(offers, spec.policy, state, barred, now)).map(
    ([id, { entry, slots }]) => ({ id, taken: entry.taken, slots, entry })
  )
  const choice = choose(candidates, policies[spec.policy].use, state)
  return choice && { _tag: "Placed", replica: choice.candidate.entry }
}

/** Of the replicas that failed the request before. */
const useBarred = (view: FleetView.FleetView, query: Query, { barred, offers }: Standing, now: number) => {
  const members = [...barred.values()].filter((member) => Offers.has(offers, member, now))
  return use(view, query, Offers.of(members), new Map(), now)
}

/** The same search for every decision about the request. */
const searchFor = ({ since, spec, wanted }: Query, alone: boolean, options: SchedulerOptions): Survey.Search => ({
  spec,
  evicts: alone,
  patientUntil: since + options.patience,
  wanted
})

/** With every reason, of replicas and of devices. */
export const decide = (view: FleetView.FleetView, query: Query, now: number, options: SchedulerOptions): Decision =>
  decided(view, query, now, options, true)

/** The same decision; a wait does not say why, which costs more than all the rest. */
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
  const ready = use(view, query, own.offers, own.barred, now)
  if (ready !== undefined) return ready
  const reasons = tells ? told(view, query, own, now).reasons.map(([, reason]) => reason) : []
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
    const against = tells || impossible ? Survey.reasons(view, spec, now) : []
    reasons.push(...against)
    until = Math.min(until, devices.until)
    if (own.alone) {
      if (impossible) return { _tag: "Rejected", reasons: against }
      if (devices.broken !== undefined && devices.broken.until >= query.deadline) {
        return { _tag: "Broken", error: devices.broken.error }
      }
    }
  } else if (tells) {
    reasons.push({ _tag: "ReplicaLimit", limit: spec.replicas })
  }
  const trusted = query.since + options.exclusion
  const again = useBarred(view, query, own, now)
  if (again === undefined) return { _tag: "Wait", reasons, until }
  return now >= trusted ? again : { _tag: "Wait", reasons, until: Math.min(until, trusted) }
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
