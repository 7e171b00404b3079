/** Graphs with dynamically quantized products: what a token gives must not depend on the tokens beside it. */
import * as path from "node:path"
import { afterEach, describe, expect, it, vi } from "vitest"
import { type LoadDecoderOptions, loadDecoder } from "../src/LoadDecoder.ts"
import { readOnnxFile } from "../src/OnnxFile.ts"
import { makeRowQuantization, roundsByRun } from "../src/RowQuantization.ts"
import { type WriteLlamaOptions, writeLlamaModel } from "../src/TestModels.ts"
import { wideLlama } from "./engineSuite.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const root = temporaryFolder()
const graphOf = (scheme: NonNullable<WriteLlamaOptions["scheme"]>) => {
  const folder = path.join(root, scheme)
  writeLlamaModel(folder, wideLlama, { attention: "gqa", scheme })
  return path.join(folder, "onnx", "model.onnx")
}
const load = (graph: string, options: Partial<LoadDecoderOptions> = {}) =>
  loadDecoder({
    model: "m",
    graph,
    slidingWindow: null,
    vocabulary: null,
    slots: 4,
    threads: 1,
    patch: true,
    ...options
  })

/** The greatest difference between the logits of tokens alone and beside others. */
const differenceOf = async (graph: string, options: Partial<LoadDecoderOptions> = {}) => {
  const decoder = await load(graph, options)
  const tokens = [9, 200, 77, 31]
  const lengths = tokens.map(() => 0)
  const together = (await decoder.decode({ first: 0, tokens, lengths })).slice()
  let most = 0
  for (const [slot, token] of tokens.entries()) {
    const row = await decoder.decode({ first: slot, tokens: [token], lengths: [0] })
    for (const [id, logit] of row.entries()) {
      most = Math.max(most, Math.abs(logit - (together[slot * decoder.vocabulary + id] ?? Number.NaN)))
    }
  }
  await decoder.close()
  return most
}

afterEach(() => {
  vi.restoreAllMocks()
})

describe("a graph that rounds by what is in a run", () => {
  it.each(["ffi", "binding"] as const)("gives a token what it gives it alone, by %s", async (engine) => {
    expect(await differenceOf(graphOf("int8"), { engine })).toBe(0)
  })

  it("is told of where it is computed as it is", async () => {
    const told = vi.spyOn(console, "error").mockImplementation(() => {})
    expect(await differenceOf(graphOf("int8"), { patch: false })).toBeGreaterThan(0.001)
    expect(told.mock.calls).toEqual([[expect.stringContaining("what is computed beside it")]])
  })

  it("keeps close to what its weights say", async () => {
    const tokens = Array.from({ length: 40 }, (_, index) => 7 + ((index * 13) % 300))
    const rowOf = async (graph: string) => {
      const decoder = await load(graph)
      const row = (await decoder.prefill({ slot: 0, tokens, from: 0, logits: true }))?.slice() ?? new Float32Array(0)
      await decoder.close()
      return row
    }
    const exact = await rowOf(graphOf("fp32"))
    const rounded = await rowOf(graphOf("int8"))
    const range = Math.max(...exact) - Math.min(...exact)
    for (const [id, logit] of rounded.entries()) {
      expect(Math.abs(logit - (exact[id] ?? Number.NaN))).toBeLessThan(0.05 * range)
    }
  })
})

describe("makeRowQuantization", () => {
  it("leaves graphs alone that round nothing by the run", () => {
    for (const scheme of ["fp32", "q8"] as const) {
      const { nodes } = readOnnxFile(graphOf(scheme))
      expect(roundsByRun(nodes)).toBe(false)
      expect(makeRowQuantization(nodes, new Map())).toBeNull()
    }
  })

  it("leaves graphs alone where scales are used in a way that is not known", () => {
    const { nodes } = readOnnxFile(graphOf("int8"))
    expect(roundsByRun(nodes)).toBe(true)
    expect(makeRowQuantization(nodes, new Map())).not.toBeNull()
    const [, scale = ""] = nodes.find(({ operator }) => operator === "DynamicQuantizeLinear")?.outputs ?? []
    const other = { operator: "Reshape", inputs: [scale], outputs: ["other"] }
    expect(makeRowQuantization([...nodes, other], new Map())).toBeNull()
    const fused = { operator: "DynamicQuantizeMatMul", inputs: ["a"], outputs: ["b"] }
    expect(makeRowQuantization([...nodes, fused], new Map())).toBeNull()
  })
})
