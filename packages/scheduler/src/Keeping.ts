/** Replicas that are kept for a while after their last request, in the order in which their time is up. */
import { ReplicaId } from "@helixflow/schema/Ids"
import * as FitTree from "./FitTree.ts"
import type { ReplicaEntry } from "./FleetView.ts"

export type Keeping = FitTree.FitTree

export const none: Keeping = null

const placeOf = (entry: ReplicaEntry | undefined): FitTree.Place | null =>
  entry === undefined || entry.keepUntil === Number.POSITIVE_INFINITY ? null : { key: entry.keepUntil, size: 0 }

/** With what is known of a replica now in place of what was before. */
export const noted = (
  keeping: Keeping,
  id: ReplicaId,
  before: ReplicaEntry | undefined,
  now: ReplicaEntry | undefined
): Keeping => FitTree.replace(keeping, id, placeOf(before), placeOf(now))

/** Whose time is up first, and when. */
export const first = (keeping: Keeping): { readonly replica: ReplicaId; readonly until: number } | undefined => {
  const item = FitTree.first(keeping, 0, null)
  return item && { replica: ReplicaId.make(item.name, { disableValidation: true }), until: item.key }
}
