/** Decisions of the scheduler as data, so that they can be logged, tested, replayed and explained. */
import { Schema } from "effect"
import { Caller, Served } from "./Caller.ts"
import { DeviceKind, DeviceStatus } from "./Device.ts"
import { Bytes, DeviceId, Millis, ModelId, ReplicaId, RequestId, ReservationId } from "./Ids.ts"
import { ModelSpec, PolicyName, ReplicaStatus } from "./Model.ts"

/** A place for one sequence: a slot of a replica's KV cache, held by `reservation` until `Complete`. */
export class Placement extends Schema.Class<Placement>("Placement")({
  request: RequestId,
  model: ModelId,
  replica: ReplicaId,
  device: DeviceId,
  reservation: ReservationId,
  /** Of the model that the replica has loaded. */
  revision: Schema.optionalWith(Schema.String, { default: () => "" }),
  /** The replica had to be loaded for it. */
  cold: Schema.Boolean,
  queuedMillis: Schema.NonNegative
}) {}

/** Why a device does not take a request now. All that apply are listed, not the first. */
export const Reason = Schema.Union(
  Schema.TaggedStruct("InsufficientMemory", { needed: Bytes, free: Bytes }),
  Schema.TaggedStruct("LargerThanDevice", { needed: Bytes, total: Bytes }),
  Schema.TaggedStruct("NoFreeSlot", { replica: ReplicaId, slots: Schema.Int }),
  Schema.TaggedStruct("ReplicaLoading", { replica: ReplicaId }),
  Schema.TaggedStruct("ReplicaDraining", { replica: ReplicaId }),
  Schema.TaggedStruct("ReplicaFailed", { replica: ReplicaId, failure: Schema.String }),
  Schema.TaggedStruct("ReplicaLimit", { limit: Schema.Int }),
  Schema.TaggedStruct("DeviceLoading", { device: DeviceId }),
  Schema.TaggedStruct("Excluded", { replica: ReplicaId }),
  /** The model asks for another kind of device, another name, or other devices: `asks` says which. */
  Schema.TaggedStruct("NotAskedFor", { asks: Schema.String }),
  /** The two models may not share a device. */
  Schema.TaggedStruct("NotBeside", { replica: ReplicaId }),
  /** The model's replicas are to be on different devices. */
  Schema.TaggedStruct("Spread", { replica: ReplicaId }),
  /** The model is split over more devices of one node and name than can be had at once. */
  Schema.TaggedStruct("TooFewDevices", { needed: Schema.Int, found: Schema.Int })
)
export type Reason = typeof Reason.Type

/** What would be done on a device: use a replica that is there, load one, or neither and why. */
export class DeviceVerdict extends Schema.Class<DeviceVerdict>("DeviceVerdict")({
  device: DeviceId,
  action: Schema.Literal("use", "load", "none"),
  replica: Schema.NullOr(ReplicaId),
  /** Lower is better; comparable only within a policy. */
  score: Schema.NullOr(Schema.Number),
  reasons: Schema.Array(Reason),
  /** Bytes that are not free of what a replica claims, whatever else is in the way; 0: it fits, or is loaded there. */
  missing: Bytes,
  /** Who would have to leave the device first, those with which least is lost before the others; with requests they finish them. */
  evict: Schema.Array(ReplicaId).pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault((): ReadonlyArray<ReplicaId> => [])
  ),
  /** Whether the reasons can go away without an operator. */
  waitingHelps: Schema.Boolean
}) {}

/** The answer to "where would a request for this model go now, and why not elsewhere". */
export class Explanation extends Schema.Class<Explanation>("Explanation")({
  model: ModelId,
  policy: PolicyName,
  decision: Schema.Literal("placed", "queued", "rejected"),
  chosen: Schema.NullOr(DeviceId),
  devices: Schema.Array(DeviceVerdict),
  waiting: Schema.NonNegativeInt,
  summary: Schema.String
}) {}

/** The scheduler's cache of the fleet, rebuilt from the GpuActors and ModelActors. */
export class FleetSnapshot extends Schema.Class<FleetSnapshot>("FleetSnapshot")({
  devices: Schema.Array(DeviceStatus),
  replicas: Schema.Array(ReplicaStatus),
  models: Schema.Array(ModelSpec),
  waiting: Schema.Array(Schema.Struct({ request: RequestId, model: ModelId, since: Millis, deadline: Millis }))
}) {}

/**
 * Why a replica is loaded: a request waits for it, so many of its model are kept, its model will probably be asked for soon, or it takes
 * the place of one whose device is needed for another model.
 */
export const LoadCause = Schema.Literal("request", "keep", "preload", "move")
export type LoadCause = typeof LoadCause.Type

/** What happened, in order; enough to replay the decisions. */
export const SchedulerEvent = Schema.Union(
  Schema.TaggedStruct("Arrived", {
    at: Millis,
    request: RequestId,
    model: ModelId,
    caller: Caller,
    not: Schema.Array(ReplicaId),
    timeoutMillis: Schema.NonNegative,
    /** What it had in common with others, and the revision it could go on with, where it said. */
    affinity: Schema.optional(Schema.String),
    revision: Schema.optional(Schema.String),
    /** The replica that it would rather have than another. */
    prefer: Schema.optional(ReplicaId),
    /** Whether it may be preempted, and if it was, what it was called then. */
    preemptible: Schema.optional(Schema.Boolean),
    resumes: Schema.optional(RequestId)
  }),
  Schema.TaggedStruct("Placed", { at: Millis, placement: Placement }),
  Schema.TaggedStruct("Queued", { at: Millis, request: RequestId, model: ModelId, position: Schema.Int }),
  Schema.TaggedStruct("Rejected", { at: Millis, request: RequestId, model: ModelId, reason: Schema.String }),
  /** Its client left while it waited. */
  Schema.TaggedStruct("Withdrawn", { at: Millis, request: RequestId }),
  /** It is to give its place up to `by`, whose tenant has less of the model. It may have ended, or have nothing to go on with yet. */
  Schema.TaggedStruct("Preempted", { at: Millis, request: RequestId, replica: ReplicaId, by: RequestId }),
  Schema.TaggedStruct("Completed", { at: Millis, reservation: ReservationId, served: Schema.optional(Served) }),
  /** `evict`: who leaves first, to make room. */
  Schema.TaggedStruct("LoadStarted", {
    at: Millis,
    replica: ReplicaId,
    reservation: ReservationId,
    /** The further devices of a model that is split. */
    parts: Schema.optional(Schema.Array(DeviceId)),
    evict: Schema.Array(ReplicaId),
    cause: Schema.optionalWith(LoadCause, { default: () => "request" as const }),
    /** The one that hands its requests over and leaves once this is ready. */
    replaces: Schema.optionalWith(Schema.NullOr(ReplicaId), { default: () => null })
  }),
  Schema.TaggedStruct("Evicted", { at: Millis, replica: ReplicaId }),
  Schema.TaggedStruct("LoadEnded", { at: Millis, replica: ReplicaId, failure: Schema.NullOr(Schema.String) }),
  /** Its worker died, or it is gone (`absent`) and nobody told it to; what it computed is lost. */
  Schema.TaggedStruct("WorkerLost", {
    at: Millis,
    replica: ReplicaId,
    state: Schema.Literal("failed", "absent"),
    reason: Schema.NullOr(Schema.String)
  }),
  /** Its supervisor brought it back: another process serves it. */
  Schema.TaggedStruct("WorkerBack", { at: Millis, replica: ReplicaId }),
  /** An operator wants its replicas gone, once they have nothing to do and if that is within the time. */
  Schema.TaggedStruct("EvictAsked", { at: Millis, model: ModelId, timeoutMillis: Schema.NonNegative }),
  /** What its replicas claim besides their KV cache on devices of a kind, from now on. Without a kind, as logs were: on any. */
  Schema.TaggedStruct("Learned", { at: Millis, model: ModelId, kind: Schema.optional(DeviceKind), weights: Bytes }),
  /** Whoever listens was too slow for so many events, which would stand here. */
  Schema.TaggedStruct("Lost", { at: Millis, count: Schema.Int })
)
export type SchedulerEvent = typeof SchedulerEvent.Type
