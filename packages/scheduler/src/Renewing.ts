/**
 * Replicas whose model's files were replaced give way to replicas of the new ones, without a pause where there is room for both:
 *
 *     ready, outdated ── the new one is loaded beside it ──> the new one is ready ── the old one drains ──> gone
 *          └── no room for both: it drains first, and requests wait for the load
 *
 * Until the new one is ready, requests go to the old one; what has begun there ends there, or fails when the drain timeout is over. A
 * load of the new files that fails leaves the old ones serving.
 */
import type { ModelSpec } from "@helixflow/schema/Model"
import { HashSet } from "effect"
import * as Asked from "./Asked.ts"
import * as Eviction from "./Eviction.ts"
import * as FleetChange from "./FleetChange.ts"
import * as FleetView from "./FleetView.ts"
import { startLoad } from "./Loading.ts"
import type { Command, SchedulerState, Step } from "./SchedulerState.ts"
import * as Survey from "./Survey.ts"

export const renew = (state: SchedulerState, wanted: Eviction.Wanted, now: number): Step => {
  const { outdated } = state.view
  if (state.closed || HashSet.size(outdated) === 0) return { state, commands: [] }
  const models = new Set(Array.from(outdated).flatMap((id) => FleetView.replica(state.view, id)?.status.model ?? []))
  const commands: Array<Command> = []
  let current = state
  for (const id of models) {
    const spec = FleetView.model(current.view, id)
    if (spec === undefined) continue
    const step = renewModel(current, spec, wanted, now)
    commands.push(...step.commands)
    current = step.state
  }
  return { state: current, commands }
}

const renewModel = (state: SchedulerState, spec: ModelSpec, wanted: Eviction.Wanted, now: number): Step => {
  const { options, view } = state
  const entries = FleetView.replicasOf(view, spec.id).flatMap((id) => FleetView.replica(view, id) ?? [])
  const old = entries.filter((entry) => FleetView.isOutdated(view, entry) && entry.life === "running")
  const others = entries.filter((entry) => !FleetView.isOutdated(view, entry))
  if (others.some((entry) => FleetView.stateOf(entry) === "ready")) return phaseOut(state, old)
  const serving = old.filter((entry) => FleetView.stateOf(entry) === "ready")
  // where none serves, the next request has the model loaded
  if (serving.length === 0 || entries.some((entry) => FleetView.stateOf(entry) === "loading")) {
    return { state, commands: [] }
  }
  const returning = others.find(
    (entry) => FleetView.stateOf(entry) === "failed" && !Eviction.abandoned(entry, now, options)
  )
  if (returning !== undefined) return later(state, returning.status.since + options.failedGrace)

  const survey = (evicts: boolean) =>
    Survey.survey(view, { spec, evicts, patientUntil: Number.POSITIVE_INFINITY, wanted }, now, options)
  const beside = survey(false)
  const load =
    beside.load ??
    inPlace(state, spec, serving.filter(isIdle), wanted, now) ??
    survey(true).load ??
    inPlace(state, spec, serving, wanted, now)
  return load === undefined ? later(state, beside.until) : startLoad(state, spec, load, "keep", now)
}

const isIdle = ({ taken }: FleetView.ReplicaEntry): boolean => taken === 0

const later = (state: SchedulerState, at: number): Step => ({
  state: { ...state, wakeAt: Math.min(state.wakeAt, at) },
  commands: []
})

/** They take no new requests, and stop when they have none. */
const phaseOut = (state: SchedulerState, entries: ReadonlyArray<FleetView.ReplicaEntry>): Step => {
  const replicas = entries.map(({ status }) => status.replica)
  let { view } = state
  for (const id of replicas) view = FleetChange.updateReplica(view, id, () => ({ life: "stopping" }))
  return { state: { ...state, view }, commands: replicas.map((replica) => ({ _tag: "PhaseOut", replica })) }
}

const nobody: Pick<Eviction.Eviction, "replicas" | "loss"> = { replicas: [], loss: Number.NEGATIVE_INFINITY }

/** The load on the device of one of these, once they have left it, and idle ones of other models where that is not enough. */
const inPlace = (
  { options, view }: SchedulerState,
  spec: ModelSpec,
  old: ReadonlyArray<FleetView.ReplicaEntry>,
  wanted: Eviction.Wanted,
  now: number
): Survey.LoadDecision | undefined => {
  // who is split leaves several devices, and another may need others: its load evicts it as it would anyone
  if (spec.placing.split > 1 || old.some(({ status }) => status.parts.length > 0)) return undefined
  for (const id of new Set(old.map(({ status }) => status.device))) {
    const device = FleetView.device(view, id)
    if (device === undefined || FleetView.loadingOn(view, id) !== undefined) continue
    if (!Asked.suits(spec.placing, device.status.device) || !Asked.isPinnedTo(spec.placing, device.status.device))
      continue
    if ((FleetView.failuresOf(view, spec.id).get(id)?.until ?? 0) > now) continue
    const { kind } = device.status.device
    const leaving = old.filter(({ status }) => status.device === id)
    const freed = leaving.reduce((sum, entry) => sum + FleetView.bytesOn(view, entry, id), 0)
    const missing = spec.claimOn(kind) - device.free - freed
    const room = { device: id, model: spec.id, missing, upTo: 1 as const, must: [], wanted }
    const more = missing > 0 ? Eviction.evict(view, room, now, options).eviction : nobody
    if (more === undefined) continue
    return {
      _tag: "Load",
      device: id,
      kind,
      parts: [],
      evict: [...leaving.map(({ status }) => status.replica), ...more.replicas],
      score: 0,
      loss: more.loss
    }
  }
  return undefined
}
