import { spawnSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import { flag, markingThreads } from "../src/MarkingThreads.ts"

describe("threads that mark what is alive", () => {
  it("are as many as there are processors beside the program's, and one where there are none", () => {
    assert.deepStrictEqual([0.5, 1, 2, 2.5, 16].map(markingThreads), [1, 1, 1, 1, 15])
  })

  it("are limited by a flag that this V8 knows", () => {
    const { status, stderr } = spawnSync(process.execPath, [flag(1), "-e", ""], { encoding: "utf8" })
    assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
  })
})
