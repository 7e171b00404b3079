/**
 * Devices in the orders in which places are looked for, so that a decision looks at the few devices that matter and not at all: one
 * `FitTree` per order, for each kind and name of device. A persistent value; a device's change costs O(log devices).
 */
import type { DeviceKind } from "@helixflow/schema/Device"
import type { DeviceId } from "@helixflow/schema/Ids"
import { HashMap, Option } from "effect"
import * as FitTree from "./FitTree.ts"

/** What may leave a device: what the one is worth that is worth least (`FleetView.valueOf`), and how many bytes all hold. */
export interface Leaving {
  readonly value: number
  readonly bytes: number
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
export const place = (order: Order, profile: Profile): { readonly key: number; readonly size: number } | null => {
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
}

type Trees = Readonly<Record<Order, FitTree.FitTree>>

const noTrees: Trees = { id: null, free: null, share: null, idle: null, all: null, whole: null }

export interface DeviceIndex {
  readonly entries: HashMap.HashMap<DeviceId, Entry>
  readonly ids: HashMap.HashMap<string, DeviceId>
  /** By kind and name of device: there are few. */
  readonly groups: ReadonlyMap<string, { readonly kind: DeviceKind; readonly name: string; readonly trees: Trees }>
}

export const empty: DeviceIndex = { entries: HashMap.empty(), ids: HashMap.empty(), groups: new Map() }

const groupOf = ({ kind, name }: Profile) => `${kind} ${name}`

/** With the device's profile in place of the one that it had, if any. */
export const set = (index: DeviceIndex, id: DeviceId, profile: Profile): DeviceIndex => {
  const before = Option.getOrUndefined(HashMap.get(index.entries, id))
  const name = before?.name ?? sortKey(id)
  const groups = new Map(index.groups)
  const change = (of: Profile, update: (tree: FitTree.FitTree, order: Order) => FitTree.FitTree) => {
    const key = groupOf(of)
    const trees: Record<Order, FitTree.FitTree> = { ...(groups.get(key)?.trees ?? noTrees) }
    for (const order of orders) trees[order] = update(trees[order], order)
    groups.set(key, { kind: of.kind, name: of.name, trees })
  }
  const moved = before !== undefined && groupOf(before.profile) !== groupOf(profile)
  if (before !== undefined && moved) {
    change(before.profile, (tree, order) => {
      const at = place(order, before.profile)
      return at === null ? tree : FitTree.remove(tree, { key: at.key, name })
    })
  }
  change(profile, (tree, order) => {
    const was = before === undefined || moved ? null : place(order, before.profile)
    const is = place(order, profile)
    if (was !== null && is !== null && was.key === is.key && was.size === is.size) return tree
    if (was !== null && is !== null && was.key === is.key) return FitTree.resize(tree, { ...is, name })
    const without = was === null ? tree : FitTree.remove(tree, { key: was.key, name })
    return is === null ? without : FitTree.insert(without, { ...is, name })
  })
  return {
    entries: HashMap.set(index.entries, id, { id, name, profile }),
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
 * The devices of the groups that suit, in the order, whose size there is at least `needed`; those behind `after` (a sort key) only, of
 * an order by id. Each costs O(log devices).
 */
export function* inOrder(
  index: DeviceIndex,
  suits: (device: { readonly kind: DeviceKind; readonly name: string }) => boolean,
  order: Order,
  needed: number,
  after: string | null = null
): Generator<Placed> {
  const heads: Array<{ readonly tree: FitTree.FitTree; item: FitTree.Item }> = []
  const start = after === null ? null : { key: 0, name: after }
  for (const group of index.groups.values()) {
    if (!suits(group)) continue
    const tree = group.trees[order]
    const item = FitTree.first(tree, needed, start)
    if (item !== undefined) heads.push({ tree, item })
  }
  while (heads.length > 0) {
    let best = 0
    for (let at = 1; at < heads.length; at++) {
      const [head, lowest] = [heads[at], heads[best]]
      if (head !== undefined && lowest !== undefined && FitTree.compare(head.item, lowest.item) < 0) best = at
    }
    const head = heads[best]
    if (head === undefined) return
    const { item, tree } = head
    const id = Option.getOrUndefined(HashMap.get(index.ids, item.name))
    if (id !== undefined) yield { id, key: item.key }
    const next = FitTree.first(tree, needed, item)
    if (next === undefined) heads.splice(best, 1)
    else head.item = next
  }
}
