/**
 * What the scheduler believes of the fleet: a cache of what GpuActors and ModelActors said, corrected by what the scheduler has
 * done since and they have not told yet (kubernetes calls it "assume": `pkg/scheduler/backend/cache`). Decisions that follow each
 * other faster than news travel therefore do not stampede to the same place.
 *
 * Invariants:
 * - a device's status is never replaced by one of a lower version, a replica's never by one that began earlier;
 * - a device's `free` = what it reported (below zero if strangers took what is claimed) - claims assumed since + claims known to be released since;
 * - `replicasOf` and `replicasOn` list exactly the replicas of `replicas`, one that is split on each of its devices;
 * - `offers` is what they have to offer with the slots and the policies that `models` says.
 *
 * A persistent value, like the ledger: `FleetChange.ts` makes the next one of it.
 */
import type { DeviceKind, DeviceStatus } from "@helixflow/schema/Device"
import type { LoadFailed } from "@helixflow/schema/Errors"
import type { Bytes, DeviceId, ModelId, ReplicaId, ReservationId } from "@helixflow/schema/Ids"
import type { ModelSpec, ReplicaState, ReplicaStatus } from "@helixflow/schema/Model"
import { HashMap, HashSet, Option } from "effect"
import * as Demand from "./Demand.ts"
import * as DeviceIndex from "./DeviceIndex.ts"
import * as Keeping from "./Keeping.ts"
import { charge } from "./Ledger.ts"
import * as Offers from "./Offers.ts"

export interface DeviceEntry {
  readonly status: DeviceStatus
  /** Best estimate of the bytes free now. */
  readonly free: number
  /** Free bytes by the device's own word: its status, or the figure of an answer since. */
  readonly reported: number
  /** Bytes of claims made by the scheduler that the status does not list yet. */
  readonly assumed: ReadonlyMap<ReservationId, number>
  /** Claims released by the scheduler that the status still lists. */
  readonly released: ReadonlySet<ReservationId>
}

/**
 * Whose word counts for a replica's state: `starting` and `stopping` are the scheduler's own doing, during which news is noted
 * but does not decide; `running` is the replica's.
 */
export type Life = "starting" | "running" | "stopping"

export interface ReplicaEntry {
  readonly status: ReplicaStatus
  readonly life: Life
  /** Bytes it claims of each of its devices; null for a replica that this scheduler did not load. */
  readonly bytes: number | null
  /** Slots held by placements. */
  readonly taken: number
  /** When a slot was last given or freed. */
  readonly lastUsed: number
  /**
   * What is lost with it, for each byte, if it leaves (`Demand.valueOf`), as it was when a slot was last given or freed: so that an
   * arrival changes nothing of the other replicas of its model, which may be many.
   */
  readonly value: number
  /** When this scheduler's load of it ended; null if it did not load it. */
  readonly loadedAt: number | null
  /** It was loaded ahead of requests, and none has come yet. */
  readonly ahead: boolean
  /** Passed over until then: its device refused a slot that seemed free. */
  readonly heldUntil: number
  /** Stopped then, unless it has been used again; `Infinity`: never for that. */
  readonly keepUntil: number
}

/** A load that failed on a device: not tried there again before `until`. */
export interface LoadFailure {
  readonly replica: ReplicaId
  readonly error: LoadFailed
  readonly count: number
  readonly until: number
}

export interface Raised {
  readonly bytes: number
  /** Of the devices that it claims so much of. */
  readonly kind: DeviceKind
  readonly configured: ModelSpec
}

export interface FleetView {
  readonly devices: HashMap.HashMap<DeviceId, DeviceEntry>
  readonly replicas: HashMap.HashMap<ReplicaId, ReplicaEntry>
  readonly models: HashMap.HashMap<ModelId, ModelSpec>
  readonly replicasOf: HashMap.HashMap<ModelId, ReadonlyArray<ReplicaId>>
  readonly replicasOn: HashMap.HashMap<DeviceId, ReadonlyArray<ReplicaId>>
  /** What the replicas of each model have to offer. */
  readonly offers: HashMap.HashMap<ModelId, Offers.Offers>
  readonly failures: HashMap.HashMap<ModelId, ReadonlyMap<DeviceId, LoadFailure>>
  readonly demand: HashMap.HashMap<ModelId, Demand.Demand>
  /** The move under way that makes room for a model: from one replica to another of the same model. */
  readonly moves: HashMap.HashMap<ModelId, { readonly from: ReplicaId; readonly to: ReplicaId }>
  /** The models of which a load had too little memory: what they claim for the next, and how they are configured. */
  readonly raised: HashMap.HashMap<ModelId, Raised>
  /** What the round robin of a model chose last. */
  readonly cursors: HashMap.HashMap<ModelId, string>
  /** When a replica was forgotten: news from before must not bring it back. */
  readonly tombstones: HashMap.HashMap<ReplicaId, number>
  /** Replicas that failed by their own word. */
  readonly failed: HashSet.HashSet<ReplicaId>
  /** Replicas that have loaded another revision of their model than the one that is configured. */
  readonly outdated: HashSet.HashSet<ReplicaId>
  /** Models of which replicas are kept loaded. */
  readonly kept: ReadonlyArray<ModelSpec>
  /** Whether some model may not be beside another: most fleets have none, and need not look at who is where for it. */
  readonly apart: boolean
  /** Models with replicas or failures that have changed since `settled`: who waits for others need not be decided for anew. */
  readonly moved: HashSet.HashSet<ModelId>
  /** Replicas by the time that they are kept until, if there is one. */
  readonly keeping: Keeping.Keeping
  readonly index: IndexCell
}

/**
 * The devices' index, brought up to date when it is asked for (`FleetIndex.ts`): most changes are of slots, and decisions about slots
 * need no index. `current` is computed from the one view that has the cell, so the view is a value all the same.
 */
interface IndexCell {
  readonly base: DeviceIndex.DeviceIndex
  /** Devices that have changed since `base`. */
  readonly stale: HashSet.HashSet<DeviceId>
  current: DeviceIndex.DeviceIndex | null
}

const none: ReadonlyArray<ReplicaId> = []
const noFailures: ReadonlyMap<DeviceId, LoadFailure> = new Map()

export const empty: FleetView = {
  devices: HashMap.empty(),
  replicas: HashMap.empty(),
  models: HashMap.empty(),
  replicasOf: HashMap.empty(),
  replicasOn: HashMap.empty(),
  offers: HashMap.empty(),
  failures: HashMap.empty(),
  raised: HashMap.empty(),
  demand: HashMap.empty(),
  moves: HashMap.empty(),
  cursors: HashMap.empty(),
  tombstones: HashMap.empty(),
  failed: HashSet.empty(),
  outdated: HashSet.empty(),
  kept: [],
  apart: false,
  moved: HashSet.empty(),
  keeping: Keeping.none,
  index: { base: DeviceIndex.empty(), stale: HashSet.empty(), current: null }
}

const get = <K, V>(map: HashMap.HashMap<K, V>, key: K): V | undefined => Option.getOrUndefined(HashMap.get(map, key))

export const device = (view: FleetView, id: DeviceId): DeviceEntry | undefined => get(view.devices, id)
export const replica = (view: FleetView, id: ReplicaId): ReplicaEntry | undefined => get(view.replicas, id)
export const model = (view: FleetView, id: ModelId): ModelSpec | undefined => get(view.models, id)

export const replicasOf = (view: FleetView, id: ModelId): ReadonlyArray<ReplicaId> => get(view.replicasOf, id) ?? none
export const replicasOn = (view: FleetView, id: DeviceId): ReadonlyArray<ReplicaId> => get(view.replicasOn, id) ?? none
export const offersOf = (view: FleetView, id: ModelId): Offers.Offers => get(view.offers, id) ?? Offers.none
export const failuresOf = (view: FleetView, id: ModelId): ReadonlyMap<DeviceId, LoadFailure> =>
  get(view.failures, id) ?? noFailures
/** Whether a move is under way that makes room for the model: until the one that moves is gone, or its successor did not come. */
export const isMovedFor = (view: FleetView, id: ModelId): boolean => {
  const move = get(view.moves, id)
  return move !== undefined && replica(view, move.from) !== undefined && replica(view, move.to) !== undefined
}
export const demandFor = (view: FleetView, id: ModelId): Demand.Demand => get(view.demand, id) ?? Demand.none
/** When the replica was forgotten last. */
export const forgottenAt = (view: FleetView, id: ReplicaId): number | undefined => get(view.tombstones, id)
export const cursor = (view: FleetView, id: ModelId): string => get(view.cursors, id) ?? ""

export const stateOf = (entry: ReplicaEntry): ReplicaState => {
  if (entry.life === "starting") return "loading"
  if (entry.life === "stopping") return "draining"
  return entry.status.state
}

/** Whether the model's files are others now than those that the replica has loaded. A model that is gone has no others. */
export const isOutdated = (view: FleetView, { status }: ReplicaEntry): boolean => {
  const spec = model(view, status.model)
  return spec !== undefined && spec.revision !== status.revision
}

/** Sequences the replica may have at once. */
export const slotsOf = (entry: ReplicaEntry, spec: ModelSpec): number => Math.min(entry.status.slots, spec.slots)

/** The replica as its model's offers know it. */
export const memberOf = (view: FleetView, entry: ReplicaEntry): Offers.Member => {
  const spec = model(view, entry.status.model)
  return spec === undefined
    ? { entry, slots: entry.status.slots, policy: "best-fit" }
    : { entry, slots: slotsOf(entry, spec), policy: spec.policy }
}

/**
 * Bytes that come back to a device of the replica when it is gone: as the device lists it, which knows what its process really takes, as
 * the scheduler claimed them, or as its model would claim.
 */
export const bytesOn = (view: FleetView, entry: Pick<ReplicaEntry, "status" | "bytes">, id: DeviceId): number => {
  const claimed = reservationOn(entry, id)
  const on = device(view, id)?.status
  if (claimed === undefined || on === undefined) return 0
  const listed = on.claims.find(({ reservation }) => reservation === claimed)
  if (listed !== undefined) return charge(listed)
  return entry.bytes ?? model(view, entry.status.model)?.claimOn(on.device.kind) ?? 0
}

/** Bytes that a request claims of a replica on the device, where both are known. */
export const slotBytesOn = (view: FleetView, of: ModelId, on: DeviceId): Bytes | undefined => {
  const kind = device(view, on)?.status.device.kind
  return kind && model(view, of)?.slotBytesOn(kind)
}

/** Bytes that come back to all of its devices. */
export const bytesOf = (view: FleetView, entry: Pick<ReplicaEntry, "status" | "bytes">): number =>
  devicesOf(entry).reduce((sum, id) => sum + bytesOn(view, entry, id), 0)

/** The devices that the replica has a part on. */
export const devicesOf = ({ status: { device, parts } }: Pick<ReplicaEntry, "status">): ReadonlyArray<DeviceId> =>
  parts.length === 0 ? [device] : [device, ...parts.map(({ device }) => device)]

const reservationOn = ({ status }: Pick<ReplicaEntry, "status">, id: DeviceId): ReservationId | undefined =>
  status.device === id ? status.reservation : status.parts.find(({ device }) => device === id)?.reservation

/** Milliseconds that it takes to have the replica's model again once it has left. */
export const reloadMillisOf = (view: FleetView, entry: ReplicaEntry): number =>
  Demand.reloadMillis(demandFor(view, entry.status.model), bytesOf(view, entry))

/** The replica that loads on the device now: there is at most one that the scheduler started. */
export const loadingOn = (view: FleetView, id: DeviceId): ReplicaId | undefined =>
  replicasOn(view, id).find((id) => {
    const entry = replica(view, id)
    return entry !== undefined && stateOf(entry) === "loading"
  })

/** Whether the replica is beyond those of its model that are kept loaded. One that failed serves nobody and is not kept. */
export const mayLeave = (view: FleetView, entry: ReplicaEntry): boolean => {
  if (view.kept.length === 0) return true
  const kept = model(view, entry.status.model)?.placing.minReplicas ?? 0
  return kept === 0 || entry.status.state === "failed" || replicasOf(view, entry.status.model).length > kept
}

/** What the next load of the model claims at least, if one before had too little. */
export const raisedClaim = (view: FleetView, id: ModelId): Raised | undefined => get(view.raised, id)

export const isRaised = (view: FleetView, id: ModelId): boolean => HashMap.has(view.raised, id)
