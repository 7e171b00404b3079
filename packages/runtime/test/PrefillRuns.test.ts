import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { prefillRuns } from "../src/PrefillRuns.ts"

const place = (
  counts: ReadonlyArray<number>,
  options: Partial<{ slots: ReadonlyArray<number>; joins: boolean }> = {}
) =>
  counts.map((count, index) => ({
    chunk: { sequence: index, from: 0, count },
    slot: options.slots?.[index] ?? index,
    joins: options.joins ?? true
  }))
const countsOf = (placed: ReturnType<typeof place>) =>
  prefillRuns(placed).map((run) => run.map(({ chunk }) => chunk.count))

describe("the runs of prompts", () => {
  it("are shared by those that together take less than alone", () => {
    expect(countsOf(place([5, 6, 8, 9]))).toEqual([[5, 6, 8, 9]])
    expect(countsOf(place([20, 24, 26, 40]))).toEqual([[20, 24, 26], [40]])
    // padding would cost more than the weights that are read again
    expect(countsOf(place([5, 13]))).toEqual([[5], [13]])
  })

  it("are no longer than what is stopped soon", () => {
    expect(countsOf(place([40, 40, 40, 40]))).toEqual([[40, 40, 40], [40]])
    expect(countsOf(place([100, 100]))).toEqual([[100], [100]])
  })

  it("are of slots side by side", () => {
    expect(countsOf(place([7, 8, 9], { slots: [0, 2, 3] }))).toEqual([[7], [8, 9]])
  })

  it("are of one prompt each where they may not be shared", () => {
    expect(countsOf(place([8, 9], { joins: false }))).toEqual([[8], [9]])
  })

  it.prop(
    "have every piece once, in order, and never cost more than one run for each",
    [FastCheck.array(FastCheck.integer({ min: 1, max: 256 }), { maxLength: 16 })],
    ([counts]) => {
      const runs = countsOf(place(counts))
      expect(runs.flat()).toEqual(counts)
      const cost = (tokens: number) => Math.max(64, tokens)
      const taken = runs.reduce((sum, run) => sum + cost(Math.max(...run) * run.length), 0)
      expect(taken).toBeLessThanOrEqual(counts.reduce((sum, count) => sum + cost(count), 0))
    }
  )
})
