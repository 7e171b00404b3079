import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { KvCache } from "../src/KvCache.ts"

const shapes = [
  { heads: 2, dimension: 3 },
  { heads: 1, dimension: 2 }
]
const SLOTS = 4

/** Columns `[heads, count, dimension]` of numbers that tell where they belong. */
const columns = (index: number, start: number, count: number) => {
  const { heads, dimension } = shapes[index] ?? { heads: 0, dimension: 0 }
  const data = Float32Array.from({ length: heads * count * dimension }, (_, at) => {
    const head = Math.floor(at / (count * dimension))
    const column = Math.floor(at / dimension) % count
    return (start + column) * 100 + head * 10 + (at % dimension)
  })
  return { data, length: count, row: 0, from: 0, count }
}

const operation = FastCheck.oneof(
  FastCheck.record({
    kind: FastCheck.constant("append" as const),
    slot: FastCheck.nat({ max: SLOTS - 1 }),
    count: FastCheck.integer({ min: 1, max: 90 })
  }),
  FastCheck.record({
    kind: FastCheck.constantFrom("copy" as const, "swap" as const),
    slot: FastCheck.nat({ max: SLOTS - 1 }),
    other: FastCheck.nat({ max: SLOTS - 1 })
  }),
  FastCheck.record({ kind: FastCheck.constant("clear" as const), slot: FastCheck.nat({ max: SLOTS - 1 }) })
)

describe("KvCache", () => {
  it.prop("keeps every slot's columns through growing, shrinking and moving", [FastCheck.array(operation)], ([ops]) => {
    const cache = new KvCache(shapes, SLOTS, "float32", 1)
    // the numbers that each slot's columns started with
    let slots: Array<ReadonlyArray<number>> = Array.from({ length: SLOTS }, () => [])
    let next = 0
    for (const op of ops) {
      const held = slots[op.slot] ?? []
      if (op.kind === "append") {
        const longest = Math.max(held.length + op.count, ...slots.map(({ length }) => length))
        cache.reserve(longest, SLOTS)
        for (const index of shapes.keys()) cache.write(index, op.slot, held.length, columns(index, next, op.count))
        slots[op.slot] = [...held, ...Array.from({ length: op.count }, (_, column) => next + column)]
        next += op.count
      } else if (op.kind === "clear") {
        cache.clear(op.slot)
        slots[op.slot] = []
      } else if (op.kind === "copy") {
        cache.copy(op.slot, op.other)
        slots[op.other] = held
      } else {
        cache.swap(op.slot, op.other)
        slots = slots.map((slot, at) => (at === op.slot ? (slots[op.other] ?? []) : at === op.other ? held : slot))
      }
    }
    const longest = Math.max(...slots.map(({ length }) => length))
    cache.reserve(longest, SLOTS)
    expect(cache.capacity).toBeGreaterThanOrEqual(longest)
    expect(cache.capacity).toBeLessThan(Math.max(64, 2 * (longest + 64)))
    for (const [slot, numbers] of slots.entries()) {
      for (const [index, { heads, dimension }] of shapes.entries()) {
        const expected = Array.from({ length: heads }, (_, head) =>
          numbers.map((number) => Array.from({ length: dimension }, (_, at) => number * 100 + head * 10 + at))
        ).flat(2)
        expect([...cache.gather(index, slot, numbers.length)]).toEqual(expected)
      }
    }
  })

  it("gives the first slots as one view of the memory itself", () => {
    const cache = new KvCache(shapes, SLOTS)
    cache.write(0, 1, 0, columns(0, 5, 1))
    const view = cache.view(0, 0, 2)
    expect(view.length).toBe(2 * 2 * cache.capacity * 3)
    expect([...view.subarray(2 * cache.capacity * 3, 2 * cache.capacity * 3 + 3)]).toEqual([500, 501, 502])
  })

  it("takes single columns out of a whole cache that a graph returned", () => {
    const cache = new KvCache(shapes, SLOTS)
    // two rows of one head with three columns of two numbers
    const data = Float32Array.from({ length: 12 }, (_, at) => at)
    cache.write(1, 3, 0, { data, length: 3, row: 1, from: 2, count: 1 })
    expect([...cache.gather(1, 3, 1)]).toEqual([10, 11])
  })

  it("is as large as the longest sequence needs, in buckets", () => {
    const cache = new KvCache(shapes, SLOTS)
    cache.reserve(65, SLOTS)
    expect(cache.capacity).toBe(128)
    cache.reserve(300, SLOTS)
    expect(cache.capacity).toBe(320)
    cache.reserve(200, SLOTS)
    expect(cache.capacity).toBe(320)
  })

  it("gives room back once steps have not needed half of it for a while, the sooner the more there is", () => {
    const cache = new KvCache(shapes, SLOTS, "float32", 8)
    const stepsUntilSmaller = (from: number, tokens: number) => {
      cache.reserve(from, SLOTS)
      for (let steps = 1; ; steps++) {
        cache.reserve(tokens, SLOTS)
        if (cache.capacity < from) return steps
      }
    }
    expect(stepsUntilSmaller(256, 128)).toBe(8)
    expect(cache.capacity).toBe(128)
    expect(stepsUntilSmaller(1024, 64)).toBe(1)
    expect(cache.capacity).toBe(64)
  })

  it("keeps its room while one step in a while needs it", () => {
    const cache = new KvCache(shapes, SLOTS, "float32", 8)
    for (let stream = 0; stream < 5; stream++) {
      for (let length = 64; length <= 256; length += 32) {
        cache.reserve(length, SLOTS)
        if (stream > 0) expect(cache.capacity).toBe(256)
      }
    }
  })

  it("gives back in another slot what was read from one", () => {
    const cache = new KvCache(shapes, SLOTS)
    for (const index of shapes.keys()) cache.write(index, 1, 0, columns(index, 0, 40))
    const block = cache.read(1, 8, 16)
    cache.reserve(100, 2)
    cache.restore(3, 8, 16, block)
    expect(cache.read(3, 8, 16)).toEqual(block)
    for (const index of shapes.keys()) expect(cache.gather(index, 3, 24)).not.toEqual(cache.gather(index, 1, 24))
    cache.restore(3, 0, 8, cache.read(1, 0, 8))
    for (const index of shapes.keys()) expect(cache.gather(index, 3, 24)).toEqual(cache.gather(index, 1, 24))
  })
})
