import { describe, expect, it } from "@effect/vitest"
import { Claim, DeviceStatus } from "@helixflow/schema/Device"
import { Bytes, Millis, ModelId, makeReplicaId, ReservationId } from "@helixflow/schema/Ids"
import { type ReplicaState, ReplicaStatus } from "@helixflow/schema/Model"
import * as FleetChange from "../src/FleetChange.ts"
import * as FleetView from "../src/FleetView.ts"
import { device, deviceId } from "./fixtures.ts"

const gpu = device(0, 100)
const modelId = ModelId.make("m")
const replicaId = makeReplicaId(deviceId(0), modelId, 0)
const reservation = ReservationId.make("r")

const claim = new Claim({
  reservation,
  owner: replicaId,
  bytes: Bytes.make(60),
  shareable: Bytes.make(0),
  within: null,
  state: "resident",
  expiresAt: null
})
const told = (version: number, claims: ReadonlyArray<Claim>, free: number) =>
  new DeviceStatus({ device: gpu, free: Bytes.make(free), claims, version })
const replica = (state: ReplicaState, since = 0) =>
  new ReplicaStatus({
    replica: replicaId,
    device: deviceId(0),
    model: modelId,
    reservation,
    state,
    active: 0,
    slots: 2,
    pid: 1,
    rss: null,
    since: Millis.make(since),
    lastFailure: null
  })

const free = (view: FleetView.FleetView) => FleetView.device(view, deviceId(0))?.free
const empty = FleetChange.observeDevice(FleetView.empty, told(1, [], 100))

describe("what is free on a device", () => {
  it("is what the latest status says, whatever comes late", () => {
    const view = FleetChange.observeDevice(empty, told(3, [claim], 40))
    expect(free(FleetChange.observeDevice(view, told(2, [], 100)))).toBe(40)
    expect(FleetChange.observeDevice(view, told(3, [], 100))).toBe(view)
  })

  it("counts a load from its decision on, and once", () => {
    const assumed = FleetChange.assumeLoad(empty, replica("loading"), 60, 0)
    expect(free(assumed)).toBe(40)
    const unaware = FleetChange.observeDevice(assumed, told(2, [], 100))
    expect(free(unaware)).toBe(40)
    expect(free(FleetChange.observeDevice(unaware, told(3, [claim], 40)))).toBe(40)
  })

  it("has a replica's bytes back when it is forgotten, before and after the device says so", () => {
    const assumed = FleetChange.assumeLoad(empty, replica("loading"), 60, 0)
    expect(free(FleetChange.forgetReplica(assumed, replicaId, 1))).toBe(100)
    const listed = FleetChange.observeDevice(assumed, told(2, [claim], 40))
    const forgotten = FleetChange.forgetReplica(listed, replicaId, 1)
    expect(free(forgotten)).toBe(100)
    expect(free(FleetChange.observeDevice(forgotten, told(3, [claim], 40)))).toBe(100)
    expect(free(FleetChange.observeDevice(forgotten, told(4, [], 100)))).toBe(100)
  })

  it("takes the figure of an answer, and moves on from it", () => {
    const assumed = FleetChange.assumeLoad(empty, replica("loading"), 60, 0)
    const corrected = FleetChange.correctFree(assumed, deviceId(0), 25)
    expect(free(corrected)).toBe(25)
    expect(free(FleetChange.forgetReplica(corrected, replicaId, 1))).toBe(85)
    expect(free(FleetChange.observeDevice(corrected, told(2, [claim], 30)))).toBe(30)
  })
})

describe("a replica", () => {
  it("is what it said last, whatever comes late", () => {
    const ready = FleetChange.observeReplica(empty, replica("ready", 5), 5)
    const late = FleetChange.observeReplica(ready, replica("loading", 4), 6)
    expect(FleetView.replica(late, replicaId)?.status.state).toBe("ready")
  })

  it("that was forgotten does not come back by old news", () => {
    const ready = FleetChange.observeReplica(empty, replica("ready", 5), 5)
    const forgotten = FleetChange.forgetReplica(ready, replicaId, 10)
    expect(FleetView.replica(FleetChange.observeReplica(forgotten, replica("ready", 9), 11), replicaId)).toBeUndefined()
    expect(FleetView.replica(FleetChange.observeReplica(forgotten, replica("ready", 11), 11), replicaId)).toBeDefined()
    expect(FleetView.replicasOf(forgotten, modelId)).toEqual([])
    expect(FleetView.replicasOn(forgotten, deviceId(0))).toEqual([])
  })

  it("that the scheduler starts or stops is in the state that this gives it", () => {
    const starting = FleetChange.assumeLoad(empty, replica("ready"), 60, 0)
    const states = (["starting", "running", "stopping"] as const).map((life) => {
      const entry = FleetView.replica(
        FleetChange.updateReplica(starting, replicaId, () => ({ life })),
        replicaId
      )
      return entry && FleetView.stateOf(entry)
    })
    expect(states).toEqual(["loading", "ready", "draining"])
  })
})
