/**
 * When moves are looked for that make room for a model that waits, and which. Where memory enough is free, but in pieces, `Defrag` plans
 * them. Where it is not, and what is in the way is kept loaded and therefore never evicted, that is loaded on another device first,
 * where others leave for it if need be: otherwise it would be in the way for ever. What is split is not moved.
 *
 * They are looked for when they may be found: not while no device can take more than the last time.
 */
import { DeviceKind } from "@helixflow/schema/Device"
import type { DeviceId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import { HashMap, Option } from "effect"
import * as Decide from "./Decide.ts"
import { DeviceGroups } from "./DeviceGroups.ts"
import * as Eviction from "./Eviction.ts"
import * as FleetIndex from "./FleetIndex.ts"
import * as FleetView from "./FleetView.ts"
import { type Move, startMove } from "./Loading.ts"
import * as Queue from "./Queue.ts"
import type { SchedulerState, Step } from "./SchedulerState.ts"
import * as Survey from "./Survey.ts"

/** Devices that are looked at for what is kept on them. */
const mostDevices = 16

export type Sought = Step & {
  /** When moves may be looked for again. */
  readonly until: number
  /** They are begun or under way. */
  readonly makesRoom: boolean
}

/** Moves that make room for a model, begun or under way. */
export const seek = (state: SchedulerState, query: Decide.Query, decision: Decide.Decision, now: number): Sought => {
  const { id } = query.spec
  const { options, view } = state
  const never = { state, commands: [], until: Number.POSITIVE_INFINITY, makesRoom: false }
  const waits = decision._tag === "Wait"
  if (!waits && (decision._tag !== "Load" || decision.evict.length === 0)) return never
  if (FleetView.isMovedFor(view, id)) return { ...never, makesRoom: true }
  const { free, grown } = FleetIndex.indexOf(view)
  const inPieces = DeviceKind.literals.some((kind) => free[kind] >= query.spec.wholeClaimOn(kind))
  if (!inPieces && !(waits && view.kept.length > 0)) return never
  // the model's replicas are only too busy, which a move does not change
  if (Decide.standing(view, query, now, options).live > 0) return never
  const seekAt = waits ? seekingAt(state, query, inPieces, grown) : now
  if (now < seekAt) return { ...never, until: seekAt }
  const move = inPieces ? Decide.moves(view, query, decision, now, options)?.moves[0] : undefined
  const begun = move ?? (waits ? displaced(state, query, now) : undefined)
  const of = HashMap.set(state.movesSought.of, id, { at: now, grown })
  const sought = { ...state, movesSought: { at: now, of } }
  if (begun === undefined) return { ...never, state: sought, until: waits ? now + options.moveRetry : never.until }
  const started = startMove(sought, begun, id, now)
  const queue = Queue.turned(started.state.queue, id)
  return { ...never, state: { ...started.state, queue }, commands: started.commands, makesRoom: true }
}

const seekingAt = (
  { movesSought, options }: SchedulerState,
  { since, spec }: Decide.Query,
  inPieces: boolean,
  grown: number
) => {
  const { backoffCap, moveInterval, moveRetry, patience, wantedPatience } = options
  const before = Option.getOrUndefined(HashMap.get(movesSought.of, spec.id))
  const first = Math.max(movesSought.at + moveInterval, since + (inPieces ? patience : wantedPatience))
  if (before === undefined) return first
  // by then who failed on a device may be tried there again
  return Math.max(first, before.at + (before.grown === grown ? backoffCap : moveRetry))
}

/** What is kept of the device's replicas and may be loaded elsewhere, of those that are ready. */
const keptOn = (view: FleetView.FleetView, device: FleetView.DeviceEntry) =>
  FleetView.replicasOn(view, device.status.device.id).flatMap((id) => {
    const entry = FleetView.replica(view, id)
    const spec = entry && FleetView.model(view, entry.status.model)
    return entry !== undefined && spec !== undefined && isInTheWay(view, entry, spec) ? [{ id, entry, spec }] : []
  })

const isInTheWay = (view: FleetView.FleetView, entry: FleetView.ReplicaEntry, spec: ModelSpec): boolean =>
  FleetView.stateOf(entry) === "ready" &&
  !FleetView.mayLeave(view, entry) &&
  spec.placing.split === 1 &&
  entry.status.parts.length === 0 &&
  (entry.taken === 0 || !spec.external)

/** A device where the model would fit, and who has to be moved from it first. */
interface Vacated {
  readonly id: DeviceId
  readonly kept: ReturnType<typeof keptOn>
}

/** The devices where the model would fit without those that are kept there, and others that may leave. */
const vacated = ({ options, view }: SchedulerState, { spec, wanted }: Decide.Query, now: number): Array<Vacated> => {
  const found: Array<Vacated> = []
  const kind = Survey.kindFor(view, spec, now)
  if (kind === undefined) return found
  let looked = 0
  for (const { id } of Survey.devicesFor(view, spec, [kind])) {
    if (looked++ === mostDevices) break
    const device = FleetView.device(view, id)
    if (device === undefined || FleetView.loadingOn(view, id) !== undefined) continue
    const fits = (freed: number): boolean => {
      const missing = Math.max(0, spec.claimOn(kind) - device.free - freed)
      const room = { device: id, model: spec.id, missing, upTo: 3 as const, must: [], wanted }
      return missing === 0 || Eviction.evict(view, room, now, options).eviction !== undefined
    }
    const kept = keptOn(view, device)
    const freed = kept.reduce((sum, { entry }) => sum + FleetView.bytesOn(view, entry, id), 0)
    if (spec.placing.split > 1 && fits(0)) found.push({ id, kept: [] })
    else if (fits(freed)) found.push({ id, kept })
  }
  return found
}

/** A replica that is kept on a device where the model, or a part of it, would fit without, and where else it can be loaded. */
const displaced = (state: SchedulerState, query: Decide.Query, now: number): Move | undefined => {
  const { options, view } = state
  const { since, spec, wanted } = query
  if (now < since + options.wantedPatience) return undefined
  const groups = new DeviceGroups<Vacated>(spec.placing.split)
  // what is vacated already counts first
  const places = vacated(state, query, now).sort((a, b) => a.kept.length - b.kept.length)
  for (const place of places) {
    const device = FleetView.device(view, place.id)?.status.device
    const together = device && groups.add(device, place)
    if (together === undefined) continue
    const avoided = together.map(({ id }) => id)
    for (const { id: replica, spec: other } of together.flatMap(({ kept }) => kept)) {
      const search = { spec: other, evicts: true, patientUntil: since + options.patience, wanted }
      const { load } = Survey.survey(view, search, now, options, Survey.except(view, other, avoided))
      if (load !== undefined) return { replica, to: load.device, evict: load.evict }
    }
  }
  return undefined
}
