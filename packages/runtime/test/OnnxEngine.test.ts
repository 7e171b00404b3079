import * as fs from "node:fs"
import * as path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { ContextLengthExceeded, EngineFailed, LoadFailed } from "@helixflow/schema/Errors"
import { type Embeddings, Sampling } from "@helixflow/schema/Generation"
import type { EmbeddingEngine, LoadEngine } from "../src/Engine.ts"
import { loadOnnxEngine, makeLoadOnnxEngine } from "../src/OnnxEngine.ts"
import { writeTinyChatModel, writeTinyEmbeddingModel } from "../src/TestModels.ts"
import { textEngineSuite } from "./engineSuite.ts"
import { drain, greedy, sequence } from "./sequences.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const loadOptions = { model: "model", context: 512, slots: 4, threads: 1 }
const binding: LoadEngine = (options) => loadOnnxEngine({ ...options, engine: "binding" })
const ffi: LoadEngine = (options) => loadOnnxEngine({ ...options, engine: "ffi" })
const unpatched: LoadEngine = (options) => makeLoadOnnxEngine({ patch: false })({ ...options, engine: "binding" })
/** A window that no sequence reaches: computed without padding all the same. */
const exactly =
  (load: LoadEngine): LoadEngine =>
  (options) => {
    const file = path.join(options.path, "config.json")
    const config = JSON.parse(fs.readFileSync(file, "utf8"))
    fs.writeFileSync(file, JSON.stringify({ ...config, sliding_window: 512 }))
    return load(options)
  }

textEngineSuite("plain attention", binding)
textEngineSuite("plain attention, weights beside the graph", binding, { externalData: true })
textEngineSuite("plain attention, unpatched", unpatched)
textEngineSuite("plain attention without position_ids", binding, { positionIds: false })
textEngineSuite("plain attention, one sequence at a time", exactly(binding))
textEngineSuite("GroupQueryAttention", binding, { attention: "gqa" })
textEngineSuite("GroupQueryAttention, unpatched", unpatched, { attention: "gqa" })

textEngineSuite("plain attention by the C API", ffi)
textEngineSuite("plain attention by the C API, weights beside the graph", ffi, { externalData: true })
textEngineSuite("plain attention by the C API, without position_ids", ffi, { positionIds: false })
textEngineSuite("plain attention by the C API, one sequence at a time", exactly(ffi))
textEngineSuite("GroupQueryAttention by the C API", ffi, { attention: "gqa" })

describe("every way to compute a model", () => {
  const root = temporaryFolder()
  const ways = [
    ["plain", {}, binding],
    ["plain, C API", {}, ffi],
    ["unpatched", {}, unpatched],
    ["without position_ids", { positionIds: false }, binding],
    ["without position_ids, C API", { positionIds: false }, ffi],
    ["exact", {}, exactly(binding)],
    ["exact, C API", {}, exactly(ffi)],
    ["grouped", { attention: "gqa" }, binding],
    ["grouped, C API", { attention: "gqa" }, ffi],
    ["grouped, unpatched", { attention: "gqa" }, unpatched]
  ] as const

  it("gives the same greedy text", async () => {
    const texts: Array<ReadonlyArray<string>> = []
    for (const [name, variant, load] of ways) {
      const folder = path.join(root, name)
      writeTinyChatModel(folder, variant)
      const engine = await load({ ...loadOptions, path: folder, task: "text-generation" })
      if (engine.task !== "text-generation") throw new Error("not a text engine")
      for (const [index, text] of ["x", "some words", "many words ".repeat(30)].entries()) {
        engine.submit(sequence(`${index}`, engine.tokenize({ _tag: "Text", text, addSpecialTokens: true })))
      }
      const { transcripts } = await drain(engine)
      texts.push([...transcripts].sort().map(([, { text }]) => text))
      await engine.close()
    }
    expect(texts[0]).toHaveLength(3)
    for (const other of texts) expect(other).toEqual(texts[0])
  })
})

describe("embeddings", () => {
  const folder = path.join(temporaryFolder(), "embedding")
  writeTinyEmbeddingModel(folder)
  const load = async (): Promise<EmbeddingEngine> => {
    const engine = await loadOnnxEngine({ ...loadOptions, path: folder, task: "embedding" })
    if (engine.task !== "embedding") throw new Error("not an embedding engine")
    return engine
  }
  const texts = ["a", "two words", "b".repeat(100), "naïve 世界", "two words", "c".repeat(40)]
  const vectorsOf = ({ vectors }: Embeddings) =>
    vectors.map((bytes) => [...new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)])
  const finish = async (engine: EmbeddingEngine) => {
    while (engine.active > 0) await engine.step()
  }

  it("are the same alone and among others, of length one, in the order of the inputs", async () => {
    const engine = await load()
    const inputs = texts.map((text) => engine.tokenize({ _tag: "Text", text, addSpecialTokens: true }))
    const together = engine.embed("together", inputs)
    const alone = inputs.map((input, index) => engine.embed(`alone${index}`, [input]))
    await finish(engine)
    const vectors = vectorsOf(await together)
    expect((await together).promptTokens).toBe(inputs.flat().length)
    for (const [index, vector] of vectors.entries()) {
      const [other] = vectorsOf((await alone[index]) ?? (await together))
      const cosine = vector.reduce((sum, value, at) => sum + value * (other?.[at] ?? 0), 0)
      expect(cosine).toBeCloseTo(1, 5)
    }
    expect(vectors[1]).toEqual(vectors[4])
    expect(vectors[0]).not.toEqual(vectors[1])
    await engine.close()
  })

  it("refuse what is too long or empty, without touching other requests", async () => {
    const engine = await load()
    const good = engine.embed("good", [engine.tokenize({ _tag: "Text", text: "good", addSpecialTokens: true })])
    const long = engine.tokenize({ _tag: "Text", text: "x".repeat(129), addSpecialTokens: true })
    await expect(engine.embed("long", [long])).rejects.toThrow(
      new ContextLengthExceeded({ context: 128, promptTokens: 129, maxTokens: null, param: "input" })
    )
    await expect(engine.embed("empty", [[]])).rejects.toThrow(EngineFailed)
    await finish(engine)
    expect((await good).dimensions).toBe(32)
    await engine.close()
  })

  it("are not computed for a request that was cancelled", async () => {
    const engine = await load()
    const tokens = engine.tokenize({ _tag: "Text", text: "never", addSpecialTokens: true })
    const cancelled = engine.embed("cancelled", Array(100).fill(tokens))
    engine.cancel("cancelled")
    expect(engine.active).toBe(0)
    await expect(cancelled).rejects.toThrow(/cancelled/)
    await engine.close()
  })
})

describe("loading", () => {
  const root = temporaryFolder()

  it("refuses a model for another task", async () => {
    writeTinyChatModel(path.join(root, "chat"))
    const load = loadOnnxEngine({ ...loadOptions, path: path.join(root, "chat"), task: "embedding" })
    await expect(load).rejects.toThrow(/for text-generation, not for embedding/)
  })

  it("takes folders of links, as a download cache has them, on the fast path too", async () => {
    const [files, links] = [path.join(root, "files"), path.join(root, "links")]
    writeTinyChatModel(files, { externalData: { files: 2 } })
    fs.mkdirSync(path.join(links, "onnx"), { recursive: true })
    for (const entry of fs.readdirSync(files, { recursive: true, withFileTypes: true })) {
      const file = path.join(entry.parentPath, entry.name)
      if (entry.isFile()) fs.symlinkSync(file, path.join(links, path.relative(files, file)))
    }
    const engine = await loadOnnxEngine({ ...loadOptions, path: links, task: "text-generation", engine: "ffi" })
    expect(engine.limits.vocabulary).toBe(320)
    await engine.close()
  })

  it("takes another file where the runtime refuses the best, and names all of them where it refuses each", async () => {
    const folder = path.join(root, "unknown operator")
    const [best, other] = ["model.onnx", "model_int8.onnx"].map((name) => path.join(folder, "onnx", name))
    writeTinyChatModel(folder, { scheme: "int8", file: "onnx/model_int8.onnx" })
    writeTinyChatModel(folder)
    // an operator of the same length that nobody has
    const spoil = (file = "") =>
      fs.writeFileSync(file, fs.readFileSync(file).toString("latin1").replaceAll("Softmax", "Hardmix"), "latin1")
    spoil(best)
    const options = { ...loadOptions, path: folder, task: "text-generation" } as const
    const engine = await loadOnnxEngine(options)
    expect(engine.limits.vocabulary).toBe(320)
    await engine.close()
    spoil(other)
    await expect(loadOnnxEngine(options)).rejects.toMatchObject({
      reason: expect.stringMatching(/model\.onnx: .*Hardmix.*; model_int8\.onnx: .*Hardmix/s),
      file: best
    })
  })

  it("ends completions with the tokenizer's own token too", async () => {
    const folder = path.join(root, "two ends")
    writeTinyChatModel(folder, { generationConfig: { eos_token_id: [0, 5] } })
    const engine = await loadOnnxEngine({ ...loadOptions, path: folder, task: "text-generation" })
    if (engine.task !== "text-generation") throw new Error("not a text engine")
    const prompt = engine.tokenize({ _tag: "Text", text: "x", addSpecialTokens: true })
    for (const end of [0, 5, 3]) {
      const sampling = Sampling.make({ ...greedy, logitBias: { [end]: 100 } })
      engine.submit(sequence(`${end}`, prompt, { sampling }))
    }
    const { transcripts } = await drain(engine)
    expect([...transcripts.values()].map(({ tokens, finish }) => [...tokens, finish]).sort()).toEqual([
      [0, "stop"],
      [3, "stop"],
      [5, "stop"]
    ])
    await engine.close()
  })

  it("refuses a graph that isn't known, naming its file", async () => {
    const folder = path.join(root, "wrong")
    writeTinyEmbeddingModel(folder)
    writeTinyChatModel(path.join(root, "other"))
    fs.copyFileSync(path.join(root, "other", "config.json"), path.join(folder, "config.json"))
    for (const name of ["modules.json", "1_Pooling/config.json"]) fs.rmSync(path.join(folder, name))
    const load = loadOnnxEngine({ ...loadOptions, path: folder, task: "text-generation" })
    await expect(load).rejects.toThrow(LoadFailed)
    await expect(load).rejects.toMatchObject({ file: path.join(folder, "onnx", "model.onnx") })
  })
})
