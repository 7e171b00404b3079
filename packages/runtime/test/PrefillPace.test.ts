import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { PrefillPace } from "../src/PrefillPace.ts"

const one = { streams: 4, prompts: 1 }

/** A machine on which prompts take `base + perToken * tokens`. */
const observe = (pace: PrefillPace, base: number, perToken: number, decode: number, waiting = one) => {
  const tokens = pace.rest(waiting)
  pace.observePrompts({ tokens, millis: base + perToken * tokens }, waiting)
  pace.observeStreams(decode)
}

const settle = (base: number, perToken: number, decode: number, waiting = one) => {
  const pace = new PrefillPace()
  for (let step = 0; step < 60; step++) observe(pace, base, perToken, decode, waiting)
  return pace
}

describe("the pace of prompts", () => {
  it("comes to shares that take no longer than a decode step, on any machine where such shares are", () => {
    const millis = FastCheck.double({ min: 0.01, max: 1, noNaN: true })
    FastCheck.assert(
      FastCheck.property(millis, FastCheck.double({ min: 0, max: 10, noNaN: true }), (perToken, base) => {
        // a step in which 32 tokens just fit
        const decode = base + perToken * 32
        const rest = settle(base, perToken, decode).rest(one)
        assert.isAtMost(base + perToken * rest, Math.max(decode, base + perToken * 12))
        assert.isAtLeast(rest, 12)
      })
    )
  })

  it("grows again when steps take longer", () => {
    const pace = settle(0, 1, 30)
    assert.isBelow(pace.rest(one), 64)
    for (let step = 0; step < 20; step++) observe(pace, 0, 1, 1_000)
    assert.strictEqual(pace.rest(one), 128)
  })

  it("doesn't grow by what little was left of a prompt", () => {
    const pace = settle(0, 1, 30)
    const before = pace.rest(one)
    for (let step = 0; step < 20; step++) {
      pace.observePrompts({ tokens: 3, millis: 3 }, one)
      pace.observeStreams(30)
    }
    assert.strictEqual(pace.rest(one), before)
  })

  it("gives each of several prompts as long as it gives one, and more where they are more than the streams", () => {
    const restOf = (waiting: typeof one) => settle(0, 1, 30, waiting).rest(waiting)
    const four = restOf({ streams: 4, prompts: 4 })
    assert.isAtMost(four, 4 * 30)
    assert.isAbove(four, 2 * 30)
    const more = restOf({ streams: 2, prompts: 4 })
    assert.isAtMost(more, 8 * 30)
    assert.isAbove(more, 4 * 30)
  })

  it("lets no burst of prompts hold streams up for longer than half a second", () => {
    const waiting = { streams: 1, prompts: 15 }
    for (const perToken of [0.1, 1, 5]) {
      assert.isAtMost(settle(0, perToken, 20, waiting).rest(waiting) * perToken, 500)
    }
  })

  it("computes no more at once than a second allows, within limits", () => {
    const chunkOf = (perToken: number) => settle(0, perToken, 20).chunk
    assert.strictEqual(new PrefillPace().chunk, 128)
    assert.deepStrictEqual([0.1, 6, 100].map(chunkOf), [256, 166, 64])
  })

  it("knows which prompts are finished in a quarter of a second", () => {
    assert.strictEqual(new PrefillPace().quick, 0)
    assert.strictEqual(settle(0, 0.5, 20).quick, 500)
  })

  it("comes back to one prompt's share soon after many have come at once", () => {
    const pace = settle(0, 1, 150, { streams: 1, prompts: 15 })
    for (let step = 0; step < 3; step++) observe(pace, 0, 1, 30)
    assert.isAtMost(pace.rest(one), 32)
  })
})
