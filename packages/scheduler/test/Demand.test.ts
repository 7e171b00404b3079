import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Demand from "../src/Demand.ts"

/** The count that a level stands for. */
const countAt = (level: number, now: number) => 2 ** (level - Demand.levelAt(now))

const arrivals = (times: ReadonlyArray<number>) => times.reduce(Demand.arrived, Demand.none)

describe("the level of a model", () => {
  it("stands for its arrivals, each counting half for every half-life that has passed", () => {
    const times = FastCheck.array(FastCheck.nat(5 * Demand.halfLife), { minLength: 1, maxLength: 20 })
    FastCheck.assert(
      FastCheck.property(times, FastCheck.nat(Demand.halfLife), (unordered, later) => {
        const times = unordered.sort((a, b) => a - b)
        const now = Math.max(...times) + later
        const count = times.reduce((sum, at) => sum + 2 ** ((at - now) / Demand.halfLife), 0)
        expect(countAt(arrivals(times).level, now)).toBeCloseTo(count, 6)
      }),
      { seed: 1 }
    )
  })

  it("can be told from others' at dates of today, to a few requests in hundreds", () => {
    const now = Date.UTC(2026, 0, 1)
    const often = arrivals(Array.from({ length: 102 }, () => now))
    const seldom = arrivals(Array.from({ length: 100 }, () => now))
    expect(often.level).toBeGreaterThan(seldom.level)
    expect(countAt(often.level, now)).toBeCloseTo(102, 3)
  })

  it("that was never asked for is below all others", () => {
    expect(Demand.none.level).toBeLessThan(arrivals([0]).level)
    expect(Demand.sum(Demand.none.level, Demand.none.level)).toBe(Demand.none.level)
  })
})

describe("a reload", () => {
  it("is believed to take what it took, and what its bytes suggest before", () => {
    const unseen = Demand.reloadMillis(Demand.none, 2 ** 30)
    expect(unseen).toBe(1524)
    expect(Demand.reloadMillis(Demand.loaded(Demand.none, 4000), 2 ** 30)).toBe(4000)
    expect(Demand.reloadMillis(Demand.loaded(Demand.loaded(Demand.none, 4000), 2000), 0)).toBe(3400)
    expect(Demand.reloadMillis(Demand.loaded(Demand.none, 0), 0)).toBe(1)
  })
})
