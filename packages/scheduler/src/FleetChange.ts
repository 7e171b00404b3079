/**
 * How what is believed of the fleet changes: by news, by the scheduler's own doing before there are news of it, and by what requests
 * ask for. Every function returns a new view and costs O(log n) in devices and replicas.
 */
import type { DeviceStatus } from "@helixflow/schema/Device"
import { Bytes, type DeviceId, type ModelId, type ReplicaId, type ReservationId } from "@helixflow/schema/Ids"
import type { KeepAlive } from "@helixflow/schema/KeepAlive"
import { type ModelSpec, partsOf, type ReplicaStatus } from "@helixflow/schema/Model"
import { HashMap, HashSet, Option } from "effect"
import * as Asked from "./Asked.ts"
import * as Demand from "./Demand.ts"
import * as DeviceIndex from "./DeviceIndex.ts"
import {
  bytesOf,
  type DeviceEntry,
  demandFor,
  device,
  devicesOf,
  type FleetView,
  failuresOf,
  forgottenAt,
  isOutdated,
  type LoadFailure,
  memberOf,
  model,
  type Raised,
  type ReplicaEntry,
  raisedClaim,
  replica,
  replicasOf,
  replicasOn
} from "./FleetView.ts"
import * as Keeping from "./Keeping.ts"
import { charge } from "./Ledger.ts"
import * as Offers from "./Offers.ts"

const noClaims: ReadonlyMap<ReservationId, number> = new Map()
const noReservations: ReadonlySet<ReservationId> = new Set()

export const withModels = (view: FleetView, configured: ReadonlyArray<ModelSpec>): FleetView => {
  let raised = HashMap.empty<ModelId, Raised>()
  const specs = configured.map((spec) => {
    const before = raisedClaim(view, spec.id)
    // other files may take less
    if (before === undefined || before.configured.revision !== spec.revision) return spec
    raised = HashMap.set(raised, spec.id, { ...before, configured: spec })
    return claimingAtLeast(spec, before)
  })
  const models = HashMap.fromIterable(specs.map((spec) => [spec.id, spec] as const))
  const kept = specs.filter(({ placing }) => placing.minReplicas > 0)
  const apart = specs.some(({ placing }) => placing.notBeside.length > 0)
  const moved = { ...view, models, kept, apart, raised }
  const entries = Array.from(HashMap.values(view.replicas))
  const outdated = entries.flatMap((entry) => (isOutdated(moved, entry) ? [entry.status.replica] : []))
  // other slots or another policy make other offers
  const offers = entries.reduce((offers, entry) => {
    const [was, is] = [memberOf(view, entry), memberOf(moved, entry)]
    const same = was.slots === is.slots && was.policy === is.policy
    return same ? offers : offering(offers, entry.status.model, was, is)
  }, view.offers)
  // other files may be loaded where those before could not be
  const failures = HashMap.filter(view.failures, (_, id) => model(view, id)?.revision === model(moved, id)?.revision)
  const changed = { ...moved, outdated: HashSet.fromIterable(outdated), failures, offers }
  const asked = new Map(specs.map(({ placing }) => [Asked.keyOf(placing), placing]))
  const { base } = view.index
  if ([...asked.keys()].every((key) => base.asked.has(key))) {
    // what a model claims, and whether it may leave, is in the profiles of the devices that have it
    return touched(changed, ...new Set(entries.flatMap(devicesOf)))
  }
  const anew = {
    base: DeviceIndex.empty(asked.values(), base.grown + 1),
    stale: HashSet.empty<DeviceId>(),
    current: null
  }
  return touched({ ...changed, index: anew }, ...HashMap.keys(view.devices))
}

const claimingAtLeast = (spec: ModelSpec, { bytes, kind }: Pick<Raised, "bytes" | "kind">): ModelSpec => {
  const more = (bytes - spec.claimOn(kind)) * spec.placing.split
  return more <= 0 ? spec : spec.withWeightsOn(kind, Bytes.make(Math.ceil(spec.footprintOn(kind).weights + more)))
}

const withModel = (view: FleetView, spec: ModelSpec): FleetView => ({
  ...view,
  moved: HashSet.add(view.moved, spec.id),
  models: HashMap.set(view.models, spec.id, spec),
  kept: view.kept.map((kept) => (kept.id === spec.id ? spec : kept))
})

/** The next load of the model claims at least so many bytes of each device of the kind. */
export const raiseClaim = (view: FleetView, raised: Raised): FleetView => ({
  ...withModel(view, claimingAtLeast(raised.configured, raised)),
  raised: HashMap.set(view.raised, raised.configured.id, raised)
})

/** The model claims what it is configured to. */
export const lowerClaim = (view: FleetView, id: ModelId): FleetView => {
  const raised = raisedClaim(view, id)
  if (raised === undefined) return view
  return { ...withModel(view, raised.configured), raised: HashMap.remove(view.raised, id) }
}

/** The view with these devices' places in the index to be computed anew. */
const touched = (view: FleetView, ...ids: ReadonlyArray<DeviceId>): FleetView => {
  const { base, current, stale } = view.index
  let next = current === null ? stale : HashSet.empty<DeviceId>()
  for (const id of ids) next = HashSet.add(next, id)
  return { ...view, index: { base: current ?? base, stale: next, current: null } }
}

/** A device's entry with `free` computed anew. */
const estimated = (entry: Omit<DeviceEntry, "free">): DeviceEntry => {
  let free = entry.reported
  for (const bytes of entry.assumed.values()) free -= bytes
  if (entry.released.size > 0) {
    for (const claim of entry.status.claims) {
      if (claim.within === null && entry.released.has(claim.reservation)) free += charge(claim)
    }
  }
  return { ...entry, free }
}

const setDevice = (view: FleetView, id: DeviceId, entry: DeviceEntry): FleetView =>
  touched({ ...view, devices: HashMap.set(view.devices, id, entry) }, id)

/** Takes a device's word, unless a later one is known. */
export const observeDevice = (view: FleetView, status: DeviceStatus): FleetView => {
  const id = status.device.id
  const known = device(view, id)
  if (known !== undefined && status.version <= known.status.version) return view
  const settled = { status, reported: status.free - status.deficit, assumed: noClaims, released: noReservations }
  if (known === undefined || (known.assumed.size === 0 && known.released.size === 0)) {
    return setDevice(view, id, estimated(settled))
  }
  const listed = new Set(status.claims.map((claim) => claim.reservation))
  const assumed = new Map([...known.assumed].filter(([reservation]) => !listed.has(reservation)))
  const released = new Set([...known.released].filter((reservation) => listed.has(reservation)))
  return setDevice(view, id, estimated({ ...settled, assumed, released }))
}

/** A device answered with what is free really: the estimate takes that figure, and moves on from it. */
export const correctFree = (view: FleetView, id: DeviceId, free: number): FleetView => {
  const known = device(view, id)
  if (known === undefined || known.free === free) return view
  return setDevice(view, id, { ...known, reported: known.reported + free - known.free, free })
}

/** The set with the id in it or not; the same one where nothing changes. */
const withMember = <A>(set: HashSet.HashSet<A>, id: A, belongs: boolean): HashSet.HashSet<A> => {
  if (HashSet.has(set, id) === belongs) return set
  return belongs ? HashSet.add(set, id) : HashSet.remove(set, id)
}

/** What a model's replicas offer with one of them as it is now in place of what it was. */
const offering = (
  offers: FleetView["offers"],
  model: ModelId,
  before: Offers.Member | undefined,
  now: Offers.Member | undefined
): FleetView["offers"] => {
  const noted = Offers.noted(
    Option.getOrElse(HashMap.get(offers, model), () => Offers.none),
    before,
    now
  )
  return noted.length === 0 ? HashMap.remove(offers, model) : HashMap.set(offers, model, noted)
}

const setReplica = (view: FleetView, entry: ReplicaEntry): FleetView => {
  const { model, replica: id, state } = entry.status
  const failed = withMember(view.failed, id, state === "failed")
  const outdated = withMember(view.outdated, id, isOutdated(view, entry))
  const moved = HashSet.add(view.moved, model)
  const before = replica(view, id)
  const keeping = Keeping.noted(view.keeping, id, before, entry)
  const offers =
    before !== undefined && Offers.isAlike(before, entry)
      ? view.offers
      : offering(view.offers, model, before && memberOf(view, before), memberOf(view, entry))
  const replicas = HashMap.set(view.replicas, id, entry)
  return touched({ ...view, failed, outdated, moved, keeping, offers, replicas }, ...devicesOf(entry))
}

/** What has moved was taken note of. */
export const settled = (view: FleetView): FleetView =>
  HashSet.size(view.moved) === 0 ? view : { ...view, moved: HashSet.empty() }

/** When there are more or fewer replicas of a model of which some are kept, others of them may leave, or may no more. */
const recounted = (view: FleetView, id: ModelId): FleetView => {
  if ((model(view, id)?.placing.minReplicas ?? 0) === 0) return view
  const entries = replicasOf(view, id).flatMap((id) => replica(view, id) ?? [])
  return touched(view, ...entries.flatMap(devicesOf))
}

const valueOf = (view: FleetView, entry: Omit<ReplicaEntry, "value">, replicas: number, now: number): number =>
  Demand.valueOf(demandFor(view, entry.status.model), replicas, bytesOf(view, entry), now)

const addReplica = (view: FleetView, unvalued: Omit<ReplicaEntry, "value">): FleetView => {
  const { replica: id, model } = unvalued.status
  const value = valueOf(view, unvalued, replicasOf(view, model).length + 1, unvalued.lastUsed)
  const entry = { ...unvalued, value }
  const added = {
    ...setReplica(view, entry),
    replicasOf: HashMap.set(view.replicasOf, model, [...replicasOf(view, model), id]),
    replicasOn: onDevices(view, entry, (ids) => [...ids, id])
  }
  return recounted(added, model)
}

/** The replicas on each device, changed on those of this one. */
const onDevices = (
  view: FleetView,
  entry: ReplicaEntry,
  change: (ids: ReadonlyArray<ReplicaId>) => ReadonlyArray<ReplicaId>
): FleetView["replicasOn"] =>
  devicesOf(entry).reduce((on, id) => HashMap.set(on, id, change(replicasOn(view, id))), view.replicasOn)

/** Changes a replica's entry, if it is there. */
export const updateReplica = (
  view: FleetView,
  id: ReplicaId,
  change: (entry: ReplicaEntry) => Partial<ReplicaEntry>
): FleetView => {
  const entry = replica(view, id)
  return entry === undefined ? view : setReplica(view, { ...entry, ...change(entry) })
}

/** Takes a replica's word, unless a later one is known, it was forgotten since, or it is of one that had its name before. */
export const observeReplica = (view: FleetView, status: ReplicaStatus, now: number): FleetView => {
  const known = replica(view, status.replica)
  if (known !== undefined) {
    const isOther = known.life !== "running" && status.reservation !== known.status.reservation
    return isOther || status.since < known.status.since ? view : setReplica(view, { ...known, status })
  }
  const forgotten = forgottenAt(view, status.replica)
  if (status.state === "absent" || (forgotten !== undefined && status.since < forgotten)) return view
  return addReplica(view, {
    status,
    life: "running",
    bytes: null,
    ...untouched(now)
  })
}

/** Of a replica that nobody has asked for anything yet. */
const untouched = (now: number) => ({
  taken: 0,
  lastUsed: now,
  loadedAt: null,
  ahead: false,
  heldUntil: 0,
  keepUntil: Number.POSITIVE_INFINITY
})

/** A load is decided: the replica counts as loading and its memory (`bytes` of each device) as taken, before anyone else knows. */
export const assumeLoad = (view: FleetView, status: ReplicaStatus, bytes: number, now: number): FleetView => {
  const added = addReplica(view, {
    status,
    life: "starting",
    bytes,
    ...untouched(now)
  })
  return partsOf(status).reduce((view, part) => {
    const on = device(view, part.device)
    if (on === undefined) return view
    const assumed = new Map(on.assumed).set(part.reservation, bytes)
    return setDevice(view, part.device, estimated({ ...on, assumed }))
  }, added)
}

/** The replica is gone and its claim released, whatever the device's last status still lists. */
export const forgetReplica = (view: FleetView, id: ReplicaId, now: number): FleetView => {
  const entry = replica(view, id)
  if (entry === undefined) return view
  const { model } = entry.status
  const others = (ids: ReadonlyArray<ReplicaId>) => ids.filter((other) => other !== id)
  const without = {
    ...touched(view, ...devicesOf(entry)),
    failed: HashSet.remove(view.failed, id),
    outdated: HashSet.remove(view.outdated, id),
    moved: HashSet.add(view.moved, model),
    keeping: Keeping.noted(view.keeping, id, entry, undefined),
    offers: offering(view.offers, model, memberOf(view, entry), undefined),
    replicas: HashMap.remove(view.replicas, id),
    replicasOf: HashMap.set(view.replicasOf, model, others(replicasOf(view, model))),
    replicasOn: onDevices(view, entry, others),
    tombstones: HashMap.set(view.tombstones, id, now)
  }
  return partsOf(entry.status).reduce(
    (view, { device: deviceId, reservation }) => {
      const on = device(view, deviceId)
      if (on === undefined) return view
      const assumed = new Map(on.assumed)
      assumed.delete(reservation)
      const listed = on.status.claims.some((claim) => claim.reservation === reservation)
      const released = listed ? new Set(on.released).add(reservation) : on.released
      return setDevice(view, deviceId, estimated({ ...on, assumed, released }))
    },
    recounted(without, model)
  )
}

/** A slot of the replica is given (`1`) or freed (`-1`). Who frees it says how long the replica is kept if it was the last. */
export const takeSlot = (
  view: FleetView,
  id: ReplicaId,
  change: 1 | -1,
  now: number,
  keepAlive: KeepAlive = "forever"
): FleetView =>
  updateReplica(view, id, (entry) => {
    const taken = Math.max(0, entry.taken + change)
    const keepUntil = taken > 0 || keepAlive === "forever" ? Number.POSITIVE_INFINITY : now + keepAlive
    const value = valueOf(view, entry, replicasOf(view, entry.status.model).length, now)
    return { taken, lastUsed: now, ahead: false, keepUntil, value }
  })

const setDemand = (view: FleetView, id: ModelId, demand: Demand.Demand): FleetView => ({
  ...view,
  demand: HashMap.set(view.demand, id, demand)
})

/** Somebody asks for the model. */
export const asked = (view: FleetView, id: ModelId, now: number): FleetView =>
  setDemand(view, id, Demand.arrived(demandFor(view, id), now))

/** A load of the model took so long. */
export const loadTook = (view: FleetView, id: ModelId, millis: number): FleetView =>
  setDemand(view, id, Demand.loaded(demandFor(view, id), millis))

export const recordFailure = (view: FleetView, id: ModelId, on: DeviceId, failure: LoadFailure): FleetView => ({
  ...view,
  moved: HashSet.add(view.moved, id),
  failures: HashMap.set(view.failures, id, new Map(failuresOf(view, id)).set(on, failure))
})

export const clearFailures = (view: FleetView, id: ModelId): FleetView => ({
  ...view,
  moved: HashSet.add(view.moved, id),
  failures: HashMap.remove(view.failures, id)
})

export const moveCursor = (view: FleetView, id: ModelId, chosen: string): FleetView => ({
  ...view,
  cursors: HashMap.set(view.cursors, id, chosen)
})
