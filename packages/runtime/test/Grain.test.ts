import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { grainOf, runLength } from "../src/Grain.ts"

/** The runs that put a prompt into the cache, with so much room for each. */
const runs = (alike: "several" | "blocks", prompt: number, cached: number, budgets: ReadonlyArray<number>) => {
  const grain = grainOf(alike, prompt)
  const cuts: Array<[from: number, count: number]> = []
  let at = cached
  for (let n = 0; at < prompt; n++) {
    const count = runLength(grain, at, budgets[n % budgets.length] ?? 128)
    if (count > 0) cuts.push([at, count])
    at += count
    if (n > 1_000) throw new Error("no end")
  }
  return cuts
}

describe("a prompt of a graph that rounds", () => {
  it("is computed in whole blocks and a rest", () => {
    expect(runs("blocks", 40, 0, [128])).toEqual([
      [0, 32],
      [32, 8]
    ])
    expect(runs("blocks", 48, 0, [128])).toEqual([
      [0, 32],
      [32, 16]
    ])
    expect(runs("blocks", 40, 16, [20])).toEqual([
      [16, 16],
      [32, 8]
    ])
    expect(runs("blocks", 1, 0, [16])).toEqual([[0, 1]])
  })

  it("is computed at once where runs of several tokens are alike, unless a single one is left", () => {
    expect(runs("several", 40, 0, [128])).toEqual([[0, 40]])
    expect(runs("several", 40, 0, [32])).toEqual([
      [0, 32],
      [32, 8]
    ])
    expect(runs("several", 33, 0, [128])).toEqual([
      [0, 32],
      [32, 1]
    ])
  })

  const kind = FastCheck.constantFrom("several" as const, "blocks" as const)
  const room = FastCheck.array(FastCheck.integer({ min: 1, max: 128 }), { minLength: 1, maxLength: 8 })
  it.prop(
    "has every token in the same kind of run, whatever the room and whatever was known",
    [kind, FastCheck.integer({ min: 1, max: 400 }), room, FastCheck.nat(30)],
    ([alike, prompt, budgets, blocks]) => {
      const known = Math.min(blocks * 16, Math.floor((prompt - 1) / 16) * 16)
      const reference = new Map<number, string>()
      const kindsOf = (cuts: ReadonlyArray<readonly [number, number]>) =>
        cuts.flatMap(([from, count]) =>
          Array.from({ length: count }, (_, i) => {
            const inBody = from + i < Math.floor((prompt - 1) / 16) * 16
            const kind = count === 1 ? "one" : alike === "several" ? "several" : inBody ? "block" : `rest of ${count}`
            return [from + i, kind] as const
          })
        )
      for (const [at, kind] of kindsOf(runs(alike, prompt, 0, [128]))) reference.set(at, kind)
      const cuts = runs(alike, prompt, known, [...budgets, 16])
      for (const [at, kind] of kindsOf(cuts)) expect(kind).toBe(reference.get(at))
      if (alike === "blocks") for (const [from] of cuts) expect(from % 16).toBe(0)
    }
  )
})
