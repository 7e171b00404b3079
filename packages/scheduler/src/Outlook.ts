/** How long a wait will probably take, from what was observed: how long slots are held, and how long loads take. */
import type { QueueProgress } from "@helixflow/schema/Caller"
import type { ModelId } from "@helixflow/schema/Ids"
import { HashMap, Option } from "effect"
import * as FleetView from "./FleetView.ts"
import * as Queue from "./Queue.ts"
import type { SchedulerState } from "./SchedulerState.ts"

interface Loading {
  readonly elapsedMillis: number
  readonly usualMillis: number | null
}

/** The load of the model that is nearest its end. */
const loadingOf = (state: SchedulerState, model: ModelId, now: number): Loading | null => {
  let oldest: FleetView.ReplicaEntry | undefined
  for (const id of FleetView.replicasOf(state.view, model)) {
    const entry = FleetView.replica(state.view, id)
    // the entry of a replica that starts was made when its load was decided
    if (entry?.life === "starting" && entry.lastUsed < (oldest?.lastUsed ?? Number.POSITIVE_INFINITY)) oldest = entry
  }
  return oldest === undefined
    ? null
    : {
        elapsedMillis: Math.max(0, now - oldest.lastUsed),
        usualMillis: FleetView.demandFor(state.view, model).loadMillis
      }
}

/** Slots of the model's ready replicas. */
const readySlots = (state: SchedulerState, model: ModelId): number =>
  FleetView.offersOf(state.view, model).reduce(
    (sum, { ready, slots, stopping }) => (stopping ? sum : sum + ready * slots),
    0
  )

/**
 * Milliseconds until the request that `position` others go before has a place; null while nothing was observed. With all slots taken,
 * one of them is free every `hold / slots` on average; a load comes first where nothing is ready.
 */
export const waitMillis = (state: SchedulerState, model: ModelId, position: number, now: number): number | null => {
  const hold = Option.getOrUndefined(HashMap.get(state.holdMillis, model))
  const ready = readySlots(state, model)
  if (ready > 0) return hold === undefined ? null : ((position + 1) * hold) / ready
  const loading = loadingOf(state, model, now)
  const usual = FleetView.demandFor(state.view, model).loadMillis
  if (usual === null) return null
  const left = Math.max(0, usual - (loading?.elapsedMillis ?? 0))
  const slots = FleetView.model(state.view, model)?.slots ?? 1
  if (position < slots) return left
  return hold === undefined ? null : left + ((position + 1 - slots) * hold) / slots
}

/** Seconds after which all who wait now will probably have been served; 1 while nothing was observed. */
export const retryAfterSeconds = (state: SchedulerState, model: ModelId, now: number): number => {
  const waiting = Queue.lane(state.queue, model).length
  return Math.max(1, Math.ceil((waitMillis(state, model, Math.max(0, waiting - 1), now) ?? 0) / 1000))
}

/** How it stands with a request that waits. */
export const progress = (state: SchedulerState, waiting: Queue.Waiting, now: number): QueueProgress => {
  const { model } = waiting
  const position = Queue.position(state.queue, waiting, now)
  return {
    position: position + 1,
    waiting: Math.max(position + 1, Queue.lane(state.queue, model).length),
    waitedMillis: Math.max(0, now - waiting.since),
    expectedMillis: waitMillis(state, model, position, now),
    loading: loadingOf(state, model, now)
  }
}
