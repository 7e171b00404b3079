import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { RateWindow } from "../src/RateWindow.ts"

const minute = 60_000

/** Amounts, each so many milliseconds after the one before. */
const uses = FastCheck.array(
  FastCheck.record({
    amount: FastCheck.integer({ min: 1, max: 5 }),
    wait: FastCheck.oneof(FastCheck.integer({ min: 0, max: 3_000 }), FastCheck.integer({ min: 0, max: 200_000 }))
  }),
  { maxLength: 60 }
)

/** The amounts with their times. */
const timed = (steps: ReadonlyArray<{ readonly amount: number; readonly wait: number }>) => {
  let at = 1_700_000_000_123
  return steps.map(({ amount, wait }) => {
    at += wait
    return { amount, at }
  })
}

describe("What was used in the last minute", () => {
  it.prop("is all of a minute, and nothing that is older than a minute and a second", [uses], ([steps]) => {
    const window = new RateWindow()
    const all = timed(steps)
    for (const [index, { amount, at }] of all.entries()) {
      window.add(amount, at)
      const sumSince = (since: number) =>
        all.slice(0, index + 1).reduce((sum, use) => sum + (use.at > since ? use.amount : 0), 0)
      expect(window.used(at)).toBeGreaterThanOrEqual(sumSince(at - minute))
      expect(window.used(at)).toBeLessThanOrEqual(sumSince(at - minute - 1_000))
    }
  })

  it.prop(
    "never lets more than the limit into any minute, when nobody goes beyond it",
    [uses, FastCheck.integer({ min: 1, max: 9 })],
    ([steps, limit]) => {
      const window = new RateWindow()
      const let_in: Array<number> = []
      for (const { at } of timed(steps)) {
        if (window.used(at) >= limit) continue
        window.add(1, at)
        let_in.push(at)
      }
      for (const end of let_in) {
        expect(let_in.filter((at) => at <= end && at > end - minute).length).toBeLessThanOrEqual(limit)
      }
    }
  )

  it.prop(
    "is gone after the time that is told, and not a millisecond before",
    [uses, FastCheck.integer({ min: 0, max: 20 })],
    ([steps, level]) => {
      const window = new RateWindow()
      let now = 1_700_000_000_000
      for (const { amount, at } of timed(steps)) {
        window.add(amount, at)
        now = at
      }
      const wait = window.until(level, now)
      if (window.used(now) <= level) {
        expect(wait).toBe(0)
        return
      }
      expect(wait).toBeGreaterThan(0)
      expect(window.used(now + wait - 1)).toBeGreaterThan(level)
      expect(window.used(now + wait)).toBeLessThanOrEqual(level)
    }
  )

  it("does not change while the clock is set back", () => {
    const window = new RateWindow()
    window.add(3, 100_000)
    expect(window.used(10_000)).toBe(3)
    window.add(1, 10_000)
    expect(window.used(160_999)).toBe(4)
    expect(window.used(161_000)).toBe(0)
  })
})
