/** A fleet as a test puts it together, and what is decided of a request in it. */
import { type Device, DeviceStatus } from "@helixflow/schema/Device"
import { LoadFailed } from "@helixflow/schema/Errors"
import { Bytes, type DeviceId, Millis, makeReplicaId, type ReplicaId } from "@helixflow/schema/Ids"
import type { ModelSpec, ReplicaState } from "@helixflow/schema/Model"
import * as Decide from "../src/Decide.ts"
import * as FleetChange from "../src/FleetChange.ts"
import * as FleetView from "../src/FleetView.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import { deviceId, model, replicaStatus } from "./fixtures.ts"

export const now = 1_000_000

export interface Standing {
  readonly of: ModelSpec
  readonly on: number
  readonly state?: ReplicaState
  readonly taken?: number
  readonly lastUsed?: number
  readonly since?: number
  readonly revision?: string
}

export const id = ({ of, on }: Standing): ReplicaId => makeReplicaId(deviceId(on), of.id, 0)

/** A view of devices and the replicas that stand on them, whose claims the devices list. */
export const view = (
  devices: ReadonlyArray<Device>,
  models: ReadonlyArray<ModelSpec>,
  replicas: ReadonlyArray<Standing> = []
): FleetView.FleetView => {
  let current = FleetChange.withModels(FleetView.empty, models)
  for (const device of devices) {
    const free = Bytes.make(device.total)
    current = FleetChange.observeDevice(current, new DeviceStatus({ device, free, claims: [], version: 0 }))
  }
  for (const standing of replicas) {
    const { lastUsed = now, of, on, revision = of.revision, since = 0, state = "ready", taken = 0 } = standing
    const status = replicaStatus(of, deviceId(on), {
      state,
      revision,
      since: Millis.make(since),
      lastFailure: state === "failed" ? "killed" : null
    })
    current = FleetChange.assumeLoad(current, status, of.claimOn("cpu"), lastUsed)
    current = FleetChange.updateReplica(current, status.replica, () => ({ life: "running", taken }))
  }
  return current
}

export const decide = (
  fleet: FleetView.FleetView,
  spec: ModelSpec,
  query: Partial<Omit<Decide.Query, "spec">> = {}
): Decide.Decision =>
  Decide.decide(
    fleet,
    { spec, not: [], since: now, deadline: now + 10_000, wanted: () => false, ...query },
    now,
    defaults
  )

/** The view after a load of the model failed on the device. */
export const failedOn = (fleet: FleetView.FleetView, spec: ModelSpec, on: DeviceId, until: number) =>
  FleetChange.recordFailure(fleet, spec.id, on, {
    replica: makeReplicaId(on, spec.id, 0),
    error: new LoadFailed({ model: spec.id, reason: "no weights", file: null }),
    count: 1,
    until
  })

// each claims 100 bytes
export const a = model("a")
export const b = model("b")
export const c = model("c")
