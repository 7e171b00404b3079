/** Replicas that are kept for a while after their last request, in the order in which their time is up. */
import { ReplicaId } from "@helixflow/schema/Ids"
import * as FitTree from "./FitTree.ts"
import type { ReplicaEntry } from "./FleetView.ts"

export type Keeping = FitTree.FitTree

export const none: Keeping = null

const itemOf = (entry: ReplicaEntry | undefined) =>
  entry === undefined || entry.keepUntil === Number.POSITIVE_INFINITY
    ? undefined
    : { key: entry.keepUntil, name: entry.status.replica, size: 0 }

/** With what is known of a replica now in place of what was before. */
export const noted = (keeping: Keeping, before: ReplicaEntry | undefined, now: ReplicaEntry | undefined): Keeping => {
  const [was, is] = [itemOf(before), itemOf(now)]
  if (was?.key === is?.key) return keeping
  const without = was === undefined ? keeping : FitTree.remove(keeping, was)
  return is === undefined ? without : FitTree.insert(without, is)
}

/** Whose time is up first, and when. */
export const first = (keeping: Keeping): { readonly replica: ReplicaId; readonly until: number } | undefined => {
  const item = FitTree.first(keeping, 0, null)
  return item && { replica: ReplicaId.make(item.name, { disableValidation: true }), until: item.key }
}
