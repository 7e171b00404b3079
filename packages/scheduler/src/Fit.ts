/** The hard filters: whether a model can be loaded on a device now, with every reason why not. */
import type { DeviceKind } from "@helixflow/schema/Device"
import { Bytes, type ReplicaId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import type { Reason } from "@helixflow/schema/Scheduling"
import * as Asked from "./Asked.ts"
import * as FleetView from "./FleetView.ts"

export interface Fit {
  /** All that keeps the model off the device; empty when it fits as it is. */
  readonly reasons: ReadonlyArray<Reason>
  /** The device is one the model asks for and large enough: with nothing else on it, it would fit. */
  readonly possible: boolean
  /** Bytes to be freed first, when memory and neighbours are all that is in the way; 0 when there is enough. */
  readonly missing: number | null
  /** Replicas that would have to leave, however much memory there is. */
  readonly conflicts: ReadonlyArray<ReplicaId>
  /** When a failed load may be tried again here; 0 when none failed. */
  readonly retryAt: number
}

/** Reasons carry what a view believes, which can be below zero when a device has shrunk under its claims. */
const bytes = (value: number): Bytes => Bytes.make(Math.max(0, value), { disableValidation: true })

/** Kinds of devices by how fast they compute: a model goes to the first on which it can be loaded, unless it asks for one. */
export const kinds: ReadonlyArray<DeviceKind> = ["cuda", "webgpu", "cpu"]

/** What a model asks of its device, in words. */
const asks = ({ placing }: ModelSpec): string =>
  [
    ...placing.devices,
    ...(placing.kind === null ? [] : [placing.kind]),
    ...(placing.name === null ? [] : [`a device named ${placing.name}`])
  ].join(", ")

/** The replicas on the device that the model may not be beside, by its own word or by theirs. */
export const conflicts = (
  view: FleetView.FleetView,
  spec: ModelSpec,
  device: FleetView.DeviceEntry
): ReadonlyArray<ReplicaId> => {
  if (!view.apart && spec.placing.notBeside.length === 0) return []
  return FleetView.replicasOn(view, device.status.device.id).filter((id) => {
    const model = FleetView.replica(view, id)?.status.model
    if (model === undefined || model === spec.id) return false
    const theirs = FleetView.model(view, model)?.placing.notBeside
    return spec.placing.notBeside.includes(model) || theirs?.includes(spec.id) === true
  })
}

/** A replica of the model on the device, where it may not have two. */
export const spreadOver = (
  view: FleetView.FleetView,
  spec: ModelSpec,
  device: FleetView.DeviceEntry
): ReplicaId | undefined =>
  spec.placing.spread
    ? FleetView.replicasOn(view, device.status.device.id).find((id) => {
        const status = FleetView.replica(view, id)?.status
        // one that failed and was not brought back leaves with the load
        return status?.model === spec.id && status.state !== "failed"
      })
    : undefined

/** Bytes that the device has not free of what a replica claims there, whatever else is in the way. */
export const shortOf = (spec: ModelSpec, { free, status }: FleetView.DeviceEntry): Bytes =>
  bytes(spec.claimOn(status.device.kind) - free)

export const fit = (view: FleetView.FleetView, spec: ModelSpec, device: FleetView.DeviceEntry, now: number): Fit => {
  const { id, kind, total } = device.status.device
  const needed = spec.claimOn(kind)
  const reasons: Array<Reason> = []
  const asked = Asked.suits(spec.placing, device.status.device) && Asked.isPinnedTo(spec.placing, device.status.device)
  if (!asked) reasons.push({ _tag: "NotAskedFor", asks: asks(spec) })
  const large = needed <= total
  if (!large) reasons.push({ _tag: "LargerThanDevice", needed, total })
  const possible = asked && large
  const short = shortOf(spec, device)
  if (possible && short > 0) reasons.push({ _tag: "InsufficientMemory", needed, free: bytes(device.free) })
  const loading = FleetView.loadingOn(view, id)
  if (loading !== undefined) reasons.push({ _tag: "DeviceLoading", device: id })
  const failure = FleetView.failuresOf(view, spec.id).get(id)
  const failed = failure !== undefined && failure.until > now
  if (failed) reasons.push({ _tag: "ReplicaFailed", replica: failure.replica, failure: failure.error.reason })
  const another = spreadOver(view, spec, device)
  if (another !== undefined) reasons.push({ _tag: "Spread", replica: another })
  const beside = conflicts(view, spec, device)
  for (const replica of beside) reasons.push({ _tag: "NotBeside", replica })
  return {
    reasons,
    possible,
    missing: possible && loading === undefined && !failed && another === undefined ? short : null,
    conflicts: beside,
    retryAt: failed ? failure.until : 0
  }
}

/** Whether a reason can go away without an operator. */
export const passes = (reason: Reason): boolean => {
  switch (reason._tag) {
    case "LargerThanDevice":
    case "ReplicaLimit":
    case "NotAskedFor":
      return false
    case "InsufficientMemory":
    case "NoFreeSlot":
    case "ReplicaLoading":
    case "ReplicaDraining":
    case "ReplicaFailed":
    case "DeviceLoading":
    case "Excluded":
    case "NotBeside":
    case "Spread":
    case "TooFewDevices":
      return true
  }
}
