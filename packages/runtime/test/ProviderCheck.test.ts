import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { libraryFile } from "../src/OrtApi.ts"
import * as ProviderCheck from "../src/ProviderCheck.ts"
import * as WorkerEntry from "../src/WorkerEntry.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const entry = WorkerEntry.resolve()
const hasCuda = fs.existsSync(path.join(path.dirname(libraryFile()), "libonnxruntime_providers_cuda.so"))
const check = ProviderCheck.make(entry)

describe("before a node starts, its devices", () => {
  it.live("are asked in a process of their own, which finds that the processor computes", () =>
    check({ kind: "cpu", index: 0 })
  )

  it.live.skipIf(hasCuda)("are refused where the provider's library is not installed, saying how to install it", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(check({ kind: "cuda", index: 0 }))
      assert.match(
        error.message,
        /HELIX_DEVICES: cuda:0 is not available: .*(linux-x64 alone|providers_shared\.so is missing)/
      )
    })
  )

  it.live("are refused where the process that asks breaks", () =>
    Effect.gen(function* () {
      const file = path.join(temporaryFolder(), "broken.mjs")
      fs.writeFileSync(file, "process.abort()")
      const error = yield* Effect.flip(ProviderCheck.make({ path: file, execArgv: [] })({ kind: "webgpu", index: 0 }))
      assert.match(error.message, /webgpu:0 is not available: the process that tried ended with SIGABRT/)
    })
  )
})
