/** Models as the scheduler and the clients know them. Where the files are is the model store's business. */
import { Schema } from "effect"
import { DeviceKind } from "./Device.ts"
import { SamplingDefaults } from "./Generation.ts"
import { Bytes, DeviceId, Millis, ModelId, ReplicaId, ReservationId } from "./Ids.ts"
import { KeepAlive } from "./KeepAlive.ts"

export const ModelTask = Schema.Literal("text-generation", "embedding", "classification")
export type ModelTask = typeof ModelTask.Type

export const PolicyName = Schema.Literal("best-fit", "first-fit", "round-robin", "least-loaded", "affinity")
export type PolicyName = typeof PolicyName.Type

/**
 * What computes a text model: ONNX Runtime's C API, its binding for Node.js, or the faster of them that works where the model is
 * loaded.
 */
export const EngineChoice = Schema.Literal("auto", "ffi", "binding")
export type EngineChoice = typeof EngineChoice.Type

/** What a model asks of where its replicas are. Unless it asks, anything suits. */
export class Placing extends Schema.Class<Placing>("Placing")({
  /** Kept loaded whether or not anybody asks, and not evicted. */
  minReplicas: Schema.NonNegativeInt,
  /** Only devices of this kind. */
  kind: Schema.NullOr(DeviceKind),
  /** Only devices in whose name this is found, whatever the case. */
  name: Schema.NullOr(Schema.NonEmptyString),
  /** Only these devices, as `cuda:1` or with their node as `local/cuda:1`; empty: any. */
  devices: Schema.Array(Schema.NonEmptyString),
  /** No two of its replicas on one device. */
  spread: Schema.Boolean,
  /** Models that no replica of it shares a device with, whichever of the two says so. */
  notBeside: Schema.Array(ModelId),
  /** How many devices of one node and name each replica is spread over, an equal part on each. Logs of before there were such say nothing. */
  split: Schema.optionalWith(Schema.Int.pipe(Schema.positive()), { default: () => 1 }),
  /** What a part takes besides its share of the weights and of the KV cache, bytes, where there is more than one. */
  partOverhead: Schema.optionalWith(Bytes, { default: () => Bytes.make(0) })
}) {
  static readonly anywhere = new Placing({
    minReplicas: 0,
    kind: null,
    name: null,
    devices: [],
    spread: false,
    notBeside: []
  })
}

/**
 * What a replica takes of a device's memory besides what its settings say, which depends on the device's kind: on each another file may be
 * loaded, by another runtime.
 */
export const Footprint = Schema.Struct({
  /** What a loaded replica takes before any request: weights, runtime and activations; of all its devices together where it is split. */
  weights: Bytes,
  /** `weights` is an operator's word, which nothing that is measured replaces. */
  declared: Schema.Boolean,
  /** KV cache bytes of one token: 2 * layers * KV heads * head dimension * bytes of an element; 0 for other tasks than text. */
  kvPerToken: Bytes
})
export type Footprint = typeof Footprint.Type

const Footprints = Schema.partialWith(Schema.Record({ key: DeviceKind, value: Footprint }), { exact: true })

/** Sums and products of bytes are bytes, and they are asked for in every decision. */
const computed = { disableValidation: true } as const

export class ModelSpec extends Schema.Class<ModelSpec>("ModelSpec")({
  id: ModelId,
  aliases: Schema.Array(ModelId),
  /** Who answers in its place, in this order, when it can't be had. */
  fallback: Schema.optionalWith(Schema.Array(ModelId), { default: (): ReadonlyArray<ModelId> => [] }),
  task: ModelTask,
  /** Most tokens of a sequence: prompt and completion together. */
  context: Schema.Int.pipe(Schema.positive()),
  /** Sequences a replica computes at once, hence KV slots. */
  slots: Schema.Int.pipe(Schema.positive()),
  /** Its footprint on kinds of devices that `onKinds` has none for: the most that is known of any. */
  ...Footprint.fields,
  declared: Footprint.fields.declared.pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault(() => false)
  ),
  /** Its footprint on devices of these kinds. Logs of before there were such say nothing. */
  onKinds: Schema.optionalWith(Footprints, { default: (): typeof Footprints.Type => ({}) }),
  /** What a replica may keep of computed prefixes besides its slots. */
  prefixCache: Bytes.pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault(() => Bytes.make(0))
  ),
  /** Most replicas the scheduler may start. */
  replicas: Schema.Int.pipe(Schema.positive()),
  policy: PolicyName,
  placing: Placing.pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault(() => Placing.anywhere)
  ),
  /** What the model samples with where a client does not say. */
  sampling: SamplingDefaults,
  /** What a classifier's scores stand for, in their order; one: it scores pairs of texts. None for other tasks. */
  labels: Schema.Array(Schema.String).pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault((): ReadonlyArray<string> => [])
  ),
  /** How long a replica stays loaded once nobody uses it. */
  keepAlive: Schema.optionalWith(KeepAlive, { default: () => "forever" as const }),
  /** Seconds since the epoch, for `/v1/models`. */
  created: Schema.Int,
  /** Names the files that it is loaded from: another when they have changed. Empty: nobody has looked at them. */
  revision: Schema.optionalWith(Schema.String, { default: () => "" }),
  /** Whether a program of its own serves the model over HTTP, and no engine of ours. */
  external: Schema.Boolean.pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault(() => false)
  )
}) {
  /** What a replica takes on devices of the kind. */
  footprintOn(kind: DeviceKind): Footprint {
    return this.onKinds[kind] ?? this
  }
  /** Bytes of one request's KV slot on each of a replica's devices of the kind: the capacity it can reach, not the length it has. */
  slotBytesOn(kind: DeviceKind): Bytes {
    return Bytes.make(Math.ceil((this.footprintOn(kind).kvPerToken * this.context) / this.placing.split), computed)
  }
  /** Bytes of the whole KV cache on each of a replica's devices of the kind. */
  kvBytesOn(kind: DeviceKind): Bytes {
    return Bytes.make(this.slotBytesOn(kind) * this.slots, computed)
  }
  /** What a replica claims from its device of the kind, or from each of them where it is split. */
  claimOn(kind: DeviceKind): Bytes {
    const { partOverhead, split } = this.placing
    const share = Math.ceil((this.footprintOn(kind).weights + this.prefixCache) / split)
    return Bytes.make(share + this.kvBytesOn(kind) + (split > 1 ? partOverhead : 0), computed)
  }
  /** What a replica claims from all its devices of the kind together. */
  wholeClaimOn(kind: DeviceKind): Bytes {
    return Bytes.make(this.claimOn(kind) * this.placing.split, computed)
  }
  /** The model that takes so many bytes besides its KV cache on devices of the kind, and elsewhere what it does. */
  withWeightsOn(kind: DeviceKind, weights: Bytes): ModelSpec {
    const { declared, kvPerToken } = this.footprintOn(kind)
    const onKinds = { ...this.onKinds, [kind]: { weights, declared, kvPerToken } }
    return new ModelSpec({ ...this, onKinds }, computed)
  }
}

/** What a replica has claimed of one of its devices. */
export const ReplicaPart = Schema.Struct({ device: DeviceId, reservation: ReservationId })
export type ReplicaPart = typeof ReplicaPart.Type

/** All the parts of a replica: that which it is named after, and those on further devices. */
export const partsOf = ({
  device,
  parts,
  reservation
}: ReplicaPart & { readonly parts: ReadonlyArray<ReplicaPart> }): ReadonlyArray<ReplicaPart> => [
  { device, reservation },
  ...parts
]

/** The life of a replica. One tag, never parallel flags. */
export const ReplicaState = Schema.Literal("absent", "loading", "ready", "draining", "failed")
export type ReplicaState = typeof ReplicaState.Type

export class ReplicaStatus extends Schema.Class<ReplicaStatus>("ReplicaStatus")({
  replica: ReplicaId,
  device: DeviceId,
  model: ModelId,
  reservation: ReservationId,
  /** Its parts on further devices, where the model is split. */
  parts: Schema.Array(ReplicaPart).pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault((): ReadonlyArray<ReplicaPart> => [])
  ),
  state: ReplicaState,
  /** Requests being computed. */
  active: Schema.NonNegativeInt,
  slots: Schema.NonNegativeInt,
  /** The worker process, while there is one. */
  pid: Schema.NullOr(Schema.Int),
  /** Resident set size of the worker process as it last told. */
  rss: Schema.NullOr(Bytes),
  since: Millis,
  /** Of the model that it was started with. */
  revision: Schema.optionalWith(Schema.String, { default: () => "" }),
  /** Why it failed last, if it did. */
  lastFailure: Schema.NullOr(Schema.String),
  /** Where the API of a program of its own begins, while it is ready. */
  url: Schema.NullOr(Schema.String).pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault(() => null)
  )
}) {}
