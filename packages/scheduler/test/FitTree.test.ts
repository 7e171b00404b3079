import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as FitTree from "../src/FitTree.ts"

const item = FastCheck.record({
  key: FastCheck.integer({ min: 0, max: 5 }),
  name: FastCheck.constantFrom(..."abcdefghijklmnop"),
  size: FastCheck.integer({ min: 0, max: 20 })
})
const step = FastCheck.tuple(FastCheck.constantFrom("insert" as const, "insert" as const, "remove" as const), item)

const build = (steps: ReadonlyArray<readonly ["insert" | "remove", FitTree.Item]>) => {
  let tree: FitTree.FitTree = null
  const items = new Map<string, FitTree.Item>()
  for (const [what, item] of steps) {
    const before = items.get(item.name)
    if (before?.key === item.key && what === "insert") {
      tree = FitTree.resize(tree, item)
      items.set(item.name, item)
      continue
    }
    if (before !== undefined) tree = FitTree.remove(tree, before)
    items.delete(item.name)
    if (what === "insert") {
      tree = FitTree.insert(tree, item)
      items.set(item.name, item)
    }
  }
  return { tree, sorted: [...items.values()].sort(FitTree.compare) }
}

const listed = (tree: FitTree.FitTree): ReadonlyArray<FitTree.Item> =>
  tree === null ? [] : [...listed(tree.left), tree, ...listed(tree.right)]
const depth = (tree: FitTree.FitTree): number => (tree === null ? 0 : 1 + Math.max(depth(tree.left), depth(tree.right)))

describe("a fit tree", () => {
  it("finds what a scan of the sorted items finds, whatever was inserted and removed", () => {
    const after = FastCheck.option(
      FastCheck.record({ key: FastCheck.integer({ min: 0, max: 5 }), name: FastCheck.string() })
    )
    FastCheck.assert(
      FastCheck.property(FastCheck.array(step, { maxLength: 60 }), FastCheck.nat(22), after, (steps, needed, after) => {
        const { sorted, tree } = build(steps)
        const { name } =
          sorted.find((item) => item.size >= needed && (after === null || FitTree.compare(item, after) > 0)) ?? {}
        expect(FitTree.first(tree, needed, after)?.name).toBe(name)
        expect(listed(tree).map(({ name }) => name)).toEqual(sorted.map(({ name }) => name))
      }),
      { numRuns: 2000, seed: 3 }
    )
  })

  it("leaves an earlier tree as it was", () => {
    const one = FitTree.insert(null, { key: 1, name: "a", size: 1 })
    FitTree.insert(one, { key: 0, name: "b", size: 5 })
    FitTree.remove(one, { key: 1, name: "a" })
    expect(listed(one).map(({ name }) => name)).toEqual(["a"])
  })

  it("stays flat when items come in order", () => {
    let tree: FitTree.FitTree = null
    for (let at = 0; at < 10_000; at++) tree = FitTree.insert(tree, { key: at, name: `local/cuda:${at}`, size: at })
    expect(depth(tree)).toBeLessThan(50)
  })
})
