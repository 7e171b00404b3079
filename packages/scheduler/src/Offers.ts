/**
 * What the replicas of a model have to offer, kept up to date with every change of one: how many are ready, coming or failed, and those
 * with a free slot in the orders in which policies choose among them. So what a decision costs does not grow with the number of replicas
 * that a model has, but for those that are passed over: who has failed, failed this very request, or refused a slot just now.
 */
import { ReplicaId } from "@helixflow/schema/Ids"
import type { PolicyName, ReplicaState } from "@helixflow/schema/Model"
import { sortKey } from "./DeviceIndex.ts"
import * as FitTree from "./FitTree.ts"
import type { ReplicaEntry } from "./FleetView.ts"
import { distanceOn, mayKeep, type PolicyState, pointOf, probesOf } from "./Policy.ts"

/**
 * The replicas with a free slot in an order:
 *
 * | order | first comes | size |
 * |---|---|---|
 * | taken | the fewest slots taken | minus the time until which it is held |
 * | id | the lowest id | the same |
 * | ring | the lowest point on the ring of `affinity` | minus the slots taken |
 * | held | that is held for the shortest time; none that never was | slots taken |
 */
type Order = "taken" | "id" | "ring" | "held"

const orders: ReadonlyArray<Order> = ["taken", "id", "ring", "held"]

/** The orders that a policy looks in. */
const ordersOf: Record<PolicyName, ReadonlyArray<Order>> = {
  "best-fit": ["taken", "held"],
  "first-fit": ["id", "held"],
  "round-robin": ["id", "held"],
  "least-loaded": ["taken", "held"],
  affinity: ["taken", "ring", "held"]
}

/** Replicas of a model that differ in nothing that a request asks for. Most models have one pool. */
export interface Pool {
  readonly revision: string
  /** They are being stopped by the scheduler: only what can go on nowhere else goes on there. */
  readonly stopping: boolean
  /** Sequences that each may have at once. */
  readonly slots: number
  readonly ready: number
  readonly loading: number
  readonly failed: ReadonlyArray<ReplicaId>
  /** How many of those that are ready have a free slot, and the slots of these that are taken. */
  readonly free: number
  readonly taken: number
  readonly trees: Readonly<Record<Order, FitTree.FitTree>>
}

export type Offers = ReadonlyArray<Pool>

export const none: Offers = []

/** A replica, the sequences that it may have at once by its own word and by its model's, and its model's policy. */
export interface Member {
  readonly entry: ReplicaEntry
  readonly slots: number
  readonly policy: PolicyName
}

/** By its own word where it is being stopped: `FleetView.stateOf` says `draining` then. */
const stateIn = ({ life, status }: ReplicaEntry): ReplicaState => (life === "starting" ? "loading" : status.state)

const isFree = ({ entry, slots }: Member): boolean => stateIn(entry) === "ready" && entry.taken < slots

const isIn = (pool: Pool, { entry, slots }: Member): boolean =>
  pool.revision === entry.status.revision && pool.stopping === (entry.life === "stopping") && pool.slots === slots

/** Where a replica with a free slot is in an order. */
const placeIn = (order: Order, member: Member): FitTree.Place | null => {
  const { heldUntil, status, taken } = member.entry
  if (!ordersOf[member.policy].includes(order)) return null
  switch (order) {
    case "taken":
      return { key: taken, size: -heldUntil }
    case "id":
      return { key: 0, size: -heldUntil }
    case "ring":
      return { key: pointOf(status.replica), size: -taken }
    case "held":
      return heldUntil > 0 ? { key: heldUntil, size: taken } : null
  }
}

const idOf = ({ name }: FitTree.Item): ReplicaId =>
  ReplicaId.make(name.slice(name.indexOf("\0") + 1), { disableValidation: true })

const emptyFor = ({ entry, slots }: Member): Pool => ({
  revision: entry.status.revision,
  stopping: entry.life === "stopping",
  slots,
  ready: 0,
  loading: 0,
  failed: [],
  free: 0,
  taken: 0,
  trees: { taken: null, id: null, ring: null, held: null }
})

const isEmpty = ({ failed, loading, ready }: Pool): boolean => ready + loading + failed.length === 0

/** What a replica adds to its pool's counts. */
const countsOf = (member: Member | undefined) => {
  const state = member && stateIn(member.entry)
  const free = member !== undefined && isFree(member)
  return {
    ready: Number(state === "ready"),
    loading: Number(state === "loading"),
    failed: state === "failed",
    free: Number(free),
    taken: free ? member.entry.taken : 0
  }
}

/** The trees with the replica where it is now and not where it was. */
const moved = (
  trees: Pool["trees"],
  id: ReplicaId,
  before: Member | undefined,
  now: Member | undefined
): Pool["trees"] => {
  const [was, is] = [before && isFree(before) ? before : undefined, now && isFree(now) ? now : undefined]
  if (was === undefined && is === undefined) return trees
  const name = sortKey(id)
  const changed: Record<Order, FitTree.FitTree> = { ...trees }
  for (const order of orders) {
    const [from, to] = [was === undefined ? null : placeIn(order, was), is === undefined ? null : placeIn(order, is)]
    changed[order] = FitTree.replace(trees[order], name, from, to)
  }
  return changed
}

/** The pool with what is known of one of its replicas now in place of what was before. */
const changed = (pool: Pool, id: ReplicaId, before: Member | undefined, now: Member | undefined): Pool => {
  const [was, is] = [countsOf(before), countsOf(now)]
  const others = was.failed ? pool.failed.filter((other) => other !== id) : pool.failed
  return {
    ...pool,
    ready: pool.ready + is.ready - was.ready,
    loading: pool.loading + is.loading - was.loading,
    failed: is.failed ? [...others, id] : others,
    free: pool.free + is.free - was.free,
    taken: pool.taken + is.taken - was.taken,
    trees: moved(pool.trees, id, before, now)
  }
}

/** Whether the replica offers the same as before, if its model has not changed. */
export const isAlike = (before: ReplicaEntry, now: ReplicaEntry): boolean =>
  before.taken === now.taken &&
  before.heldUntil === now.heldUntil &&
  before.life === now.life &&
  before.status.state === now.status.state &&
  before.status.slots === now.status.slots &&
  before.status.revision === now.status.revision

/** With what is known of a replica of the model now in place of what was before. */
export const noted = (offers: Offers, before: Member | undefined, now: Member | undefined): Offers => {
  const id = (now ?? before)?.entry.status.replica
  if (id === undefined) return offers
  const isNew = now !== undefined && !offers.some((pool) => isIn(pool, now))
  return (isNew ? [...offers, emptyFor(now)] : offers)
    .map((pool) => {
      const was = before !== undefined && isIn(pool, before) ? before : undefined
      const is = now !== undefined && isIn(pool, now) ? now : undefined
      return was === undefined && is === undefined ? pool : changed(pool, id, was, is)
    })
    .filter((pool) => !isEmpty(pool))
}

/** What these have to offer. */
export const of = (members: Iterable<Member>): Offers => {
  let offers = none
  for (const member of members) offers = noted(offers, undefined, member)
  return offers
}

/** Those of the pool with a free slot that are held. */
function* heldIn({ trees: { held } }: Pool, now: number): Generator<FitTree.Item> {
  let item = FitTree.first(held, 0, { key: now, name: "\uffff" })
  for (; item !== undefined; item = FitTree.first(held, 0, item)) yield item
}

/** When the first of those with a free slot that are held is so no more; `Infinity` if none is. */
export const heldUntil = (offers: Offers, now: number): number => {
  let until = Number.POSITIVE_INFINITY
  for (const pool of offers) {
    const [first] = heldIn(pool, now)
    if (first !== undefined) until = Math.min(until, first.key)
  }
  return until
}

/** Whether the replica is one of them, with a free slot, and not held. */
export const has = (offers: Offers, member: Member, now: number): boolean =>
  isFree(member) && member.entry.heldUntil <= now && offers.some((pool) => isIn(pool, member))

/** Replicas that the request is not to use. */
export type Barred = ReadonlyMap<ReplicaId, Member>

/** Mean share of slots taken of those with a free slot, but for those that are held or barred. */
export const meanTaken = (offers: Offers, barred: Barred, now: number): number => {
  let shares = 0
  let count = 0
  for (const pool of offers) {
    let { free, taken } = pool
    for (const { size } of heldIn(pool, now)) {
      free -= 1
      taken -= size
    }
    for (const member of barred.values()) {
      if (!has([pool], member, now)) continue
      free -= 1
      taken -= member.entry.taken
    }
    if (free === 0) continue
    shares += taken / pool.slots
    count += free
  }
  return count === 0 ? 0 : shares / count
}

/** The one of each pool that the policy's score is the lowest for: whom to choose among, in place of all. */
export const leading = (
  offers: Offers,
  policy: PolicyName,
  state: PolicyState,
  barred: Barred,
  now: number
): ReadonlyArray<ReplicaId> =>
  offers.flatMap((pool) => {
    const item = leadingOf(pool, policy, state, barred, now)
    return item === undefined ? [] : [idOf(item)]
  })

type Passed = { readonly size: number; readonly has: (id: ReplicaId) => boolean }

const leadingOf = (
  pool: Pool,
  policy: PolicyName,
  { affinity = null, cursor, meanTaken = 0 }: PolicyState,
  barred: Barred,
  now: number
): FitTree.Item | undefined => {
  const { id, ring, taken } = pool.trees
  switch (policy) {
    case "first-fit":
      return first(id, -now, barred)
    case "round-robin":
      return first(id, -now, barred, { key: 0, name: sortKey(cursor) }) ?? first(id, -now, barred)
    case "affinity":
      if (affinity !== null) break
      return first(taken, -now, barred)
    case "best-fit":
    case "least-loaded":
      return first(taken, -now, barred)
  }
  const passed = new Set([...barred.keys(), ...Array.from(heldIn(pool, now), idOf)])
  // the most slots taken with which a replica still draws requests
  let most = pool.slots - 1
  while (!mayKeep({ taken: most, slots: pool.slots }, meanTaken)) most -= 1
  let nearest: FitTree.Item | undefined
  let distance = Number.POSITIVE_INFINITY
  for (const probe of probesOf(affinity)) {
    const item = first(ring, -most, passed, { key: probe, name: "" }) ?? first(ring, -most, passed)
    if (item === undefined) return undefined
    const apart = distanceOn(probe, item.key)
    if (nearest === undefined || apart < distance || (apart === distance && item.name < nearest.name)) {
      nearest = item
      distance = apart
    }
  }
  return nearest
}

/** The first of an order that is not passed over. */
const first = (
  tree: FitTree.FitTree,
  needed: number,
  passed: Passed,
  after: Omit<FitTree.Item, "size"> | null = null
): FitTree.Item | undefined => {
  let item = FitTree.first(tree, needed, after)
  while (item !== undefined && passed.size > 0 && passed.has(idOf(item))) item = FitTree.first(tree, needed, item)
  return item
}
