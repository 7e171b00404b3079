/** Devices and what is known of their memory. */
import { Schema } from "effect"
import { Bytes, DeviceId, Millis, ReservationId } from "./Ids.ts"

export const DeviceKind = Schema.Literal("cpu", "cuda", "webgpu")
export type DeviceKind = typeof DeviceKind.Type

/** Which device of its node: what an engine has to know of it. */
export const LocalDevice = Schema.Struct({ kind: DeviceKind, index: Schema.NonNegativeInt })
export type LocalDevice = typeof LocalDevice.Type

/** `local/cuda:1` -> the second CUDA device of its node. Throws for a kind that there is not: no device has it. */
export const localDevice = (id: DeviceId): LocalDevice => {
  const [kind, index] = id.slice(id.indexOf("/") + 1).split(":")
  return Schema.decodeUnknownSync(LocalDevice)({ kind, index: Number(index) })
}

/** A GPU, or a share of the machine's CPUs and memory that is treated as one. */
export class Device extends Schema.Class<Device>("Device")({
  id: DeviceId,
  kind: DeviceKind,
  name: Schema.String,
  /** Bytes that may be claimed of it. */
  total: Bytes,
  /** The name its driver knows it by whatever the order of devices, e.g. `GPU-…` or `MIG-…`; null for CPUs. */
  uuid: Schema.NullOr(Schema.String).pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault((): string | null => null)
  )
}) {}

/**
 * The life of a claim on memory:
 * `reserved` (promised, expires) -> `loading` (a worker is filling it) -> `resident` (in use) -> `draining` (finishing)
 * -> released (gone from the ledger).
 */
export const ClaimState = Schema.Literal("reserved", "loading", "resident", "draining")
export type ClaimState = typeof ClaimState.Type

/**
 * One line of a device's ledger. A claim without `within` takes from the device; a claim `within` another takes from the
 * KV cache that the other (a replica's) has already paid for, so that it never counts twice.
 */
export class Claim extends Schema.Class<Claim>("Claim")({
  reservation: ReservationId,
  owner: Schema.String,
  bytes: Bytes,
  /** The part of `bytes` that claims within this one may share: a replica's KV cache. */
  shareable: Bytes,
  /** What the process that fills the claim was last seen to take and would not give back; 0 as long as none was seen. */
  observed: Bytes.pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault(() => Bytes.make(0))
  ),
  within: Schema.NullOr(ReservationId),
  state: ClaimState,
  /** When the claim is dropped by itself; null means never. */
  expiresAt: Schema.NullOr(Millis)
}) {}

/** What a device says of itself, whoever uses it. Null: it does not say. */
export class DeviceReading extends Schema.Class<DeviceReading>("DeviceReading")({
  at: Millis,
  /** Bytes that no process has, ours or a stranger's. */
  free: Bytes,
  /** Share of the time that it computed lately, 0 to 1. */
  utilization: Schema.NullOr(Schema.Number),
  /** Degrees Celsius. */
  temperature: Schema.NullOr(Schema.Number),
  /** Watts. */
  power: Schema.NullOr(Schema.Number),
  /** Memory errors that could not be corrected, since its driver was loaded. */
  eccErrors: Schema.NullOr(Schema.NonNegativeInt)
}) {}

/** What a GpuActor says of its device: the truth that the scheduler's fleet view is a cache of. */
export class DeviceStatus extends Schema.Class<DeviceStatus>("DeviceStatus")({
  device: Device,
  /** Bytes that may be claimed: neither claimed, nor taken by strangers. */
  free: Bytes,
  /** Bytes that are missing for what is claimed, because strangers or the claims' own processes took more than there was. */
  deficit: Bytes.pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault(() => Bytes.make(0))
  ),
  claims: Schema.Array(Claim),
  /** Null: the device was not read yet. */
  reading: Schema.NullOr(DeviceReading).pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault((): DeviceReading | null => null)
  ),
  /** Grows with every change, so that an older status never overwrites a newer one. */
  version: Schema.NonNegativeInt
}) {}
