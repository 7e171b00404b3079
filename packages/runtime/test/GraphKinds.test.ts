/** Graphs as exporters write them: whatever their inputs, types and branches, the text is the same. */
import * as path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import type { SequenceRequest } from "@helixflow/schema/Generation"
import { recogniseDecoder } from "../src/DecoderGraph.ts"
import type { LoadEngine } from "../src/Engine.ts"
import { PROCESSOR } from "../src/ExecutionProvider.ts"
import { loadDecoder } from "../src/LoadDecoder.ts"
import { OnnxDecoder } from "../src/OnnxDecoder.ts"
import { loadOnnxEngine, makeLoadOnnxEngine } from "../src/OnnxEngine.ts"
import { readOnnxFile } from "../src/OnnxFile.ts"
import { OnnxSession } from "../src/OnnxSession.ts"
import { type WriteLlamaOptions, writeTinyChatModel } from "../src/TestModels.ts"
import { continuesWithSeveral } from "../src/TokenwiseDecoder.ts"
import { textEngineSuite } from "./engineSuite.ts"
import { drain, sequence } from "./sequences.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const unpatched = makeLoadOnnxEngine({ patch: false })
const binding: LoadEngine = (options) => loadOnnxEngine({ ...options, engine: "binding" })

const kinds: Readonly<Record<string, WriteLlamaOptions>> = {
  "int32 inputs": { integers: "int32" },
  "GroupQueryAttention with int32 inputs": { attention: "gqa", integers: "int32" },
  "GroupQueryAttention with position_ids": { attention: "gqa", positionIds: true },
  "logits of the last token alone": { logitsToKeep: "num_logits_to_keep" },
  "no other logits than the last": { lastLogitsOnly: true },
  "no mask": { attentionMask: false, positionIds: false },
  "no mask, with position_ids": { attentionMask: false },
  "merged branches": { merged: "parallel" },
  "merged branches that count positions": { merged: "parallel", positionIds: false },
  "merged branches that continue by one token": { merged: "tokenwise" },
  "weights in several files, beyond the second gigabyte": { externalData: { files: 2, start: 3 * 2 ** 30 } },
  "merged branches without a mask": { merged: "tokenwise", attentionMask: false, positionIds: false }
}
const halves: Readonly<Record<string, WriteLlamaOptions>> = {
  "half precision": { precision: "float16" },
  "GroupQueryAttention in half precision": { precision: "float16", attention: "gqa" },
  "q4 weights in half precision": { precision: "float16", scheme: "q4" },
  "merged branches in half precision": { precision: "float16", merged: "tokenwise" }
}

// the whole suite where the cache is of another kind; what the others add is proved below
textEngineSuite("half precision", loadOnnxEngine, { precision: "float16" })
textEngineSuite("8 bits, rounded as they come", loadOnnxEngine, { scheme: "int8" })
textEngineSuite("8 bits, rounded as they come, by the binding", binding, { scheme: "int8", attention: "gqa" })
textEngineSuite("half precision, unpatched", unpatched, { precision: "float16" })
textEngineSuite("merged branches that continue by one token", loadOnnxEngine, { merged: "tokenwise" })

describe("every kind of graph", () => {
  const root = temporaryFolder()
  const prompts = ["x", "some words", "many words ".repeat(30)]
  const textsOf = async (name: string, variant: WriteLlamaOptions, load: LoadEngine) => {
    const folder = path.join(root, name)
    writeTinyChatModel(folder, variant)
    const options = { model: "model", context: 512, slots: 4, threads: 1, path: folder }
    const engine = await load({ ...options, task: "text-generation" })
    if (engine.task !== "text-generation") throw new Error("not a text engine")
    const ids = prompts.map((text) => engine.tokenize({ _tag: "Text", text, addSpecialTokens: true }))
    const run = async (requests: ReadonlyArray<SequenceRequest>) => {
      for (const request of requests) engine.submit(request)
      const { transcripts, failures } = await drain(engine)
      expect([...failures]).toEqual([])
      return requests.map(({ request }) => transcripts.get(request))
    }
    const together = await run(ids.map((prompt, index) => sequence(`together${index}`, prompt)))
    const alone = [...together]
    const continued = [...together]
    for (const [index, prompt] of ids.entries()) {
      const [whole] = await run([sequence(`alone${index}`, prompt)])
      alone[index] = whole
      const emitted = whole?.tokens.slice(0, 7) ?? []
      const [rest] = await run([sequence(`continued${index}`, prompt, { emitted, epoch: 1 })])
      continued[index] = rest
    }
    await engine.close()
    expect(alone).toEqual(together)
    for (const [index, rest] of continued.entries()) expect(rest?.tokens).toEqual(alone[index]?.tokens.slice(7))
    return together.map((transcript) => transcript?.text)
  }

  it.each(Object.entries(kinds))("gives the text of any other: %s", async (name, variant) => {
    const plain = await textsOf("plain", {}, loadOnnxEngine)
    expect(await textsOf(name, variant, loadOnnxEngine)).toEqual(plain)
    expect(await textsOf(name, variant, binding)).toEqual(plain)
  })

  it.each(Object.entries(halves))("gives the same text alone, in a batch and continued: %s", async (name, variant) => {
    for (const load of [loadOnnxEngine, binding]) expect(await textsOf(name, variant, load)).toHaveLength(3)
  })
})

describe("logits of the last tokens alone", () => {
  it.each(["ffi", "binding"] as const)("are as many as are asked for, by %s", async (engine) => {
    const folder = path.join(temporaryFolder(), engine)
    writeTinyChatModel(folder, { logitsToKeep: "num_logits_to_keep" })
    const options = { model: "tiny", slidingWindow: null, vocabulary: null, slots: 1, threads: 1, patch: true, engine }
    const decoder = await loadDecoder({ ...options, graph: path.join(folder, "onnx", "model.onnx") })
    const tokens = [7, 8, 9]
    expect(decoder.constructor.name).toBe(engine === "ffi" ? "FfiDecoder" : "OnnxDecoder")
    const rows = (await decoder.verify?.({ slot: 0, tokens, from: 0 }))?.slice()
    expect(rows).toHaveLength(tokens.length * decoder.vocabulary)
    const last = await decoder.prefill({ slot: 0, tokens, from: 0, logits: true })
    expect(last).toEqual(rows?.slice(-decoder.vocabulary))
    await decoder.close()
  })
})

describe("continuesWithSeveral", () => {
  it.each([
    ["parallel", true],
    ["tokenwise", false]
  ] as const)("finds out what a graph with %s branches computes", async (merged, expected) => {
    const folder = path.join(temporaryFolder(), merged)
    writeTinyChatModel(folder, { merged })
    const file = path.join(folder, "onnx", "model.onnx")
    const session = await OnnxSession.load(file, { device: PROCESSOR, threads: 1 })
    const graph = recogniseDecoder(readOnnxFile(file), { slidingWindow: null, vocabulary: null })
    const decoder = new OnnxDecoder({ session, graph, slots: 1, newColumns: "none" })
    expect(await continuesWithSeveral(decoder)).toBe(expected)
    await decoder.close()
  })
})
