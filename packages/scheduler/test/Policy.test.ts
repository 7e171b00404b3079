import { describe, expect, it } from "@effect/vitest"
import { ModelId, makeReplicaId } from "@helixflow/schema/Ids"
import type { PolicyName } from "@helixflow/schema/Model"
import * as FastCheck from "effect/FastCheck"
import { sortKey } from "../src/DeviceIndex.ts"
import { choose, compareIds, type LoadCandidate, policies, type UseCandidate } from "../src/Policy.ts"
import { deviceId } from "./fixtures.ts"

const load = (index: number, free: number, total = 100): LoadCandidate => ({
  id: deviceId(index),
  free,
  total,
  needed: 10
})
const use = (index: number, taken: number, slots = 4): UseCandidate => ({
  id: makeReplicaId(deviceId(index), ModelId.make("m"), 0),
  taken,
  slots
})
const names: ReadonlyArray<PolicyName> = ["best-fit", "first-fit", "round-robin", "least-loaded"]

const loadOn = (policy: PolicyName, candidates: ReadonlyArray<LoadCandidate>, cursor = "") =>
  choose(candidates, policies[policy].load, { cursor })?.candidate.id
const useOf = (policy: PolicyName, candidates: ReadonlyArray<UseCandidate>, cursor = "") =>
  choose(candidates, policies[policy].use, { cursor })?.candidate.id

describe("loads", () => {
  const candidates = [load(0, 50), load(1, 20), load(2, 90), load(10, 20, 25)]

  it("best fit leaves the smallest hole", () => expect(loadOn("best-fit", candidates)).toBe("local/cpu:1"))
  it("first fit takes the first", () => expect(loadOn("first-fit", candidates)).toBe("local/cpu:0"))
  it("least loaded takes the emptiest share", () => expect(loadOn("least-loaded", candidates)).toBe("local/cpu:2"))
  it("round robin goes on after the last, and around", () => {
    expect(loadOn("round-robin", candidates, "local/cpu:2")).toBe("local/cpu:10")
    expect(loadOn("round-robin", candidates, "local/cpu:10")).toBe("local/cpu:0")
  })
})

describe("ready replicas", () => {
  const candidates = [use(0, 2), use(1, 1), use(2, 1)]

  it("best fit and least loaded take the one with the most slots free", () => {
    expect(useOf("best-fit", candidates)).toBe("local/cpu:1/m#0")
    expect(useOf("least-loaded", candidates)).toBe("local/cpu:1/m#0")
  })
  it("first fit fills the first", () => expect(useOf("first-fit", candidates)).toBe("local/cpu:0/m#0"))
  it("round robin goes on after the last", () =>
    expect(useOf("round-robin", candidates, "local/cpu:1/m#0")).toBe("local/cpu:2/m#0"))
})

describe("affinity", () => {
  const all = Array.from({ length: 32 }, (_, index) => use(index, 0))
  const drawnTo = (candidates: ReadonlyArray<UseCandidate>, key: number) =>
    choose(candidates, policies.affinity.use, { cursor: "", affinity: `conversation ${key}` })?.candidate.id
  const keys = Array.from({ length: 3200 }, (_, key) => key)

  it("draws about as many conversations to each replica", () => {
    const shares = new Map<string | undefined, number>()
    for (const chosen of keys.map((key) => drawnTo(all, key))) shares.set(chosen, (shares.get(chosen) ?? 0) + 1)
    // a hundred each on average, of which chance alone makes 130
    expect(Math.max(...shares.values())).toBeLessThan(140)
  })
})

describe("every policy", () => {
  it("chooses nothing from nothing", () => {
    for (const name of names) expect(loadOn(name, [])).toBeUndefined()
  })

  it("chooses the same whatever the order of the candidates", () => {
    const candidates = FastCheck.uniqueArray(
      FastCheck.record({ index: FastCheck.nat(20), free: FastCheck.integer({ min: 10, max: 14 }) }),
      { minLength: 1, maxLength: 8, selector: ({ index }) => index }
    )
    FastCheck.assert(
      FastCheck.property(candidates, FastCheck.nat(20), (figures, cursor) => {
        for (const name of names) {
          const all = figures.map(({ index, free }) => load(index, free))
          expect(loadOn(name, [...all].reverse(), deviceId(cursor))).toBe(loadOn(name, all, deviceId(cursor)))
        }
      }),
      { seed: 5 }
    )
  })

  it("with its cursor moved to each choice, round robin visits all before any twice", () => {
    const candidates = [load(3, 10), load(1, 10), load(12, 10), load(2, 10)]
    let cursor = ""
    const visited = candidates.map(() => {
      cursor = loadOn("round-robin", candidates, cursor) ?? ""
      return cursor
    })
    expect(visited).toEqual(["local/cpu:1", "local/cpu:2", "local/cpu:3", "local/cpu:12"])
  })
})

describe("compareIds", () => {
  it("orders numbers as numbers and tells different ids apart", () => {
    expect(["x:10", "x:2", "x:1"].sort(compareIds)).toEqual(["x:1", "x:2", "x:10"])
    expect(compareIds("x:01", "x:1")).not.toBe(0)
  })

  it("is the order of the index's keys", () => {
    const id = FastCheck.array(FastCheck.constantFrom("a", "B", "/", ":", "#", "0", "1", "9", "10", "007"), {
      maxLength: 6
    })
    FastCheck.assert(
      FastCheck.property(id, id, (a, b) => {
        const [one, other] = [a.join(""), b.join("")]
        const keys = sortKey(one) < sortKey(other) ? -1 : one === other ? 0 : 1
        expect(Math.sign(compareIds(one, other))).toBe(keys)
      }),
      { numRuns: 3000, seed: 2 }
    )
  })
})
