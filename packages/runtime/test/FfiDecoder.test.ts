import * as path from "node:path"
import { setImmediate } from "node:timers/promises"
import { afterEach, describe, expect, it, vi } from "vitest"
import { FfiDecoder } from "../src/FfiDecoder.ts"
import { type LoadDecoderOptions, loadDecoder } from "../src/LoadDecoder.ts"
import { OnnxDecoder } from "../src/OnnxDecoder.ts"
import { loadOnnxEngine } from "../src/OnnxEngine.ts"
import { OrtApi } from "../src/OrtApi.ts"
import { writeTinyChatModel } from "../src/TestModels.ts"
import { drain, sequence, stopping } from "./sequences.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const root = temporaryFolder()
const folders = { plain: path.join(root, "plain"), grouped: path.join(root, "grouped") }
writeTinyChatModel(folders.plain, { max_position_embeddings: 4096 })
writeTinyChatModel(folders.grouped, { max_position_embeddings: 4096, attention: "gqa" })

const load = (folder: string, options: Partial<LoadDecoderOptions> = {}) =>
  loadDecoder({
    model: "tiny",
    graph: path.join(folder, "onnx", "model.onnx"),
    slidingWindow: null,
    vocabulary: null,
    slots: 4,
    threads: 1,
    patch: true,
    ...options
  })

afterEach(() => {
  vi.restoreAllMocks()
})

/** Long enough that it can't be over before what follows is done. */
const LONG = Array.from({ length: 4000 }, (_, index) => 6 + (index % 300))

describe.each(Object.entries(folders))("a decoder on the C API, %s", (_, folder) => {
  const prefill = { slot: 0, tokens: LONG, from: 0, logits: true }

  it("lets messages in while it computes", async () => {
    const decoder = await load(folder)
    decoder.reserve(LONG.length, 1)
    let served = false
    const message = setImmediate().then(() => {
      served = true
    })
    await decoder.prefill(prefill)
    expect(served).toBe(true)
    await message
    await decoder.close()
  })

  it("stops when it is told to, and computes the same afterwards", async () => {
    const decoder = await load(folder)
    decoder.reserve(LONG.length, 1)
    const whole = (await decoder.prefill(prefill))?.slice()
    const stopped = decoder.prefill(prefill)
    decoder.abort?.()
    await expect(stopped).rejects.toThrow(/terminate/)
    // nothing runs: nothing to stop
    decoder.abort?.()
    expect(await decoder.prefill(prefill)).toEqual(whole)
    await decoder.close()
  })

  it("closes in the middle of a computation, and computes no more", async () => {
    const decoder = await load(folder)
    decoder.reserve(LONG.length, 1)
    const stopped = decoder.prefill(prefill)
    const closed = decoder.close()
    await expect(stopped).rejects.toThrow(/terminate/)
    await closed
    await expect(decoder.prefill(prefill)).rejects.toThrow("the model is closed")
  })

  it("fails with the runtime's own message, and goes on", async () => {
    const decoder = await load(folder)
    const tokens = [100_000]
    await expect(decoder.prefill({ ...prefill, tokens })).rejects.toThrow(/indices element out of data bounds/)
    expect(await decoder.prefill({ ...prefill, tokens: [10] })).toHaveLength(decoder.vocabulary)
    await decoder.close()
  })

  it("releases every tensor that it makes", async () => {
    const made = vi.spyOn(OrtApi.prototype, "createTensor")
    const released = vi.spyOn(OrtApi.prototype, "releaseTensor")
    const decoder = await load(folder)
    for (let length = 0; length < 300; length++) {
      decoder.reserve(length + 1, 2)
      await decoder.decode({ first: 0, tokens: [10, 11], lengths: [length, length] })
    }
    // what is held besides a step's own are views of the cache as it is
    expect(made.mock.calls.length - released.mock.calls.length).toBeLessThanOrEqual(8)
    await decoder.close()
    const pointers = (results: ReadonlyArray<unknown>) => results.map(String).sort()
    expect(pointers(released.mock.calls.map(([pointer]) => pointer))).toEqual(
      pointers(made.mock.results.map(({ value }) => value))
    )
  })

  it("forgets a sequence that is cancelled while its prompt is computed", async () => {
    const engine = await loadOnnxEngine({
      model: "tiny",
      path: folder,
      task: "text-generation",
      context: 4096,
      slots: 4,
      threads: 1,
      engine: "ffi"
    })
    if (engine.task !== "text-generation") throw new Error("not a text engine")
    const prompt = (text: string) => engine.tokenize({ _tag: "Text", text, addSpecialTokens: true })
    engine.submit(sequence("alone", prompt("some words")))
    const alone = (await drain(engine)).transcripts.get("alone")
    engine.submit(sequence("long", prompt("y".repeat(3000)), { stopping: stopping({ maxTokens: 1 }) }))
    const step = engine.step()
    engine.submit(sequence("late", prompt("some words")))
    engine.cancel("long")
    expect(await step).toEqual({ batches: [], failures: [] })
    const { transcripts, failures } = await drain(engine)
    expect([...failures]).toEqual([])
    expect(transcripts.get("late")).toEqual(alone)
    expect([...transcripts.keys()]).toEqual(["late"])
    await engine.close()
  })
})

describe("how a model is computed", () => {
  it.each([
    ["auto", FfiDecoder],
    ["ffi", FfiDecoder],
    ["binding", OnnxDecoder]
  ] as const)("is what was asked for: %s", async (engine, kind) => {
    for (const folder of Object.values(folders)) {
      const decoder = await load(folder, { engine })
      expect(decoder).toBeInstanceOf(kind)
      await decoder.close()
    }
  })

  it("falls back to the binding where the library can't be loaded, saying why", async () => {
    const told = vi.spyOn(console, "error").mockImplementation(() => {})
    const library = path.join(root, "libonnxruntime.so")
    const decoder = await load(folders.grouped, { library })
    expect(decoder).toBeInstanceOf(OnnxDecoder)
    expect(told.mock.calls).toEqual([[expect.stringContaining(`library is missing: ${library}`)]])
    await decoder.close()
    await expect(load(folders.grouped, { library, engine: "ffi" })).rejects.toThrow(/library is missing/)
  })

  it("is the binding for a graph that has to be patched and may not", async () => {
    const decoder = await load(folders.plain, { patch: false })
    expect(decoder).toBeInstanceOf(OnnxDecoder)
    await decoder.close()
    await expect(load(folders.plain, { patch: false, engine: "ffi" })).rejects.toThrow(/makes its cache/)
  })
})
