import { assert, describe, it } from "@effect/vitest"
import { Device } from "@helixflow/schema/Device"
import { GpuActor } from "@helixflow/schema/GpuActor"
import { Bytes, DeviceId, ReservationId } from "@helixflow/schema/Ids"
import { Effect, TestClock } from "effect"
import { type DeviceMeter, MeterFailed } from "../src/DeviceMeter.ts"
import * as Gpu from "../src/GpuActor.ts"
import * as InProcess from "../src/InProcess.ts"

const device = new Device({ id: DeviceId.make("n/cuda:0"), kind: "cuda", name: "a GPU", total: Bytes.make(100) })
const id = (name: string) => ReservationId.make(name)
const claim = (name: string, bytes: number) => ({
  reservation: id(name),
  owner: "test",
  bytes: Bytes.make(bytes),
  shareable: Bytes.make(0),
  within: null,
  ttlMillis: 60_000
})

/** A device of 100 bytes whose state the test sets. */
const gpuOf = Effect.fnUntraced(function* (device: Device) {
  const is: { free: number; processes: Map<number, number> | null; broken: boolean; promised: number } = {
    free: 100,
    processes: new Map(),
    broken: false,
    promised: 0
  }
  const meter: DeviceMeter = {
    read: () =>
      is.broken
        ? new MeterFailed({ reason: "the driver is gone" })
        : Effect.sync(() => ({
            figures: { free: is.free, utilization: 0.5, temperature: 50, power: 200, eccErrors: 1 },
            used: 100 - is.free,
            processes: is.processes
          })),
    promised: (bytes) => {
      is.promised = bytes
    }
  }
  const client = yield* InProcess.host(GpuActor, Gpu.make(device, { meter, period: "2 seconds" }), { name: "gpu" })
  const free = Effect.map(client.Status(), (status) => Number(status.free))
  return { is, client, free }
})
const gpu = gpuOf(device)
const cpu = gpuOf(new Device({ ...device, id: DeviceId.make("n/cpu:0"), kind: "cpu" }))

describe("a device that is read", () => {
  it.scoped("refuses memory that strangers have, with the figures", () =>
    Effect.gen(function* () {
      const { client, is } = yield* gpu
      is.free = 30
      const error = yield* Effect.flip(client.Reserve(claim("a", 31)))
      assert.strictEqual(error._tag, "OutOfMemory")
      if (error._tag === "OutOfMemory") assert.deepStrictEqual([error.needed, error.free], [31, 30])
    })
  )

  it.scoped("is read every period, and tells what it read", () =>
    Effect.gen(function* () {
      const { client, free, is } = yield* gpu
      is.free = 40
      assert.strictEqual(yield* free, 100)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* free, 40)
      const { reading } = yield* client.Status()
      assert.deepInclude(
        { ...reading, free: Number(reading?.free) },
        { free: 40, utilization: 0.5, temperature: 50, power: 200, eccErrors: 1 }
      )
    })
  )

  it.scoped("does not count the memory of its own claims twice as their processes fill it", () =>
    Effect.gen(function* () {
      const { client, free, is } = yield* gpu
      yield* client.Reserve(claim("a", 60))
      assert.strictEqual(is.promised, 60)
      is.free = 55
      is.processes?.set(7, 45)
      yield* client.Occupy({ reservation: id("a"), pid: 7 })
      assert.strictEqual(yield* free, 40)
      assert.strictEqual(is.promised, 15)
      // the process takes more than it claimed
      is.free = 30
      is.processes?.set(7, 70)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* free, 30)
    })
  )

  it.scoped("counts what a process has of this device alone, where it is spread over several", () =>
    Effect.gen(function* () {
      for (const [device, left] of [
        [gpu, 50],
        [cpu, 75]
      ] as const) {
        const { client, free, is } = yield* device
        yield* client.Reserve(claim("a", 20))
        is.processes?.set(7, 50)
        yield* client.Occupy({ reservation: id("a"), pid: 7, devices: 2 })
        // a GPU says what is on it; the machine says what the process has of all of its memory
        assert.strictEqual(yield* free, left)
      }
    })
  )

  it.scoped("has a claim's memory back when the process is gone", () =>
    Effect.gen(function* () {
      const { client, free, is } = yield* gpu
      yield* client.Reserve(claim("a", 60))
      is.free = 40
      is.processes?.set(7, 60)
      yield* client.Occupy({ reservation: id("a"), pid: 7 })
      is.free = 100
      is.processes?.clear()
      assert.strictEqual((yield* client.Release({ reservation: id("a") })).free, 100)
      assert.strictEqual(yield* free, 100)
    })
  )

  it.scoped("shares what is used out over its claims where it can't tell processes apart", () =>
    Effect.gen(function* () {
      const { client, free, is } = yield* gpu
      is.processes = null
      yield* client.Reserve(claim("a", 60))
      is.free = 40
      yield* client.Occupy({ reservation: id("a"), pid: 7 })
      assert.strictEqual(yield* free, 40)
    })
  )

  it.scoped("is believed to be as it was while it can't be read", () =>
    Effect.gen(function* () {
      const { free, is } = yield* gpu
      is.free = 40
      yield* TestClock.adjust("2 seconds")
      is.broken = true
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* free, 40)
      is.broken = false
      is.free = 90
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* free, 90)
    })
  )

  it.scoped("knows no process of a claim that is gone", () =>
    Effect.gen(function* () {
      const { client } = yield* gpu
      const error = yield* Effect.flip(client.Occupy({ reservation: id("gone"), pid: 7 }))
      assert.strictEqual(error._tag, "ReservationNotFound")
    })
  )
})
