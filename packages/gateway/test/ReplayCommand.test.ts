import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { helixflow } from "./Program.ts"

/** Some minutes of a server with five models on memory for two, whose client asks for one after the other again and again. */
const log = fileURLToPath(new URL("../../scheduler/test/recorded.jsonl", import.meta.url))

describe("helixflow replay", () => {
  it.effect(
    "says what loading ahead would have changed of what a server did",
    () =>
      Effect.gen(function* () {
        const { stdout } = yield* helixflow(["replay", log, "--preload", "on", "--json"])
        const { other, recorded } = JSON.parse(stdout)
        assert.strictEqual(recorded.placed, recorded.requests)
        assert.strictEqual(other.placed, recorded.requests)
        assert.isBelow(other.cold, recorded.cold)
        assert.isBelow(other.wait_mean_ms, recorded.wait_mean_ms)
        const without = yield* helixflow(["replay", log, "--preload", "off", "--json"])
        assert.deepStrictEqual(JSON.parse(without.stdout).other, recorded)
        const drawn = yield* helixflow(["replay", log, "--preload", "on"])
        assert.match(drawn.stdout, /AS RECORDED +LOADING AHEAD/)
      }),
    60_000
  )

  it.effect(
    "refuses what is neither on nor off, and what is no time",
    () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* helixflow(["replay", log, "--preload", "maybe"])
        assert.strictEqual(code, 2)
        assert.match(stderr + stdout, /on.*off/)
        const soon = yield* helixflow(["replay", log, "--preempt-after", "soon"])
        assert.strictEqual(soon.code, 2)
        assert.match(soon.stderr + soon.stdout, /--preempt-after must be a time such as 500ms/)
      }),
    60_000
  )
})
