/**
 * Requests that wait for a place: one bounded lane per model, the lanes served in turn.
 *
 * Within a lane, the service tier comes first (`priority`, `default`, `flex`); then the tenant that was served least (`FairShare`); then
 * who was preempted, to go on; then who came first. Each `aging` in which nobody of a tenant's tier was served lifts those of its requests by a tier that waited as long:
 * not waiting alone, or whoever floods would soon be ahead of everybody. A lane that is full makes room for a tenant that has
 * less waiting than another: the newest request of the one that has most is displaced. Who was preempted has been in before, and is neither
 * refused nor displaced.
 *
 * Invariants, checked by property tests:
 * - a lane never holds more than `limit`, a tenant never more than `tenantLimit` over all lanes, but for those who were in before;
 * - what is offered is in the queue until it is served, refused, displaced, removed or expired, exactly one of them;
 * - nothing is served at or after its deadline, provided `expire` ran at that instant;
 * - requests of one tenant and one tier that could be served are served in the order they came, after those that were preempted;
 * - a lane that could be served is served at least once while any other is served twice;
 * - nobody waits for ever while its lane is served, whatever the others do.
 */
import type { Caller, ServiceTier } from "@helixflow/schema/Caller"
import type { ModelId, ReplicaId, RequestId } from "@helixflow/schema/Ids"
import { HashMap, Option } from "effect"
import * as FairShare from "./FairShare.ts"

/** A request as it asks for a place. */
export interface Arrival {
  readonly request: RequestId
  readonly model: ModelId
  readonly caller: Caller
  /** Replicas that failed the request before. */
  readonly not: ReadonlyArray<ReplicaId>
  /** Milliseconds since the epoch. */
  readonly since: number
  readonly deadline: number
  /** What the request has in common with others that had better go to the same replica. */
  readonly affinity?: string | null
  /** The replica that requests of its kind were on last. */
  readonly prefer?: ReplicaId | null
  /** The only revision of the model that it can go on with. */
  readonly revision?: string | null
  /** Whether it can give its place up and go on later. */
  readonly preemptible?: boolean
  /** What it was called when it did. */
  readonly resumes?: RequestId | null
}

/** A request that was preempted, as it was then. */
export interface Past {
  readonly model: ModelId
  readonly caller: Caller
  /** How often it has been preempted. */
  readonly times: number
  /** Milliseconds that it has had places, all together. */
  readonly heldMillis: number
  /** What its tenant was charged for it, and what it has cost until then, in weighted tokens. It is charged once. */
  readonly charged: number
  readonly cost: number
  /** When it was preempted last, milliseconds since the epoch. */
  readonly at: number
}

export interface Waiting extends Arrival {
  /** Names the wait; grows with arrival, so that one who returns takes its old place in the lane. */
  readonly ticket: number
  readonly past?: Past | null
  /** Somebody was preempted for it: it goes first. */
  readonly promised?: boolean
}

export interface QueueLimits {
  /** Most requests that wait for one model. */
  readonly limit: number
  /** Most requests of one tenant that wait for any model. */
  readonly tenantLimit: number
  /** Milliseconds of waiting that lift a request by one service tier. */
  readonly aging: number
}

export interface Queue {
  readonly limits: QueueLimits
  readonly size: number
  /** Nobody's deadline is earlier; `Infinity` when nobody waits. A lower bound, exact after `expire`. */
  readonly nextDeadline: number
  /** Lanes with somebody in them, in the order of their turns. */
  readonly turns: ReadonlyArray<ModelId>
  /** How often a lane has become empty: its model is not waited for any more. */
  readonly emptied: number
  /** In the order of arrival. */
  readonly lanes: HashMap.HashMap<ModelId, ReadonlyArray<Waiting>>
  /** How many of each tenant wait. */
  readonly ofTenant: HashMap.HashMap<string, number>
  readonly shares: HashMap.HashMap<ModelId, FairShare.FairShare>
}

export type Offered =
  /** `position` counts from 0 in the order of service. `displaced` has left to make room. */
  | {
      readonly _tag: "Queued"
      readonly queue: Queue
      readonly position: number
      readonly displaced: Waiting | undefined
    }
  | { readonly _tag: "Full"; readonly limit: number; readonly of: "model" | "tenant" }

const nobody: ReadonlyArray<Waiting> = []

export const empty = (limits: QueueLimits): Queue => ({
  limits,
  size: 0,
  nextDeadline: Number.POSITIVE_INFINITY,
  turns: [],
  emptied: 0,
  lanes: HashMap.empty(),
  ofTenant: HashMap.empty(),
  shares: HashMap.empty()
})

/** Who waits for a model, first come first. */
export const lane = (queue: Queue, model: ModelId): ReadonlyArray<Waiting> =>
  Option.getOrElse(HashMap.get(queue.lanes, model), () => nobody)

/** Whether requests wait for a model. */
export const isWanted =
  (queue: Queue) =>
  (model: ModelId): boolean =>
    lane(queue, model).length > 0

export const all = (queue: Queue): ReadonlyArray<Waiting> => queue.turns.flatMap((model) => lane(queue, model))

/** The wait of a request, by its name. */
export const find = (queue: Queue, request: RequestId): Waiting | undefined => {
  for (const members of HashMap.values(queue.lanes)) {
    const found = members.find((waiting) => waiting.request === request)
    if (found !== undefined) return found
  }
  return undefined
}

export const share = (queue: Queue, model: ModelId): FairShare.FairShare =>
  Option.getOrElse(HashMap.get(queue.shares, model), () => FairShare.empty)

export const ofTenant = (queue: Queue, tenant: string): number =>
  Option.getOrElse(HashMap.get(queue.ofTenant, tenant), () => 0)

const setShare = (queue: Queue, model: ModelId, next: FairShare.FairShare): Queue => ({
  ...queue,
  shares: HashMap.set(queue.shares, model, next)
})

const setLane = (queue: Queue, model: ModelId, next: ReadonlyArray<Waiting>): Queue => {
  const before = lane(queue, model)
  const size = queue.size + next.length - before.length
  if (next.length === 0) {
    const turns = before.length === 0 ? queue.turns : queue.turns.filter((other) => other !== model)
    return { ...queue, size, turns, emptied: queue.emptied + 1, lanes: HashMap.remove(queue.lanes, model) }
  }
  const turns = before.length === 0 ? [...queue.turns, model] : queue.turns
  return { ...queue, size, turns, lanes: HashMap.set(queue.lanes, model, next) }
}

const count = (queue: Queue, { tenant }: Caller, change: number): Queue => {
  const now = ofTenant(queue, tenant) + change
  return {
    ...queue,
    ofTenant: now === 0 ? HashMap.remove(queue.ofTenant, tenant) : HashMap.set(queue.ofTenant, tenant, now)
  }
}

/** It leaves the lane. */
export const without = (queue: Queue, gone: Waiting): Queue =>
  count(
    setLane(
      queue,
      gone.model,
      lane(queue, gone.model).filter(({ ticket }) => ticket !== gone.ticket)
    ),
    gone.caller,
    -1
  )

/** Lower is more urgent. */
export const ranks: Record<ServiceTier, number> = { priority: 0, default: 1, flex: 2 }

/** The tier that counts, lower is better: who waits long enough is as urgent as anybody. */
const rankOf = ({ limits }: Queue, shares: FairShare.FairShare, { caller, since }: Waiting, now: number): number => {
  const rank = ranks[caller.tier]
  if (rank === 0 || now - since < limits.aging) return rank
  const unserved = now - Math.max(since, FairShare.servedAt(shares, caller))
  return Math.max(0, rank - Math.floor(unserved / limits.aging))
}

/** Puts the request at its place in the order of arrival, whatever the limits: it was in before. */
export const restore = (queue: Queue, waiting: Waiting): Queue => {
  const before = lane(queue, waiting.model)
  let position = before.length
  for (let ahead = before[position - 1]; ahead !== undefined && ahead.ticket > waiting.ticket; ) {
    position -= 1
    ahead = before[position - 1]
  }
  const next = [...before.slice(0, position), waiting, ...before.slice(position)]
  const { model, caller } = waiting
  const alone = before.every((other) => other.caller.tenant !== caller.tenant)
  const others = before.map((other) => other.caller.tenant)
  const joined = count(setLane(queue, model, next), caller, 1)
  return {
    ...(alone ? setShare(joined, model, FairShare.lift(share(queue, model), caller, others)) : joined),
    nextDeadline: Math.min(queue.nextDeadline, waiting.deadline)
  }
}

const isResuming = ({ past = null }: Waiting): boolean => past !== null

/** The newest request of the tenant that has most in the lane, if that is more than this tenant would have. */
const displaceable = (members: ReadonlyArray<Waiting>, { tenant }: Caller): Waiting | undefined => {
  const counts = new Map<string, number>()
  for (const { caller } of members) counts.set(caller.tenant, (counts.get(caller.tenant) ?? 0) + 1)
  let most = (counts.get(tenant) ?? 0) + 1
  let found: Waiting | undefined
  for (const member of members) {
    if (isResuming(member)) continue
    const held = counts.get(member.caller.tenant) ?? 0
    // of the same tenant a later member is newer
    if (held > most || (held === most && found?.caller.tenant === member.caller.tenant)) {
      most = held
      found = member
    }
  }
  return found
}

/** Joins the lane, behind all of its tenant and tier that came before. */
export const offer = (queue: Queue, waiting: Waiting, now: number): Offered => {
  const { limit, tenantLimit } = queue.limits
  if (ofTenant(queue, waiting.caller.tenant) >= tenantLimit) return { _tag: "Full", limit: tenantLimit, of: "tenant" }
  const before = lane(queue, waiting.model)
  const displaced = before.length >= limit ? displaceable(before, waiting.caller) : undefined
  if (before.length >= limit && displaced === undefined) return { _tag: "Full", limit, of: "model" }
  const next = restore(displaced === undefined ? queue : without(queue, displaced), waiting)
  return { _tag: "Queued", queue: next, position: position(next, waiting, now), displaced }
}

/** Leaves the lane. Who is not there has left already. */
export const remove = (queue: Queue, model: ModelId, ticket: number): Queue => {
  const gone = lane(queue, model).find((waiting) => waiting.ticket === ticket)
  return gone === undefined ? queue : without(queue, gone)
}

/** Takes out everybody whose deadline is `now` or earlier. O(1) while nobody's is. */
export const expire = (
  queue: Queue,
  now: number
): { readonly queue: Queue; readonly expired: ReadonlyArray<Waiting> } => {
  if (now < queue.nextDeadline) return { queue, expired: nobody }
  const expired: Array<Waiting> = []
  let current = queue
  let nextDeadline = Number.POSITIVE_INFINITY
  for (const model of queue.turns) {
    const kept: Array<Waiting> = []
    for (const waiting of lane(queue, model)) {
      if (waiting.deadline <= now) {
        expired.push(waiting)
        current = count(current, waiting.caller, -1)
      } else {
        kept.push(waiting)
        nextDeadline = Math.min(nextDeadline, waiting.deadline)
      }
    }
    if (kept.length < lane(queue, model).length) current = setLane(current, model, kept)
  }
  return { queue: { ...current, nextDeadline }, expired }
}

export interface Ranked {
  readonly waiting: Waiting
  /** The tier that counts. */
  readonly rank: number
  /** What its tenant's counter will be when its turn comes. */
  readonly tag: number
  /** When its tenant was served last: who comes to those that are served all the while begins where they are, and goes first. */
  readonly servedAt: number
}

const inOrder = (a: Ranked, b: Ranked): number =>
  Number(b.waiting.promised ?? false) - Number(a.waiting.promised ?? false) ||
  a.rank - b.rank ||
  a.tag - b.tag ||
  a.servedAt - b.servedAt ||
  byTurn(a.waiting, b.waiting)

/** Of one tenant. */
const byTurn = (a: Waiting, b: Waiting): number => Number(isResuming(b)) - Number(isResuming(a)) || a.ticket - b.ticket

export const none: ReadonlySet<number> = new Set()

/** The next one to be served, of those whose ticket is not in `passed`. */
export const next = (queue: Queue, model: ModelId, now: number, passed: ReadonlySet<number>): Waiting | undefined => {
  const shares = share(queue, model)
  let best: Ranked | undefined
  for (const waiting of lane(queue, model)) {
    if (passed.has(waiting.ticket)) continue
    const ranked = {
      waiting,
      rank: rankOf(queue, shares, waiting, now),
      tag: FairShare.counter(shares, waiting.caller.tenant),
      servedAt: FairShare.lastServedAt(shares, waiting.caller.tenant)
    }
    if (best === undefined || inOrder(ranked, best) < 0) best = ranked
  }
  return best?.waiting
}

/** How urgent a lane is: the tier that counts of whoever is next, lower is more urgent, and whose request that is. */
export const urgency = (
  queue: Queue,
  model: ModelId,
  now: number
): { readonly rank: number; readonly caller: Caller } | undefined => {
  const first = next(queue, model, now, none)
  return first && { rank: rankOf(queue, share(queue, model), first, now), caller: first.caller }
}

/** Who waits for a model, in the order in which they would be served if nothing changed, each at its usual cost. */
export const order = (queue: Queue, model: ModelId, now: number): ReadonlyArray<Ranked> => {
  const shares = share(queue, model)
  const tags = new Map<string, number>()
  return lane(queue, model)
    .map((waiting) => ({ waiting, rank: rankOf(queue, shares, waiting, now) }))
    .sort((a, b) => a.rank - b.rank || byTurn(a.waiting, b.waiting))
    .map((member): Ranked => {
      const { tenant, weight } = member.waiting.caller
      const tag = tags.get(tenant) ?? FairShare.counter(shares, tenant)
      tags.set(tenant, tag + FairShare.estimate(shares, tenant) / weight)
      return { ...member, tag, servedAt: FairShare.lastServedAt(shares, tenant) }
    })
    .sort(inOrder)
}

/** How many would be served before it. */
export const position = (queue: Queue, { model, ticket }: Waiting, now: number): number =>
  Math.max(
    0,
    order(queue, model, now).findIndex(({ waiting }) => waiting.ticket === ticket)
  )

/** The request gets a place: its tenant is charged what it probably costs, unless it was charged before it was preempted. */
export const charge = (
  queue: Queue,
  { caller, model, past = null }: Pick<Waiting, "caller" | "model" | "past">,
  now: number
): { readonly queue: Queue; readonly charged: number } => {
  const { tenant } = caller
  const before = share(queue, model)
  // nobody waits: what a lift would have done on arrival
  const lifted = lane(queue, model).length === 0 ? FairShare.lift(before, caller, []) : before
  const expected = FairShare.estimate(lifted, tenant)
  const due = past === null ? expected : 0
  const charged = past?.charged ?? expected
  return { charged, queue: setShare(queue, model, FairShare.charge(lifted, caller, due, now)) }
}

/** A request was preempted that was charged less than it has cost: its tenant pays the rest now. */
export const topUp = (queue: Queue, { caller, charged, cost, model }: Past): Queue =>
  cost <= charged ? queue : setShare(queue, model, FairShare.refund(share(queue, model), caller, charged - cost))

/** A request that was preempted does not go on. */
export const settlePast = (queue: Queue, { caller, charged, cost, model }: Past): Queue =>
  settle(queue, model, caller, charged, cost)

/** Waits for what somebody gives up for it. */
export const promise = (queue: Queue, model: ModelId, tickets: ReadonlySet<number>): Queue =>
  setLane(
    queue,
    model,
    lane(queue, model).map((waiting) => (tickets.has(waiting.ticket) ? { ...waiting, promised: true } : waiting))
  )

/** What a charge became: `actual` is null for a place that was not used. */
export const settle = (queue: Queue, model: ModelId, caller: Caller, charged: number, actual: number | null): Queue =>
  setShare(
    queue,
    model,
    actual === null
      ? FairShare.refund(share(queue, model), caller, charged)
      : FairShare.settle(share(queue, model), caller, charged, actual)
  )

/** The queue with this model's turn behind all others'. */
export const turned = (queue: Queue, model: ModelId): Queue =>
  queue.turns.length < 2 || !queue.turns.includes(model)
    ? queue
    : { ...queue, turns: [...queue.turns.filter((other) => other !== model), model] }
