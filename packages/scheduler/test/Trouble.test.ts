import { describe, expect, it } from "@effect/vitest"
import { simulate } from "./simulation.ts"

const steps = 12_000

describe("a scheduler in a fleet where loads hang, workers die, clients leave, strangers take memory and news is late", () => {
  for (const seed of [1, 2, 3, 4]) {
    it(`never over-commits, leaks or waits for what could be had, and everything comes back (seed ${seed})`, () => {
      const { failedLoads, hash, left, longestWaitMillis, lost, refused, ...counts } = simulate(seed, steps)
      // what is to go wrong does
      expect(Math.min(failedLoads, left, lost, counts.evictions, counts.resumed)).toBeGreaterThan(0)
      // a request ends with a place, with a load that failed everywhere, or with its client
      expect(Object.keys(refused).filter((tag) => tag !== "LoadFailed")).toEqual([])
      expect(longestWaitMillis).toBeLessThan(longestWait)
      if (seed === 1) expect(simulate(seed, steps).hash).toBe(hash)
    }, 60_000)
  }
})

describe("such a fleet of two kinds of devices, on each of which a model takes something else", () => {
  for (const seed of [5, 6]) {
    it(`never over-commits, leaks or waits for what could be had either (seed ${seed})`, () => {
      const { evictions, failedLoads, longestWaitMillis, refused } = simulate(seed, steps, "mixed")
      expect(Math.min(failedLoads, evictions)).toBeGreaterThan(0)
      expect(Object.keys(refused).filter((tag) => tag !== "LoadFailed")).toEqual([])
      expect(longestWaitMillis).toBeLessThan(longestWait)
    }, 60_000)
  }
})

/** Milliseconds: until those that others wait for may leave, and the longest that they can take to do so, twice. */
const longestWait = 2 * (10_000 + 20_000)
