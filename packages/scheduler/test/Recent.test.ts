import { describe, expect, it } from "@effect/vitest"
import * as Recent from "../src/Recent.ts"

const entriesOf = (recent: Recent.Recent<string, number>) => [...Recent.entries(recent)].sort()

describe("keys that were used lately", () => {
  it("are remembered with what they were set to last, each once", () => {
    let recent = Recent.empty<string, number>(2)
    for (const [key, value] of [
      ["a", 1],
      ["b", 2],
      ["a", 3]
    ] as const)
      recent = Recent.set(recent, key, value)
    expect(Recent.get(recent, "a")).toBe(3)
    expect(entriesOf(recent)).toEqual([
      ["a", 3],
      ["b", 2]
    ])
  })

  it("are remembered for at least as many others as the limit, and are never more than twice as many", () => {
    let recent = Recent.empty<string, number>(10)
    for (let n = 0; n < 1000; n++) {
      recent = Recent.set(recent, `key ${n}`, n)
      for (let back = 0; back <= Math.min(9, n); back++) expect(Recent.get(recent, `key ${n - back}`)).toBe(n - back)
      expect(entriesOf(recent).length).toBeLessThanOrEqual(20)
    }
    expect(Recent.get(recent, "key 0")).toBeUndefined()
  })
})
