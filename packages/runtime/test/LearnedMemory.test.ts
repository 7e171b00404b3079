import { assert, describe, it } from "@effect/vitest"
import { Bytes, ModelId } from "@helixflow/schema/Ids"
import { ModelSpec } from "@helixflow/schema/Model"
import { Effect } from "effect"
import { LearnedMemory } from "../src/LearnedMemory.ts"
import * as Storage from "../src/Storage.ts"

/** Weights of 1,000 by its files, and a KV cache of 400. */
const model = (figures: Partial<ModelSpec> = {}) => {
  const { declared = false, weights = Bytes.make(1000) } = figures
  const footprint = { declared, weights, kvPerToken: Bytes.make(10) }
  return new ModelSpec({
    id: ModelId.make("m"),
    aliases: [],
    task: "text-generation",
    context: 20,
    slots: 2,
    ...footprint,
    onKinds: { cpu: footprint, cuda: footprint },
    replicas: 1,
    policy: "best-fit",
    sampling: {},
    created: 0,
    ...figures
  })
}
const spec = model()
const claimed = (memory: typeof LearnedMemory.Service, spec: ModelSpec) =>
  Number(memory.applied([spec])[0]?.footprintOn("cpu").weights)

describe("what a model takes", () => {
  it.effect("is the estimate until it was seen, and then what was seen with a margin", () =>
    Effect.gen(function* () {
      const memory = yield* LearnedMemory
      assert.strictEqual(claimed(memory, spec), 1000)
      yield* memory.observe({ spec, kind: "cpu", peak: 2000, fresh: true })
      assert.strictEqual(claimed(memory, spec), 2100)
    }).pipe(Effect.provide(LearnedMemory.layerMemory))
  )

  it.effect("does not count the KV cache that requests have filled, and never falls far below the estimate", () =>
    Effect.gen(function* () {
      const memory = yield* LearnedMemory
      yield* memory.observe({ spec, kind: "cpu", peak: 600, fresh: true })
      assert.strictEqual(claimed(memory, spec), 750)
      yield* memory.observe({ spec, kind: "cpu", peak: 1000, fresh: false })
      assert.strictEqual(claimed(memory, spec), 750)
      yield* memory.observe({ spec, kind: "cpu", peak: 1800, fresh: false })
      assert.strictEqual(claimed(memory, spec), 1470)
    }).pipe(Effect.provide(LearnedMemory.layerMemory))
  )

  it.effect("is what its operator says, whatever was seen", () =>
    Effect.gen(function* () {
      const memory = yield* LearnedMemory
      const declared = model({ declared: true })
      yield* memory.observe({ spec: declared, kind: "cpu", peak: 9000, fresh: true })
      assert.strictEqual(claimed(memory, declared), 1000)
      // nor does it say anything of an estimate that is the same
      assert.strictEqual(claimed(memory, spec), 1000)
    }).pipe(Effect.provide(LearnedMemory.layerMemory))
  )

  it.effect("is learned for each context, number of slots, kind of device and version of the files", () =>
    Effect.gen(function* () {
      const memory = yield* LearnedMemory
      yield* memory.observe({ spec, kind: "cpu", peak: 2000, fresh: true })
      for (const other of [model({ context: 21 }), model({ slots: 3 })])
        assert.strictEqual(claimed(memory, other), 1000)
      assert.strictEqual(claimed(memory, model({ weights: Bytes.make(1001) })), 1001)
      assert.strictEqual(Number(memory.applied([spec])[0]?.footprintOn("cuda").weights), 1000)
    }).pipe(Effect.provide(LearnedMemory.layerMemory))
  )

  it.effect("is changed by what was seen on devices of a kind on that kind alone", () =>
    Effect.gen(function* () {
      const memory = yield* LearnedMemory
      const { declared } = spec
      // by its files 800 of a GPU, with half of the KV cache; of what is seen late that is not its own
      const cuda = { declared, weights: Bytes.make(800), kvPerToken: Bytes.make(5) }
      const mixed = model({ onKinds: { ...spec.onKinds, cuda } })
      yield* memory.observe({ spec: mixed, kind: "cuda", peak: 1200, fresh: false })
      const [learned] = memory.applied([mixed])
      assert.strictEqual(Number(learned?.footprintOn("cuda").weights), 1050)
      assert.deepStrictEqual(learned?.footprintOn("cpu"), mixed.footprintOn("cpu"))
      yield* memory.observe({ spec: mixed, kind: "cpu", peak: 3000, fresh: true })
      const [both] = memory.applied([mixed])
      assert.deepStrictEqual([both?.claimOn("cpu"), both?.claimOn("cuda")].map(Number), [3150 + 400, 1050 + 200])
    }).pipe(Effect.provide(LearnedMemory.layerMemory))
  )

  it.effect("gives the same array as long as nothing changes", () =>
    Effect.gen(function* () {
      const memory = yield* LearnedMemory
      const specs = [spec]
      const before = memory.applied(specs)
      assert.strictEqual(memory.applied(specs), before)
      yield* memory.observe({ spec, kind: "cpu", peak: 2000, fresh: true })
      assert.notStrictEqual(memory.applied(specs), before)
    }).pipe(Effect.provide(LearnedMemory.layerMemory))
  )

  it.effect("is known to the next process that has the database", () =>
    Effect.gen(function* () {
      yield* Effect.flatMap(LearnedMemory, (memory) =>
        memory.observe({ spec, kind: "cpu", peak: 2000, fresh: true })
      ).pipe(Effect.provide(LearnedMemory.layer))
      const after = yield* LearnedMemory.pipe(Effect.provide(LearnedMemory.layer))
      assert.strictEqual(claimed(after, spec), 2100)
    }).pipe(Effect.provide(Storage.layerMemory))
  )
})
