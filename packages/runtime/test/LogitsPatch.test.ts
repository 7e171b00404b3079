import * as path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { type DecoderGraph, recogniseDecoder } from "../src/DecoderGraph.ts"
import { loadDecoder } from "../src/LoadDecoder.ts"
import { makeLogitsPatch } from "../src/LogitsPatch.ts"
import { readOnnxFile } from "../src/OnnxFile.ts"
import { type WriteLlamaOptions, writeTinyChatModel } from "../src/TestModels.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const root = temporaryFolder()
const write = (name: string, options: WriteLlamaOptions) => {
  writeTinyChatModel(path.join(root, name), options)
  return path.join(root, name, "onnx", "model.onnx")
}
const options = { model: "tiny", slidingWindow: null, vocabulary: null, slots: 2, threads: 1 }
const tokens = [7, 8, 9, 10, 11]

const schemes: Readonly<Record<string, WriteLlamaOptions>> = {
  fp32: {},
  fp16: { scheme: "fp16" },
  int8: { scheme: "int8" },
  q8: { scheme: "q8" },
  q4: { scheme: "q4" },
  "half precision": { precision: "float16" },
  "GroupQueryAttention in q8": { attention: "gqa", scheme: "q8" }
}

describe("logits of some tokens", () => {
  for (const engine of ["ffi", "binding"] as const) {
    it.each(Object.entries(schemes))(`are those that the whole graph gives, ${engine}: %s`, async (name, variant) => {
      const graph = write(name, variant)
      const whole = await loadDecoder({ ...options, graph, engine: "binding", patch: false })
      const patched = await loadDecoder({ ...options, graph, engine, patch: true })
      const rows = (await whole.verify?.({ slot: 0, tokens, from: 0 }))?.slice()
      // the whole graph rounds by the run, or a chunk's rounding is its own
      const tolerance = name === "int8" || name === "half precision" ? 0.2 : 1e-4
      const expectClose = (given: Float32Array | null | undefined, expected: Float32Array) => {
        expect(given).toHaveLength(expected.length)
        for (const [id, logit] of expected.entries()) {
          expect(Math.abs((given?.[id] ?? 9) - logit)).toBeLessThan(tolerance)
        }
      }
      // each of them: what is checked
      const checked = await patched.verify?.({ slot: 0, tokens, from: 0 })
      if (name === "int8") expectClose(checked, rows ?? new Float32Array(0))
      else expect(checked).toEqual(rows)
      // none, and then the last one: a prompt in two chunks
      expect(await patched.prefill({ slot: 1, tokens: tokens.slice(0, 3), from: 0, logits: false })).toBeNull()
      const last = await patched.prefill({ slot: 1, tokens: tokens.slice(3), from: 3, logits: true })
      expectClose(last, rows?.slice(-whole.vocabulary) ?? new Float32Array(0))
      await whole.close()
      await patched.close()
    })
  }
})

describe("makeLogitsPatch", () => {
  const read = (name: string, variant: WriteLlamaOptions) => {
    const file = readOnnxFile(write(name, variant))
    return { file, graph: recogniseDecoder(file, { slidingWindow: null, vocabulary: null }) }
  }
  const { file, graph } = read("plain", {})
  const patchOf = (nodes: typeof file.nodes, of: DecoderGraph = graph) => makeLogitsPatch(nodes, of)

  it("chooses before the product with the vocabulary", () => {
    const product = file.nodes.at(-2)
    expect(product?.operator).toBe("MatMul")
    expect(patchOf(file.nodes)?.rewired).toEqual([
      { node: product?.outputs[0], input: product?.inputs[0], by: "helixflow.chosen" }
    ])
  })

  it.each(Object.entries(schemes))("knows the product: %s", (name, variant) => {
    const { file, graph } = read(`known ${name}`, variant)
    expect(patchOf(file.nodes, graph)).not.toBeNull()
  })

  it("leaves graphs alone that choose by themselves, or have branches", () => {
    for (const variant of [
      { logitsToKeep: "num_logits_to_keep" },
      { lastLogitsOnly: true },
      { merged: "parallel" }
    ] as const) {
      const { file, graph } = read(JSON.stringify(variant), variant)
      expect(patchOf(file.nodes, graph)).toBeNull()
    }
  })

  it("leaves graphs alone where something else wants the product of all tokens", () => {
    const product = file.nodes.at(-2)?.outputs ?? []
    expect(patchOf([...file.nodes, { operator: "TopK", inputs: product, outputs: ["best"] }])).toBeNull()
  })
})
