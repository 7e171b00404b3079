import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Devices from "../src/Devices.ts"
import * as NvidiaSmi from "../src/NvidiaSmi.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const folder = temporaryFolder()
const MiB = 2 ** 20

/** A command that answers as `nvidia-smi` does. */
const command = (name: string, script: string): string => {
  const file = path.join(folder, name)
  fs.writeFileSync(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return file
}

const smi = command(
  "nvidia-smi",
  `case "$1" in
--query-gpu=*)
  echo "GPU-1, NVIDIA L4, 23034, 20034, 3000, 12, 41, 28.50, 0, [N/A]"
  echo "GPU-2, NVIDIA A100-SXM4-80GB, 81920, 81000, 920, [N/A], [N/A], [Not Supported], [N/A], Enabled" ;;
--query-compute-apps=*)
  echo "GPU-1, 4711, 2048"
  echo "GPU-1, 4711, 52"
  echo "GPU-2, 99, [N/A]" ;;
esac`
)

describe.skipIf(process.platform === "win32")("nvidia-smi", () => {
  it.live("lists the GPUs that are whole", () =>
    Effect.gen(function* () {
      const { gpus } = yield* NvidiaSmi.inventory(smi)
      assert.deepStrictEqual(gpus, [{ uuid: "GPU-1", name: "NVIDIA L4", total: 23034 * MiB }])
    })
  )

  it.live("tells how one is, with null for what it does not say", () =>
    Effect.gen(function* () {
      const { read } = yield* NvidiaSmi.inventory(smi)
      const one = yield* read("GPU-1")
      assert.deepStrictEqual(one.figures, {
        free: 20034 * MiB,
        utilization: 0.12,
        temperature: 41,
        power: 28.5,
        eccErrors: 0
      })
      assert.deepStrictEqual(one.processes, new Map([[4711, 2100 * MiB]]))
      const two = yield* read("GPU-2")
      assert.strictEqual(two.figures.temperature, null)
      assert.isNull(two.processes)
    })
  )

  it.live("that fails or is not there means no GPUs", () =>
    Effect.gen(function* () {
      const broken = command(
        "broken-smi",
        "echo 'Failed to initialize NVML: Driver/library version mismatch' >&2; exit 18"
      )
      for (const nvidiaSmi of [broken, path.join(folder, "nowhere")]) {
        const sources = { nvml: "libhelixflow-nowhere.so.1", nvidiaSmi, visible: Option.none() }
        assert.isTrue(Option.isNone(yield* Devices.findGpus(sources)))
      }
    })
  )

  it.live("is asked where the library can't be called, within what CUDA_VISIBLE_DEVICES shows", () =>
    Effect.gen(function* () {
      const found = (visible: ReadonlyArray<string>) =>
        Effect.map(
          Devices.findGpus({ nvml: "libhelixflow-nowhere.so.1", nvidiaSmi: smi, visible: Option.some(visible) }),
          Option.match({ onNone: () => null, onSome: ({ gpus }) => gpus.map(({ uuid }) => uuid) })
        )
      assert.deepStrictEqual(yield* found(["0"]), ["GPU-1"])
      assert.deepStrictEqual(yield* found(["GPU-1"]), ["GPU-1"])
      assert.deepStrictEqual(yield* found(["-1"]), [])
    })
  )
})
