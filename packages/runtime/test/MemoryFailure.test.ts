import * as path from "node:path"
import { it as itEffect } from "@effect/vitest"
import { DeviceId, ModelId, makeReplicaId } from "@helixflow/schema/Ids"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { PROCESSOR } from "../src/ExecutionProvider.ts"
import { bytesInVain } from "../src/MemoryFailure.ts"
import { writeTinyChatModel } from "../src/TestModels.ts"
import * as WorkerProcess from "../src/WorkerProcess.ts"
import { compiled } from "./compiled.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

describe("a load's failure", () => {
  it.each([
    ["Non-zero status code returned: Failed to allocate memory for requested buffer of size 1073741824", 1_073_741_824],
    ["std::bad_alloc", 0],
    ["bad allocation", 0],
    ["CUDA failure 2: out of memory ; GPU=0", 0],
    ["CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", 0],
    ["Array buffer allocation failed", 0],
    ["ENOMEM: not enough memory, open 'model.onnx'", 0],
    ["mmap: Cannot allocate memory", 0]
  ])("is known to be one of memory: %s", (message, bytes) => {
    expect(bytesInVain(message)).toBe(bytes)
  })

  it.each(["No Op registered for Gemm with domain_version of 99", "Protobuf parsing failed.", "memory of an elephant"])(
    "is not: %s",
    (message) => {
      expect(bytesInVain(message)).toBeUndefined()
    }
  )
})

const root = temporaryFolder()
const entry = await compiled("./crampedWorker.ts")

itEffect.scopedLive(
  "a worker that can't get the memory that its model takes says how much it had",
  () =>
    Effect.gen(function* () {
      const folder = path.join(root, "large")
      writeTinyChatModel(folder, { hidden_size: 512, intermediate_size: 16_384, num_hidden_layers: 2 })
      const { client } = yield* WorkerProcess.spawn({
        replica: makeReplicaId(DeviceId.make("local/cpu:0"), ModelId.make("large"), 0),
        entry,
        socketDir: root,
        records: path.join(root, "workers"),
        liveness: { freezeMillis: 5_000, stepMillis: 60_000 }
      })
      const failure = yield* Effect.flip(
        client.Load({
          model: ModelId.make("large"),
          path: folder,
          task: "text-generation",
          context: 256,
          slots: 1,
          device: PROCESSOR,
          threads: 1,
          engine: "binding"
        })
      )
      expect(failure).toMatchObject({ _tag: "LoadFailed", memory: { claimed: null, free: null } })
      expect("memory" in failure && failure.memory?.needed).toBeGreaterThan(2 ** 25)
    }),
  120_000
)
