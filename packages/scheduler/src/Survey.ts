/**
 * Where a model could be loaded now. Devices are looked at in the order of the model's policy and of the index, so the first that suits
 * is the one; what a decision costs grows with the logarithm of the number of devices.
 *
 * Of devices of several kinds the fastest kind counts on which the model can be loaded at all: one that is slower is no place to avoid
 * an eviction with.
 */
import type { DeviceKind } from "@helixflow/schema/Device"
import type { DeviceId, ReplicaId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import type { Reason } from "@helixflow/schema/Scheduling"
import * as Asked from "./Asked.ts"
import * as Demand from "./Demand.ts"
import { DeviceGroups } from "./DeviceGroups.ts"
import * as DeviceIndex from "./DeviceIndex.ts"
import * as Eviction from "./Eviction.ts"
import * as Fit from "./Fit.ts"
import * as FleetIndex from "./FleetIndex.ts"
import * as FleetView from "./FleetView.ts"
import { compareIds, policies } from "./Policy.ts"
import type { SchedulerOptions } from "./SchedulerOptions.ts"

export interface LoadDecision {
  readonly _tag: "Load"
  readonly device: DeviceId
  /** Of that device, and of the further ones. */
  readonly kind: DeviceKind
  /** The further devices of a model that is split. */
  readonly parts: ReadonlyArray<DeviceId>
  /** Leave first, to make room. */
  readonly evict: ReadonlyArray<ReplicaId>
  /** What is lost with them; see `Eviction.Eviction`. */
  readonly loss: number
  readonly score: number
}

export interface Survey {
  readonly load: LoadDecision | undefined
  /** Some device that the model asks for is large enough, or as many of them as it is split over. */
  readonly possible: boolean
  /** Every such device failed to load the model: the earliest next try, and the failure. */
  readonly broken: FleetView.LoadFailure | undefined
  /** When time alone may change the answer. */
  readonly until: number
}

/** The devices of a kind that the model asks for, in an order; see `DeviceIndex.inOrder`. */
export type Source = (
  kind: DeviceKind,
  order: DeviceIndex.Order,
  needed: number,
  after?: string | null
) => Iterable<DeviceIndex.Placed>

/** Devices whose evictions are compared: those whose least valuable replicas are worth least. */
const comparedEvictions = 64

/** Devices that are looked at where nobody may leave yet. Each of them says when somebody may. */
const mostDeferred = 64

/** Devices that reasons are told of. */
const toldDevices = 16

const indexed = (view: FleetView.FleetView, { placing }: ModelSpec): Source => {
  const index = FleetIndex.indexOf(view)
  return (kind, order, needed, after) => DeviceIndex.inOrder(index, kind, placing, order, needed, after)
}

/** The kinds of devices that the model asks for, the fastest first. */
const kindsOf = ({ placing }: ModelSpec): ReadonlyArray<DeviceKind> =>
  placing.kind === null ? Fit.kinds : [placing.kind]

/** The devices that the model asks for, of these kinds, and that are large enough, loading or not. */
export function* devicesFor(
  view: FleetView.FleetView,
  spec: ModelSpec,
  kinds: ReadonlyArray<DeviceKind> = kindsOf(spec)
): Generator<DeviceIndex.Placed> {
  const source = indexed(view, spec)
  for (const kind of kinds) {
    yield* source(kind, "whole", spec.claimOn(kind))
  }
}

/** The devices that the model asks for, but for these. */
export const except = (view: FleetView.FleetView, spec: ModelSpec, devices: ReadonlyArray<DeviceId>): Source => {
  const source = indexed(view, spec)
  return function* (...asked) {
    for (const placed of source(...asked)) if (!devices.includes(placed.id)) yield placed
  }
}

export interface Search {
  readonly spec: ModelSpec
  /** Whether others leave to make room: for a model's first replica, not for an extra one. */
  readonly evicts: boolean
  /** Whether replicas with requests may leave too, or when they will; `Infinity`: never. */
  readonly patientUntil: number
  readonly wanted: Eviction.Wanted
}

/** Looks for a place to load the model on. */
export const survey = (
  view: FleetView.FleetView,
  search: Search,
  now: number,
  options: SchedulerOptions,
  source: Source = indexed(view, search.spec)
): Survey => {
  let possible = false
  let broken: FleetView.LoadFailure | undefined
  let until = Number.POSITIVE_INFINITY
  for (const kind of kindsOf(search.spec)) {
    const needed = search.spec.claimOn(kind)
    const devices: KindSource = (order, after) => source(kind, order, needed, after)
    const found = surveyKind(view, search, { kind, needed, devices }, now, options)
    possible ||= found.possible
    if (broken === undefined || (found.broken && found.broken.until < broken.until)) broken = found.broken ?? broken
    until = Math.min(until, found.until)
    if (found.possible && found.broken === undefined) return { ...found, possible, until }
  }
  return { load: undefined, possible, broken, until }
}

/** The devices of a kind that have so much of the size that an order goes by. */
type KindSource = (order: DeviceIndex.Order, after?: string | null) => Iterable<DeviceIndex.Placed>

/** What a model needs of each device of a kind, and the devices that have it. */
interface OfKind {
  readonly kind: DeviceKind
  readonly needed: number
  readonly devices: KindSource
}

const surveyKind = (
  view: FleetView.FleetView,
  search: Search,
  ofKind: OfKind,
  now: number,
  options: SchedulerOptions
): Survey => {
  const { evicts, patientUntil, spec } = search
  const failing = failingNow(view, spec, now)
  const { broken, open, possible } = prospects(view, spec, ofKind.devices, failing)
  const until = broken?.until ?? Number.POSITIVE_INFINITY
  if (!open) return { load: undefined, possible, broken, until }

  const fitting = freePlace(view, spec, ofKind, failing)
  if (fitting !== undefined) return { load: fitting, possible, broken: undefined, until }
  if (!evicts) return { load: undefined, possible, broken: undefined, until }
  const room = roomMade(view, search, ofKind, failing, now, options)
  if (room.load !== undefined) return { load: room.load, possible, broken: undefined, until }
  const sooner = Math.min(
    until,
    nextPatience(patientUntil, now, options),
    room.until,
    nextAbandoned(view, now, options)
  )
  return { load: undefined, possible, broken: undefined, until: sooner }
}

/** The failure of a device where the model was not loaded lately, for as long as it is not tried there again. */
type Failing = (id: DeviceId) => FleetView.LoadFailure | undefined

const failingNow = (view: FleetView.FleetView, spec: ModelSpec, now: number): Failing => {
  const failures = FleetView.failuresOf(view, spec.id)
  return (id) => {
    const failure = failures.get(id)
    return failure !== undefined && failure.until > now ? failure : undefined
  }
}

/** Whether devices of a kind are large enough, whatever is on them; and whether some of these may be tried, or the first failure. */
const prospects = (view: FleetView.FleetView, spec: ModelSpec, devices: KindSource, failing: Failing) => {
  const failures = FleetView.failuresOf(view, spec.id)
  let possible = false
  let open = false
  let broken: FleetView.LoadFailure | undefined
  const large = new DeviceGroups<DeviceId>(spec.placing.split)
  const healthy = new DeviceGroups<DeviceId>(spec.placing.split)
  for (const { id } of devices("whole")) {
    const device = FleetView.device(view, id)?.status.device
    if (device === undefined) continue
    possible ||= large.add(device, id) !== undefined
    const failure = failing(id)
    open ||= failure === undefined && healthy.add(device, id) !== undefined
    if (failure !== undefined && (broken === undefined || failure.until < broken.until)) broken = failure
    if (open && failures.size === 0) break
    if (open && broken !== undefined) break
  }
  return { possible, open, broken }
}

/** The kind of devices that counts for the model: the fastest on which it can be loaded at all. */
export const kindFor = (view: FleetView.FleetView, spec: ModelSpec, now: number): DeviceKind | undefined => {
  const source = indexed(view, spec)
  const failing = failingNow(view, spec, now)
  return kindsOf(spec).find((kind) => {
    const needed = spec.claimOn(kind)
    return prospects(view, spec, (order, after) => source(kind, order, needed, after), failing).open
  })
}

/** The best device with enough memory free, by the model's policy; or the first so many together that it is split over. */
const freePlace = (
  view: FleetView.FleetView,
  spec: ModelSpec,
  { devices, kind, needed }: OfKind,
  failing: Failing
): LoadDecision | undefined => {
  const policy = policies[spec.policy]
  const cursor = FleetView.cursor(view, spec.id)
  const first = (after: string | null): LoadDecision | undefined => {
    const groups = new DeviceGroups<{ readonly id: DeviceId; readonly score: number }>(spec.placing.split)
    for (const { id } of devices(policy.order, after)) {
      const device = FleetView.device(view, id)
      if (device === undefined || failing(id) !== undefined) continue
      if (Fit.spreadOver(view, spec, device) !== undefined || Fit.conflicts(view, spec, device).length > 0) continue
      const { total } = device.status.device
      const score = policy.load({ id, free: device.free, total, needed }, { cursor })
      const [chosen, ...others] = groups.add(device.status.device, { id, score }) ?? []
      if (chosen === undefined) continue
      const parts = others.map(({ id }) => id)
      const loss = Number.NEGATIVE_INFINITY
      return { _tag: "Load", device: chosen.id, kind, parts, evict: [], loss, score: chosen.score }
    }
    return undefined
  }
  const turns = spec.policy === "round-robin" && cursor !== ""
  return (turns ? first(DeviceIndex.sortKey(cursor)) : undefined) ?? first(null)
}

/** When a request that may make busy replicas leave at `patientUntil` may do so with those that others wait for. */
const wantedUntil = (patientUntil: number, { patience, wantedPatience }: SchedulerOptions): number =>
  patientUntil + Math.max(0, wantedPatience - patience)

const mostRank = (patientUntil: number, now: number, options: SchedulerOptions): Eviction.Rank =>
  now < patientUntil ? 1 : now < wantedUntil(patientUntil, options) ? 2 : 3

/** When the request may make more replicas leave than now. */
const nextPatience = (patientUntil: number, now: number, options: SchedulerOptions): number =>
  [patientUntil, wantedUntil(patientUntil, options)].find((at) => now < at) ?? Number.POSITIVE_INFINITY

/** Room on a device once some have left it. */
interface Room {
  readonly device: FleetView.DeviceEntry
  readonly eviction: Eviction.Eviction
}

const compareRooms = (a: Room, b: Room): number =>
  a.eviction.loss === b.eviction.loss
    ? compareIds(a.device.status.device.id, b.device.status.device.id)
    : a.eviction.loss - b.eviction.loss

/** The devices where making room loses least, whatever the policy; without them, when there may be some. */
const roomMade = (
  view: FleetView.FleetView,
  { patientUntil, spec, wanted }: Search,
  { devices, kind, needed }: OfKind,
  failing: Failing,
  now: number,
  options: SchedulerOptions
): Pick<Survey, "load" | "until"> => {
  const most = mostRank(patientUntil, now, options)
  const evict = (device: FleetView.DeviceEntry, leaving: ReadonlyArray<ReplicaId>): Eviction.Found => {
    const missing = Math.max(0, needed - device.free)
    const must = Fit.conflicts(view, spec, device)
    const room = { device: device.status.device.id, model: spec.id, missing, must, leaving, wanted }
    let found = Eviction.evict(view, { ...room, upTo: 1 }, now, options)
    for (const upTo of [2, 3] as const) {
      if (found.eviction === undefined && upTo <= most) found = Eviction.evict(view, { ...room, upTo }, now, options)
    }
    return found
  }
  const { split } = spec.placing
  const rooms: Array<Room> = []
  const groups = new DeviceGroups<Room>(split)
  let enough = false
  let until = Number.POSITIVE_INFINITY
  let compared = 0
  let deferred = 0
  for (const { id } of devices(most > 1 ? "all" : "idle")) {
    if (enough ? compared >= comparedEvictions : deferred >= mostDeferred) break
    const device = FleetView.device(view, id)
    if (device === undefined || failing(id) !== undefined || Fit.spreadOver(view, spec, device) !== undefined) continue
    compared += 1
    const found = evict(device, [])
    if (found.eviction === undefined) {
      until = Math.min(until, found.until)
      if (found.until < Number.POSITIVE_INFINITY) deferred += 1
      continue
    }
    const room = { device, eviction: found.eviction }
    rooms.push(room)
    if (groups.add(device.status.device, room) !== undefined) enough = true
  }
  const candidates =
    split === 1 ? rooms.map((room) => [room]) : groups.complete().map((group) => together(group, split, evict))
  let best: ReadonlyArray<Room> | undefined
  let loss = Number.POSITIVE_INFINITY
  for (const group of candidates) {
    const [first] = group
    if (first === undefined) continue
    const lost = group.reduce((sum, { eviction }) => Demand.sum(sum, eviction.loss), Number.NEGATIVE_INFINITY)
    if (best?.[0] !== undefined && (lost > loss || (lost === loss && compareRooms(first, best[0]) >= 0))) continue
    best = group
    loss = lost
  }
  const [first, ...others] = best ?? []
  if (first === undefined) return { load: undefined, until }
  const { device, eviction } = first
  const { id, total } = device.status.device
  const state = { cursor: FleetView.cursor(view, spec.id) }
  const free = device.free + eviction.bytes
  const score = policies[spec.policy].load({ id, free, total, needed }, state)
  const parts = others.map(({ device }) => device.status.device.id)
  const leaving = [first, ...others].flatMap(({ eviction }) => eviction.replicas)
  return { load: { _tag: "Load", device: id, kind, parts, evict: leaving, loss, score }, until }
}

/** So many of a group's devices where least is lost; who leaves one leaves all that it is on. None if they can't all be had at once. */
const together = (
  group: ReadonlyArray<Room>,
  split: number,
  evict: (device: FleetView.DeviceEntry, leaving: ReadonlyArray<ReplicaId>) => Eviction.Found
): ReadonlyArray<Room> => {
  const chosen: Array<Room> = []
  const leaving: Array<ReplicaId> = []
  for (const { device } of [...group].sort(compareRooms)) {
    const { eviction } = evict(device, leaving)
    if (eviction === undefined) continue
    chosen.push({ device, eviction })
    leaving.push(...eviction.replicas)
    if (chosen.length === split) return chosen
  }
  return []
}

/** When the next failed replica will count as abandoned; `Infinity` if none will. */
const nextAbandoned = (view: FleetView.FleetView, now: number, options: SchedulerOptions): number => {
  let next = Number.POSITIVE_INFINITY
  for (const id of view.failed) {
    const entry = FleetView.replica(view, id)
    if (entry === undefined || FleetView.stateOf(entry) !== "failed") continue
    const at = entry.status.since + options.failedGrace
    if (at > now) next = Math.min(next, at)
  }
  return next
}

/** Why the model can't be loaded at once, device by device; of a large fleet some devices stand for all. */
export const reasons = (view: FleetView.FleetView, spec: ModelSpec, now: number): ReadonlyArray<Reason> => {
  const { split } = spec.placing
  const told: Array<Reason> = []
  let left = toldDevices
  let found = 0
  const index = FleetIndex.indexOf(view)
  for (const kind of Fit.kinds) {
    const possible = new DeviceGroups<DeviceId>(split)
    const fitting = new DeviceGroups<DeviceId>(split)
    for (const { id } of DeviceIndex.inOrder(index, kind, Asked.any, "whole", 0)) {
      const device = FleetView.device(view, id)
      if (device === undefined || (left <= 0 && split === 1)) break
      const fit = Fit.fit(view, spec, device, now)
      if (left-- > 0) told.push(...fit.reasons)
      if (fit.possible) possible.add(device.status.device, id)
      if (fit.reasons.length === 0) fitting.add(device.status.device, id)
    }
    found = Math.max(found, possible.most < split ? possible.most : fitting.most)
  }
  if (split > 1 && found < split) told.push({ _tag: "TooFewDevices", needed: split, found })
  return told
}
