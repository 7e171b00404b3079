import { ModelId } from "@helixflow/schema/Ids"
import { describe, expect, it } from "vitest"
import { defaults, toSpec } from "../src/ModelSettings.ts"
import * as ModelVersions from "../src/ModelVersions.ts"

const spec = (id: string, task: "text-generation" | "embedding" = "text-generation") =>
  toSpec(
    ModelId.make(id),
    { task, context: 64, onKinds: new Map(), sampling: {}, labels: [], created: 0, revision: "" },
    defaults
  )
const known = new Map(["v1", "v2", "v3"].map((version) => [version, spec(`org/name/${version}`)]))

const versions = (weights: ModelVersions.Weights): ModelVersions.ModelVersions => ({
  id: ModelId.make("org/name"),
  versions: Array.from(known, ([version, spec]) => ({ version, spec, weight: weights[version] ?? 0 }))
})
const keys = Array.from({ length: 20_000 }, (_, n) => `conversation ${n}`)
const drawnBy = (weights: ModelVersions.Weights) => {
  const all = versions(weights)
  return keys.map((key) => ModelVersions.drawn(all, key)?.id)
}
const shareOf = (drawn: ReadonlyArray<string | undefined>, version: string) =>
  drawn.filter((id) => id === `org/name/${version}`).length / drawn.length

describe("the version that a conversation draws", () => {
  it("is the same each time, and each has its share of them", () => {
    const drawn = drawnBy({ v1: 0.7, v2: 0.2, v3: 0.1 })
    expect(drawnBy({ v1: 0.7, v2: 0.2, v3: 0.1 })).toEqual(drawn)
    expect(shareOf(drawn, "v1")).toBeCloseTo(0.7, 1.5)
    expect(shareOf(drawn, "v2")).toBeCloseTo(0.2, 1.5)
    expect(shareOf(drawn, "v3")).toBeCloseTo(0.1, 1.5)
  })

  it("changes for as many as the weights do, and for no others", () => {
    const before = drawnBy({ v1: 0.9, v2: 0.1 })
    const after = drawnBy({ v1: 0.8, v2: 0.2 })
    const moved = keys.flatMap((_, n) => (before[n] === after[n] ? [] : [after[n]]))
    expect(new Set(moved)).toEqual(new Set(["org/name/v2"]))
    expect(moved.length / keys.length).toBeCloseTo(0.1, 1.5)
  })

  it("is never one without a share", () => {
    expect(new Set(drawnBy({ v1: 0, v2: 1 }))).toEqual(new Set(["org/name/v2"]))
  })

  it("is the one with the largest share where there is no conversation", () => {
    expect(ModelVersions.foremost(versions({ v1: 0.2, v2: 0.5, v3: 0.3 }))?.id).toBe("org/name/v2")
  })
})

describe("weights", () => {
  it.each([
    [{ v1: 0.5, v4: 0.5 }, "v4", "no version `v4`"],
    [{ v1: 1.5, v2: -0.5 }, "v1", "1.5 is no share"],
    [{ v1: Number.NaN, v2: 1 }, "v1", "NaN is no share"],
    [{ v1: 0.5, v2: 0.4 }, null, "add up to 0.9"],
    [{}, null, "add up to 0"]
  ])("%j are refused", (weights, version, reason) => {
    expect(ModelVersions.problemOf(weights, known)).toEqual({ version, reason: expect.stringContaining(reason) })
  })

  it("of thirds are not refused for what rounding leaves", () => {
    expect(ModelVersions.problemOf({ v1: 1 / 3, v2: 1 / 3, v3: 1 / 3 }, known)).toBeUndefined()
  })

  it("of versions that do different things are refused", () => {
    const mixed = new Map(known).set("v2", spec("org/name/v2", "embedding"))
    expect(ModelVersions.problemOf({ v1: 0.5, v2: 0.5 }, mixed)?.reason).toContain("different things")
    expect(ModelVersions.problemOf({ v1: 1 }, mixed)).toBeUndefined()
  })
})
