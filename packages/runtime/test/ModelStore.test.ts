import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, TestClock } from "effect"
import { LocalDevices } from "../src/LocalDevices.ts"
import { scan } from "../src/ModelScan.ts"
import { ModelStore } from "../src/ModelStore.ts"
import { RuntimeConfig } from "../src/RuntimeConfig.ts"
import { writeTinyChatModel, writeTinyEmbeddingModel } from "../src/TestModels.ts"

let root = ""
beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "helix-store-"))
})
afterEach(() => fs.rmSync(root, { recursive: true, force: true }))

const chat = (...name: ReadonlyArray<string>) => {
  const folder = path.join(root, ...name)
  writeTinyChatModel(folder)
  return folder
}
const settings = (folder: string, value: unknown) =>
  fs.writeFileSync(path.join(folder, "helixflow.json"), JSON.stringify(value))

describe("the model store", () => {
  it("names a model by its folder's path below the models directory", () => {
    chat("one")
    writeTinyEmbeddingModel(path.join(root, "org", "two"))
    const { models } = scan([root])
    assert.deepStrictEqual([...models.keys()], ["one", "org/two"])
    assert.deepStrictEqual(
      [...models.values()].map(({ spec }) => spec.task),
      ["text-generation", "embedding"]
    )
  })

  it("honours what helixflow.json says", () => {
    const folder = chat("one")
    settings(folder, { id: "renamed", aliases: ["gpt-4o"], memory: "1.5GiB", replicas: 2, context: 64, slots: 3 })
    const { names } = scan([root])
    const spec = names.get("gpt-4o")?.spec
    assert.strictEqual(names.get("renamed")?.spec, spec)
    assert.isUndefined(names.get("one"))
    const said: Readonly<Record<string, unknown>> = { ...spec }
    assert.deepInclude(said, { id: "renamed", weights: 1.5 * 2 ** 30, replicas: 2, context: 64, slots: 3 })
  })

  it("refuses a fallback that there is not, that does something else, or that comes back, and says so", () => {
    settings(chat("a"), { fallback: ["b", "helper"] })
    settings(chat("b"), { fallback: ["c"] })
    settings(chat("c"), { fallback: ["other"], aliases: ["helper"] })
    settings(chat("other"), { id: "d" })
    settings(chat("self"), { fallback: ["self"] })
    settings(chat("round"), { fallback: ["d", "trip"] })
    settings(chat("trip"), { fallback: ["round"] })
    settings(chat("vague"), { fallback: ["vectors"] })
    writeTinyEmbeddingModel(path.join(root, "vectors"))
    settings(chat("sound"), { fallback: ["self", "d"] })
    const first = scan([root])
    assert.deepStrictEqual([...first.models.keys()].sort(), ["a", "b", "d", "sound", "vectors"])
    assert.deepStrictEqual(first.models.get("sound")?.spec.fallback.map(String), ["self", "d"])
    assert.isUndefined(first.names.get("helper"))
    const reasons = Object.fromEntries([...first.refused].map(([id, { reason }]) => [id, reason]))
    assert.deepStrictEqual(reasons, {
      c: "`fallback`: there is no model `other`",
      self: "`fallback`: it comes back to the model itself: self -> self",
      round: "`fallback`: it comes back to the model itself: round -> trip -> round",
      trip: "`fallback`: it comes back to the model itself: trip -> round -> trip",
      vague: "`fallback`: `vectors` is for embedding, not for text-generation"
    })
    settings(path.join(root, "c"), { fallback: ["d"], aliases: ["helper"] })
    assert.isDefined(scan([root]).names.get("helper"))
  })

  it("computes tiny text models with one thread, unless another number is said", () => {
    chat("tiny")
    settings(chat("said"), { threads: 3 })
    writeTinyEmbeddingModel(path.join(root, "vectors"))
    const { models } = scan([root])
    const threads = Object.fromEntries([...models].map(([name, model]) => [name, model.threads]))
    assert.deepStrictEqual(threads, { said: 3, tiny: 1, vectors: null })
  })

  it("takes over where a model's operator wants its replicas, and the pool's policy where nothing is said", () => {
    chat("any")
    settings(chat("one"), {
      replicas: { min: 1, max: 3 },
      policy: "affinity",
      placing: { kind: "cuda", name: "H100", devices: ["cuda:0", "local/cuda:1"], spread: true, notBeside: ["any"] }
    })
    const { models } = scan([root], { policy: "least-loaded" })
    const [any, one] = [models.get("any")?.spec, models.get("one")?.spec]
    assert.deepStrictEqual([any?.policy, any?.replicas, any?.placing.minReplicas], ["least-loaded", 1, 0])
    assert.deepStrictEqual([one?.policy, one?.replicas], ["affinity", 3])
    const placing: Readonly<Record<string, unknown>> = { ...one?.placing }
    assert.deepInclude(placing, {
      minReplicas: 1,
      kind: "cuda",
      name: "H100",
      devices: ["cuda:0", "local/cuda:1"],
      spread: true,
      notBeside: ["any"]
    })
  })

  it("refuses wishes that can't be meant, and says which", () => {
    const refusedFor = (value: unknown) => {
      settings(chat("one"), value)
      return scan([root]).refused.get("one")?.message ?? ""
    }
    assert.match(refusedFor({ replicas: { min: 3, max: 2 } }), /`replicas`: "min" is 3, more than "max", which is 2/)
    assert.match(
      refusedFor({ placing: { devices: ["gpu 0"] } }),
      /`placing.devices.0`: `gpu 0` is not a device such as cuda:0/
    )
    assert.match(refusedFor({ placing: { kind: "tpu" } }), /`placing.kind`/)
    assert.match(refusedFor({ placing: { beside: ["x"] } }), /`placing.beside`/)
    assert.match(refusedFor({ policy: "random" }), /`policy`/)
    assert.match(refusedFor({ placing: { split: 0 } }), /`placing.split`/)
  })

  it("splits a program of its own over devices, and refuses to split a model of ONNX Runtime", () => {
    settings(chat("one"), { placing: { split: 2 } })
    const served = path.join(root, "served")
    fs.mkdirSync(served)
    fs.writeFileSync(path.join(served, "server.json"), JSON.stringify({ command: ["s"], memory: 1000, context: 8 }))
    settings(served, { placing: { split: { devices: 4, overhead: "1KiB" } } })
    const { models, refused } = scan([root])
    assert.match(refused.get("one")?.message ?? "", /`placing.split`: ONNX Runtime computes a model on one device/)
    const spec = models.get("served")?.spec
    assert.deepStrictEqual([spec?.placing.split, Number(spec?.claimOn("cpu"))], [4, 250 + 1024])
  })

  it("lets a model's operator choose what computes it", () => {
    chat("any")
    settings(chat("one"), { engine: "binding" })
    settings(chat("other"), { engine: "tensorrt" })
    const { models, refused } = scan([root])
    assert.strictEqual(models.get("any")?.engine, "auto")
    assert.strictEqual(models.get("one")?.engine, "binding")
    assert.match(refused.get("other")?.message ?? "", /`engine`/)
  })

  it("charges on each kind of device what the file takes that is loaded there, and the most where no kind is known", () => {
    const folder = chat("one")
    writeTinyChatModel(folder, { precision: "float16", file: "onnx/model_fp16.onnx" })
    const specOf = (...kinds: ReadonlyArray<"cpu" | "cuda">) =>
      scan([root], { kinds: new Set(kinds) }).models.get("one")?.spec
    const [processor, gpu, both] = [specOf("cpu"), specOf("cuda"), specOf("cuda", "cpu")]
    assert.strictEqual(processor?.kvPerToken, 2 * (gpu?.kvPerToken ?? 0))
    assert.strictEqual(both?.kvPerToken, processor?.kvPerToken)
    assert.strictEqual(both?.weights, Math.max(processor?.weights ?? 0, gpu?.weights ?? 0))
    assert.deepStrictEqual(both?.onKinds, { ...processor?.onKinds, ...gpu?.onKinds })
    assert.deepStrictEqual(both?.footprintOn("cpu"), processor?.onKinds.cpu)
    assert.strictEqual(both?.kvBytesOn("cuda"), (both?.kvBytesOn("cpu") ?? 0) / 2)
  })

  it("believes its operator's memory, of every kind of device or of those that it is said of", () => {
    const specWith = (memory: unknown) => {
      settings(chat("one"), { memory })
      const { models, refused } = scan([root], { kinds: new Set(["cpu", "cuda"]) })
      return models.get("one")?.spec ?? refused.get("one")?.message
    }
    const declaredOf = (memory: unknown) => {
      const spec = specWith(memory)
      if (typeof spec !== "object") return spec
      return (["cpu", "cuda"] as const).map((kind) => {
        const { declared, weights } = spec.footprintOn(kind)
        return declared ? Number(weights) : "estimated"
      })
    }
    assert.deepStrictEqual(declaredOf("2GiB"), [2 ** 31, 2 ** 31])
    assert.deepStrictEqual(declaredOf({ cpu: "2GiB", cuda: 1000 }), [2 ** 31, 1000])
    assert.deepStrictEqual(declaredOf({ cuda: "1GiB" }), ["estimated", 2 ** 30])
    assert.match(String(declaredOf("lots")), /`memory`.*lots/)
    assert.match(String(declaredOf({ cuda: "lots" })), /`memory.*lots/)
    assert.match(String(declaredOf({ gpu: "1GiB" })), /`memory.*gpu/)
  })

  it("charges the KV cache of every slot and the kept prefixes to a replica", () => {
    chat("one")
    const spec = scan([root]).models.get("one")?.spec
    assert.isDefined(spec)
    if (spec === undefined) return
    assert.isAbove(spec.kvPerToken, 0)
    assert.strictEqual(
      Number(spec.claimOn("cpu")),
      spec.weights + spec.kvPerToken * spec.context * spec.slots + spec.prefixCache
    )
  })

  it("refuses a model with a setting it does not know, naming it, and serves the others", () => {
    settings(chat("bad"), { replica: 2 })
    chat("good")
    const { models, refused } = scan([root])
    assert.deepStrictEqual([...models.keys()], ["good"])
    assert.match(refused.get("bad")?.message ?? "", /`replica`.*helixflow\.json/)
  })

  it("refuses a folder that can't be served, with the reason and the file", () => {
    fs.rmSync(path.join(chat("bad"), "tokenizer.json"))
    assert.match(scan([root]).refused.get("bad")?.message ?? "", /tokenizer\.json/)
  })

  it("prefers the earlier directory for an id that two have, and an id over an alias", () => {
    const first = chat("a", "one")
    chat("b", "one")
    settings(chat("b", "two"), { aliases: ["one"] })
    const { models, names } = scan([path.join(root, "a"), path.join(root, "b")])
    assert.strictEqual(models.get("one")?.folder, first)
    assert.strictEqual(names.get("one")?.folder, first)
  })

  it("has no models where there is no directory", () => {
    assert.strictEqual(scan([path.join(root, "absent")]).models.size, 0)
  })
})

describe("a running server's models", () => {
  const store = ModelStore.layer.pipe(
    Layer.provide(LocalDevices.layer),
    Layer.provide(RuntimeConfig.layer),
    Layer.provide(
      Layer.unwrapEffect(
        Effect.sync(() => Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["HELIX_MODELS_DIR", root]]))))
      )
    )
  )
  const ids = Effect.flatMap(ModelStore, ({ models }) => Effect.map(models, (all) => all.map(({ id }) => String(id))))

  it.effect("are found when they are asked for, though they came after its start", () =>
    Effect.gen(function* () {
      const { find, refresh, refused } = yield* ModelStore
      assert.deepStrictEqual(yield* ids, [])
      chat("one")
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* find("one")).spec.id, "one")
      const before = yield* Effect.flatMap(ModelStore, ({ models }) => models)

      settings(chat("org", "two"), { aliases: ["second"] })
      settings(chat("bad"), { slots: 0 })
      yield* TestClock.adjust("1 second")
      yield* refresh
      assert.deepStrictEqual(yield* ids, ["one", "org/two"])
      assert.strictEqual((yield* find("second")).spec.id, "org/two")
      assert.deepStrictEqual(
        (yield* refused).map(({ id }) => id),
        ["bad"]
      )
      // what has not changed was not read again
      assert.strictEqual((yield* find("one")).spec, before[0])
    }).pipe(Effect.provide(store))
  )

  it.effect("are what their folders say now, and gone when these are", () =>
    Effect.gen(function* () {
      const folder = chat("one")
      const { find, models, refresh } = yield* ModelStore
      yield* TestClock.adjust("1 second")
      yield* refresh
      const first = yield* models
      yield* TestClock.adjust("1 second")
      yield* refresh
      assert.strictEqual(yield* models, first)

      settings(folder, { slots: 3 })
      yield* TestClock.adjust("1 second")
      yield* refresh
      assert.strictEqual((yield* find("one")).spec.slots, 3)

      fs.rmSync(folder, { recursive: true })
      yield* TestClock.adjust("1 second")
      yield* refresh
      assert.deepStrictEqual(yield* ids, [])
      assert.strictEqual((yield* Effect.flip(find("one")))._tag, "ModelNotFound")
    }).pipe(Effect.provide(store))
  )

  it.effect("of one name are its versions, each with its share, which is kept in a file", () =>
    Effect.gen(function* () {
      chat("org", "name", "v1")
      chat("org", "name", "v2")
      const file = path.join(root, "org", "name", "versions.json")
      const { find, look, refused, versioned, versions, weigh } = yield* ModelStore
      yield* look
      assert.strictEqual((yield* Effect.flip(find("org/name")))._tag, "ModelNotFound")
      assert.deepStrictEqual(
        (yield* versions("org/name")).versions.map(({ spec, weight }) => [spec.id, weight]),
        [
          ["org/name/v1", 0],
          ["org/name/v2", 0]
        ]
      )
      yield* weigh("org/name", { v1: 0.25, v2: 0.75 })
      assert.deepStrictEqual(JSON.parse(fs.readFileSync(file, "utf8")), { weights: { v1: 0.25, v2: 0.75 } })
      assert.deepStrictEqual(
        (yield* versioned).map(({ id }) => String(id)),
        ["org/name"]
      )
      assert.strictEqual((yield* find("org/name")).spec.id, "org/name/v2")
      const drawn = new Set<string>()
      for (let n = 0; n < 50; n++) drawn.add((yield* find("org/name", () => `conversation ${n}`)).spec.id)
      assert.deepStrictEqual([...drawn].sort(), ["org/name/v1", "org/name/v2"])

      const invalid = yield* Effect.flip(weigh("org/name", { v3: 1 }))
      assert.deepInclude(invalid, { _tag: "InvalidRequest", param: "weights.v3" })
      for (const name of ["org", "..", "org/name/v1", "nobody"]) {
        assert.strictEqual((yield* Effect.flip(weigh(name, { v1: 1 })))._tag, "ModelNotFound")
      }

      fs.writeFileSync(file, JSON.stringify({ weights: { v1: 0.5 } }))
      yield* look
      assert.deepStrictEqual(
        (yield* refused).map(({ error, id }) => [id, error.file]),
        [["org/name", file]]
      )
      assert.strictEqual((yield* Effect.flip(find("org/name")))._tag, "LoadFailed")
    }).pipe(Effect.provide(store))
  )

  it.effect("are seen to have changed without being read again", () =>
    Effect.gen(function* () {
      const folder = chat("org", "name", "v1")
      const { hasChanged, look, weigh } = yield* ModelStore
      yield* look
      yield* weigh("org/name", { v1: 1 })
      assert.isFalse(yield* hasChanged)
      fs.utimesSync(path.join(folder, "onnx", "model.onnx"), new Date(0), new Date(1_000))
      assert.isTrue(yield* hasChanged)
      yield* look
      assert.isFalse(yield* hasChanged)
      fs.utimesSync(path.join(root, "org", "name", "versions.json"), new Date(0), new Date(1_000))
      assert.isTrue(yield* hasChanged)
    }).pipe(Effect.provide(store))
  )
})
