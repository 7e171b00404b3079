/** What the engine computes on WebGPU, where a GPU, or a driver that does without one, is at hand. */
import * as path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import type { LoadEngine } from "../src/Engine.ts"
import { whyNot } from "../src/OnnxDeviceCheck.ts"
import { loadOnnxEngine } from "../src/OnnxEngine.ts"
import { writeTinyChatModel, writeTinyEmbeddingModel } from "../src/TestModels.ts"
import { drain, sequence } from "./sequences.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const options = { model: "tiny", context: 512, slots: 4, threads: 1 }
const device = { kind: "webgpu", index: 0 } as const
const root = temporaryFolder()

const textsOf = async (load: LoadEngine, folder: string) => {
  const engine = await load({ ...options, path: folder, task: "text-generation" })
  if (engine.task !== "text-generation") throw new Error("not a text engine")
  for (const [index, text] of ["x", "some words", "many words ".repeat(30)].entries()) {
    engine.submit(sequence(`${index}`, engine.tokenize({ _tag: "Text", text, addSpecialTokens: true })))
  }
  const { transcripts } = await drain(engine)
  await engine.close()
  return [...transcripts].sort().map(([, { text }]) => text)
}

const vectorOf = async (load: LoadEngine, folder: string) => {
  const engine = await load({ ...options, path: folder, task: "embedding" })
  if (engine.task !== "embedding") throw new Error("not an embedding engine")
  const input = engine.tokenize({ _tag: "Text", text: "some words", addSpecialTokens: true })
  const embeddings = engine.embed("one", [input])
  while (engine.active > 0) await engine.step()
  const [bytes = new Uint8Array(0)] = (await embeddings).vectors
  await engine.close()
  return [...new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)]
}

const onDevice: LoadEngine = (given) => loadOnnxEngine({ ...given, device })

describe.skipIf((await whyNot(device)) !== null)("on WebGPU", () => {
  it("a model gives the text that it gives on a processor", async () => {
    const folder = path.join(root, "plain")
    writeTinyChatModel(folder)
    expect(await textsOf(onDevice, folder)).toEqual(await textsOf(loadOnnxEngine, folder))
  })

  it("a model with GroupQueryAttention gives that text too, or is refused where the driver computes it wrongly", async () => {
    const folder = path.join(root, "grouped")
    writeTinyChatModel(folder, { attention: "gqa" })
    const texts = await textsOf(onDevice, folder).catch((cause) => String(cause))
    if (typeof texts === "string") expect(texts).toMatch(/computes the graph wrongly/)
    else expect(texts).toEqual(await textsOf(loadOnnxEngine, folder))
  })

  it("texts have the vectors that they have on a processor", async () => {
    const folder = path.join(root, "embedding")
    writeTinyEmbeddingModel(folder)
    const [vector, other] = [await vectorOf(onDevice, folder), await vectorOf(loadOnnxEngine, folder)]
    expect(vector.reduce((sum, value, at) => sum + value * (other[at] ?? 0), 0)).toBeCloseTo(1, 5)
  })

  it("nothing is computed through the C API", async () => {
    const folder = path.join(root, "ffi")
    writeTinyChatModel(folder)
    const load = loadOnnxEngine({ ...options, path: folder, task: "text-generation", device, engine: "ffi" })
    await expect(load).rejects.toThrow(/`engine` `ffi` computes on the processor alone/)
  })
})
