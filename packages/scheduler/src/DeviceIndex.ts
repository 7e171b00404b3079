/**
 * Devices in the orders in which places are looked for, so that a decision looks at the few devices that matter and not at all: one
 * `FitTree` per order for all devices of a kind, and for those of them that some model asks for (`Asked`). A persistent value; a
 * device's change costs O(log devices) for each way in which models ask for it.
 */
import type { DeviceKind } from "@helixflow/schema/Device"
import type { DeviceId, ReplicaId } from "@helixflow/schema/Ids"
import { HashMap, Option } from "effect"
import * as Asked from "./Asked.ts"
import * as FitTree from "./FitTree.ts"

/** What may leave a device: what the one is worth that is worth least (`ReplicaEntry.value`), and how many bytes all hold. */
export interface Leaving {
  readonly value: number
  readonly bytes: number
  /** Those of them that have not failed: who has may leave only once it was not brought back for a while. */
  readonly ready: ReadonlyArray<ReplicaId>
}

/** What the index knows of a device. */
export interface Profile {
  readonly kind: DeviceKind
  readonly name: string
  readonly total: number
  readonly free: number
  /** It loads a model, so nothing else can be loaded. */
  readonly loading: boolean
  /** Replicas without requests that may leave; and with those that have some. */
  readonly idle: Leaving
  readonly all: Leaving
}

/**
 * | order | first comes | size |
 * |---|---|---|
 * | id | the lowest id | bytes free |
 * | free | the least memory free | bytes free |
 * | share | the largest share of memory free | bytes free |
 * | idle | whose least valuable idle replica is worth least | bytes free once all idle ones have left |
 * | all | whose least valuable replica is worth least | bytes free once all that may leave have left |
 * | whole | the lowest id | bytes of the whole device, loading or not |
 */
export type Order = "id" | "free" | "share" | "idle" | "all" | "whole"

const orders: ReadonlyArray<Order> = ["id", "free", "share", "idle", "all", "whole"]

/** Lower comes first. Null: it can't be loaded on now, and is in none but the last order. */
export const place = (order: Order, profile: Profile): FitTree.Place | null => {
  const { all, free, idle, loading, total } = profile
  if (order === "whole") return { key: 0, size: total }
  if (loading) return null
  switch (order) {
    case "id":
      return { key: 0, size: free }
    case "free":
      return { key: free, size: free }
    case "share":
      return { key: 1 - free / total, size: free }
    case "idle":
      return { key: idle.value, size: free + idle.bytes }
    case "all":
      return { key: all.value, size: free + all.bytes }
  }
}

/** An id as it is ordered: numbers as numbers. Different ids have different ones. */
export const sortKey = (id: string): string => `${id.replace(/\d+/g, (digits) => digits.padStart(12, "0"))}\0${id}`

interface Entry {
  readonly id: DeviceId
  readonly name: string
  readonly profile: Profile
  /** The groups that it is in. */
  readonly groups: ReadonlyArray<string>
}

type Trees = Readonly<Record<Order, FitTree.FitTree>>

const noTrees: Trees = { id: null, free: null, share: null, idle: null, all: null, whole: null }

export interface DeviceIndex {
  /** Grows whenever some device may take more than before: while it is the same, who found no room finds none. */
  readonly grown: number
  /** Bytes that are free on all devices of a kind together. */
  readonly free: Readonly<Record<DeviceKind, number>>
  readonly entries: HashMap.HashMap<DeviceId, Entry>
  readonly ids: HashMap.HashMap<string, DeviceId>
  /** The ways in which models ask for devices, by their keys. */
  readonly asked: ReadonlyMap<string, Asked.Asked>
  /** By kind and way of asking. */
  readonly groups: HashMap.HashMap<string, Trees>
}

/** Without devices, for models that ask for them in these ways. */
export const empty = (asked: Iterable<Asked.Asked> = [], grown = 0): DeviceIndex => ({
  grown,
  free: { cpu: 0, cuda: 0, webgpu: 0 },
  entries: HashMap.empty(),
  ids: HashMap.empty(),
  asked: new Map([Asked.any, ...asked].map((one) => [Asked.keyOf(one), one])),
  groups: HashMap.empty()
})

const groupKey = (kind: DeviceKind, asked: string) => `${kind} ${asked}`

const groupsOf = (index: DeviceIndex, id: DeviceId, { kind, name }: Profile): ReadonlyArray<string> =>
  Array.from(index.asked).flatMap(([key, { devices, name: part }]) =>
    Asked.suits({ kind: null, name: part }, { kind, name }) && Asked.isPinnedTo({ devices }, { id })
      ? [groupKey(kind, key)]
      : []
  )

/** Whether a device could take more as it is than as it was. */
const takesMore = (was: Profile, is: Profile): boolean =>
  (was.loading && !is.loading) ||
  is.total > was.total ||
  is.free > was.free ||
  is.free + is.idle.bytes > was.free + was.idle.bytes ||
  is.free + is.all.bytes > was.free + was.all.bytes ||
  // one that may leave now counts, whatever may not any more
  is.idle.ready.some((id) => !was.idle.ready.includes(id)) ||
  is.all.ready.some((id) => !was.all.ready.includes(id))

const isSameLeaving = (was: Leaving, is: Leaving): boolean =>
  was.value === is.value &&
  was.bytes === is.bytes &&
  was.ready.length === is.ready.length &&
  was.ready.every((id, index) => id === is.ready[index])

/** Much that changes on a device, like news of a replica that has nothing new, changes nothing here. */
const isSame = (was: Profile, is: Profile): boolean =>
  was.kind === is.kind &&
  was.name === is.name &&
  was.total === is.total &&
  was.free === is.free &&
  was.loading === is.loading &&
  isSameLeaving(was.idle, is.idle) &&
  isSameLeaving(was.all, is.all)

/** With the device's profile in place of the one that it had, if any. */
export const set = (index: DeviceIndex, id: DeviceId, profile: Profile): DeviceIndex => {
  const before = Option.getOrUndefined(HashMap.get(index.entries, id))
  if (before !== undefined && isSame(before.profile, profile)) return index
  const name = before?.name ?? sortKey(id)
  let { groups } = index
  const change = (
    keys: ReadonlyArray<string>,
    update: (tree: FitTree.FitTree, order: Order) => FitTree.FitTree
  ): void => {
    for (const key of keys) {
      const trees: Record<Order, FitTree.FitTree> = { ...Option.getOrElse(HashMap.get(groups, key), () => noTrees) }
      for (const order of orders) trees[order] = update(trees[order], order)
      groups = HashMap.set(groups, key, trees)
    }
  }
  const moved = before !== undefined && (before.profile.kind !== profile.kind || before.profile.name !== profile.name)
  if (before !== undefined && moved) {
    change(before.groups, (tree, order) => FitTree.replace(tree, name, place(order, before.profile), null))
  }
  const own = before === undefined || moved ? groupsOf(index, id, profile) : before.groups
  change(own, (tree, order) => {
    const was = before === undefined || moved ? null : place(order, before.profile)
    return FitTree.replace(tree, name, was, place(order, profile))
  })
  const more = before === undefined || moved || takesMore(before.profile, profile)
  const free = { ...index.free }
  if (before !== undefined) free[before.profile.kind] -= Math.max(0, before.profile.free)
  free[profile.kind] += Math.max(0, profile.free)
  return {
    ...index,
    grown: more ? index.grown + 1 : index.grown,
    free,
    entries: HashMap.set(index.entries, id, { id, name, profile, groups: own }),
    ids: before === undefined ? HashMap.set(index.ids, name, id) : index.ids,
    groups
  }
}

/** A device in an order. */
export interface Placed {
  readonly id: DeviceId
  readonly key: number
}

/**
 * The devices of the kind that are asked for so, in the order, whose size there is at least `needed`; those behind `after` (a sort key)
 * only, of an order by id. Each costs O(log devices), if a model of the view asks so.
 */
export function* inOrder(
  index: DeviceIndex,
  kind: DeviceKind,
  asked: Asked.Asked,
  order: Order,
  needed: number,
  after: string | null = null
): Generator<Placed> {
  const key = Asked.keyOf(asked)
  const known = index.asked.has(key)
  const trees = Option.getOrUndefined(HashMap.get(index.groups, groupKey(kind, known ? key : "")))
  if (trees === undefined) return
  const tree = trees[order]
  let item = FitTree.first(tree, needed, after === null ? null : { key: 0, name: after })
  for (; item !== undefined; item = FitTree.first(tree, needed, item)) {
    const id = Option.getOrUndefined(HashMap.get(index.ids, item.name))
    const entry = id && Option.getOrUndefined(HashMap.get(index.entries, id))
    if (entry === undefined) continue
    const suits = known || (Asked.suits({ kind, name: asked.name }, entry.profile) && Asked.isPinnedTo(asked, entry))
    if (suits) yield { id: entry.id, key: item.key }
  }
}
