import { assert, describe, it } from "@effect/vitest"
import { NodeId } from "@helixflow/schema/Ids"
import { Effect, Either, Option } from "effect"
import { parseDevices } from "../src/DeviceDeclaration.ts"
import * as Devices from "../src/Devices.ts"

const node = NodeId.make("local")
const GiB = 2 ** 30
const machine = { machine: { cpus: 4, memory: 10 * GiB }, gpus: [] }
const declared = (text: string) => Option.some(Either.getOrThrow(parseDevices(text)))
const totals = (text: string) =>
  Effect.map(Devices.detect(node, declared(text), machine), (devices) =>
    devices.map(({ id, total }) => [String(id), Number(total) / GiB])
  )

describe("devices", () => {
  it.effect("are the machine's CPUs with most of its memory, unless declared", () =>
    Effect.gen(function* () {
      const [device, ...others] = yield* Devices.detect(node, Option.none(), machine)
      assert.deepStrictEqual(others, [])
      assert.strictEqual(device?.id, "local/cpu:0")
      assert.strictEqual(device?.total, 8 * GiB)
    })
  )

  it.effect("have the memory they are declared with, the rest shared by those without", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* totals("cpu:0=2GiB,cpu:1,cpu:3"), [
        ["local/cpu:0", 2],
        ["local/cpu:1", 3],
        ["local/cpu:3", 3]
      ])
    })
  )

  it.effect("can't have more memory in sum than there is", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(totals("cpu:0=6GiB,cpu:1=6GiB"))
      assert.match(error.message, /cpu:0,cpu:1 is not available: 12884901888 bytes are declared/)
    })
  )

  it.effect("that are not there are refused at the start", () =>
    Effect.gen(function* () {
      assert.match((yield* Effect.flip(totals("cuda:0"))).message, /HELIX_DEVICES: cuda:0 is not available/)
    })
  )

  it.effect("of WebGPU have the memory that is said, and take none of the machine's", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* totals("webgpu:0=2GiB,cpu:0"), [
        ["local/webgpu:0", 2],
        ["local/cpu:0", 8]
      ])
      assert.match((yield* Effect.flip(totals("webgpu:0"))).message, /say how much to use, e\.g\. webgpu:0=8GiB/)
    })
  )
})

describe("GPUs", () => {
  const gpus = [
    { uuid: "GPU-1", name: "NVIDIA L4", total: 24 * GiB },
    { uuid: "GPU-2", name: "NVIDIA L4", total: 24 * GiB }
  ]
  const detected = (text: string | null, kinds: ReadonlySet<"cpu" | "cuda">) =>
    Devices.detect(node, text === null ? Option.none() : declared(text), { ...machine, gpus }, kinds)
  const both = new Set(["cpu", "cuda"] as const)

  it.effect("are the devices where an engine computes on them, and CPUs where none does", () =>
    Effect.gen(function* () {
      const ids = (kinds: ReadonlySet<"cpu" | "cuda">) =>
        Effect.map(detected(null, kinds), (devices) => devices.map(({ id, uuid }) => [String(id), uuid]))
      assert.deepStrictEqual(yield* ids(both), [
        ["local/cuda:0", "GPU-1"],
        ["local/cuda:1", "GPU-2"]
      ])
      assert.deepStrictEqual(yield* ids(new Set(["cpu"] as const)), [["local/cpu:0", null]])
    })
  )

  it.effect("can be declared in part, beside CPUs", () =>
    Effect.gen(function* () {
      const devices = yield* detected("cuda:1=10GiB,cpu:0=2GiB", both)
      assert.deepStrictEqual(
        devices.map(({ id, total, uuid }) => [String(id), total / GiB, uuid]),
        [
          ["local/cuda:1", 10, "GPU-2"],
          ["local/cpu:0", 2, null]
        ]
      )
    })
  )

  it.effect("that are not there or not so large are refused at the start", () =>
    Effect.gen(function* () {
      assert.match((yield* Effect.flip(detected("cuda:2", both))).message, /the machine has 2 GPUs/)
      assert.match((yield* Effect.flip(detected("cuda:0=25GiB", both))).message, /are declared, it has/)
      assert.match((yield* Effect.flip(detected("webgpu:0", both))).message, /use cpu or cuda/)
    })
  )
})
