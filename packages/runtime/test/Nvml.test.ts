import { spawnSync } from "node:child_process"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Nvml from "../src/Nvml.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const compiler = ["cc", "gcc", "clang"].find((name) => spawnSync(name, ["--version"]).status === 0)
const library = path.join(temporaryFolder(), "libnvidia-ml.so.1")
const GiB = 2 ** 30

// a library like NVIDIA's, called as NVIDIA's is
describe.skipIf(compiler === undefined || process.platform !== "linux")(
  "NVIDIA's management library (needs a C compiler)",
  () => {
    beforeAll(() => {
      const source = fileURLToPath(new URL("./fakeNvml.c", import.meta.url))
      const built = spawnSync(compiler ?? "cc", ["-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source])
      assert.strictEqual(built.status, 0, String(built.stderr))
    })

    it.effect("lists whole GPUs, the instances of partitioned ones, and not those that are lost", () =>
      Effect.gen(function* () {
        const { gpus } = yield* Nvml.inventory(library)
        assert.deepStrictEqual(gpus, [
          { uuid: "GPU-aaaa", name: "Fake H100", total: 80 * GiB },
          { uuid: "MIG-b-1", name: "Fake A100 MIG 3g.20gb", total: 20 * GiB },
          { uuid: "MIG-b-2", name: "Fake A100 MIG 3g.20gb", total: 20 * GiB }
        ])
      })
    )

    it.effect("tells memory, load, temperature, power and errors, and the memory of each of many processes", () =>
      Effect.gen(function* () {
        const { figures, processes, used } = yield* (yield* Nvml.inventory(library)).read("GPU-aaaa")
        assert.deepStrictEqual(figures, {
          free: 50 * GiB,
          utilization: 0.37,
          temperature: 64,
          power: 312.5,
          eccErrors: 2
        })
        assert.strictEqual(used, 30 * GiB)
        assert.strictEqual(processes?.size, 99)
        assert.strictEqual(processes?.get(1000), 2 * GiB + 2 ** 20)
      })
    )

    it.effect("leaves out what an instance does not support", () =>
      Effect.gen(function* () {
        const { figures, processes } = yield* (yield* Nvml.inventory(library)).read("MIG-b-1")
        assert.strictEqual(figures.free, 16 * GiB)
        assert.isNull(figures.eccErrors)
        assert.isNull(processes)
      })
    )

    it.effect("can't read what is not there", () =>
      Effect.gen(function* () {
        const { read } = yield* Nvml.inventory(library)
        assert.match((yield* Effect.flip(read("GPU-cccc"))).message, /GPU-cccc is not there/)
      })
    )
  }
)

describe("without NVIDIA's library", () => {
  it.effect("there is no inventory, and why", () =>
    Effect.gen(function* () {
      const { reason } = yield* Effect.flip(Nvml.inventory("libhelixflow-nowhere.so.1"))
      assert.match(reason, /Failed to load shared library/)
    })
  )
})
