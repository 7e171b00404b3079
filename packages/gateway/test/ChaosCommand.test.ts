/** `helixflow chaos` as a developer runs it, for a few seconds. */
import { existsSync } from "node:fs"
import { NodeContext } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { vi } from "vitest"
import { helixflow, testModels } from "./Program.ts"

vi.setConfig({ testTimeout: 180_000 })

describe("helixflow chaos", () => {
  it.effect("refuses to run where it was not allowed to", () =>
    Effect.gen(function* () {
      const { code, stderr } = yield* helixflow(["chaos"])
      expect(code).toBe(1)
      expect(stderr).toContain("set HELIX_ENVIRONMENT=development")
    })
  )

  it.scopedLive.skipIf(!existsSync("/proc/self/stat"))("finds every stream as if nothing had happened", () =>
    Effect.gen(function* () {
      const models = yield* testModels
      const { code, stderr, stdout } = yield* helixflow(
        ["chaos", "--seed", "3", "--minutes", "0.1", "--streams", "6", "--workers", "2", "--tokens", "40"],
        { HELIX_ENVIRONMENT: "development", HELIX_MODELS_DIR: models }
      )
      expect(stderr).toBe("")
      expect(stdout).toContain("every stream as if nothing had happened")
      expect(stdout).toMatch(/harm done {4}[1-9]/)
      expect(code).toBe(0)
    }).pipe(Effect.provide(NodeContext.layer))
  )
})
