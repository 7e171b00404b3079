/** Prompts that share a run: what they leave must be what each leaves alone, to the last bit, for graphs that round have it so. */
import * as path from "node:path"
import { describe, expect, it } from "vitest"
import { loadDecoder } from "../src/LoadDecoder.ts"
import { type WriteLlamaOptions, writeLlamaModel } from "../src/TestModels.ts"
import { wideLlama } from "./engineSuite.ts"
import { sameRow } from "./rounding.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const root = temporaryFolder()
const kinds: Readonly<Record<string, WriteLlamaOptions>> = {
  "fused attention": { attention: "gqa" },
  "fused attention and positions": { attention: "gqa", positionIds: true },
  "standard attention": { attention: "standard" },
  "positions counted from the mask": { attention: "standard", positionIds: false },
  "fused attention and int32 inputs": { attention: "gqa", integers: "int32" },
  "fused attention and 8 bits": { attention: "gqa", scheme: "q8" },
  "fused attention and 4 bits": { attention: "gqa", scheme: "q4" },
  "fused attention and 8 bits, rounded as they come": { attention: "gqa", scheme: "int8" },
  "fused attention in half precision": { attention: "gqa", precision: "float16" }
}
const lengths = [2, 5, 9, 16, 33, 64, 70, 130]
const prompts = lengths.map((length, seed) => Array.from({ length }, (_, at) => 7 + ((at * 13 + seed * 5) % 300)))

const load = (kind: string, variant: WriteLlamaOptions, engine: "ffi" | "binding") => {
  const folder = path.join(root, kind.replaceAll(" ", "-"))
  writeLlamaModel(folder, wideLlama, variant)
  const graph = path.join(folder, "onnx", "model.onnx")
  const options = { model: "m", slidingWindow: null, vocabulary: null, slots: lengths.length, threads: 2, patch: true }
  return loadDecoder({ ...options, graph, engine })
}

describe.each(["ffi", "binding"] as const)("prompts that share a run, by %s", (engine) => {
  it.each(Object.entries(kinds))("are computed as each is alone: %s", async (kind, variant) => {
    const decoder = await load(kind, variant, engine)
    decoder.reserve(200, lengths.length)
    const next = { first: 0, tokens: lengths.map(() => 9), lengths }
    const alone: Array<number> = []
    for (const [slot, tokens] of prompts.entries()) {
      alone.push(...((await decoder.prefill({ slot, tokens, from: 0, logits: true })) ?? []))
    }
    const afterAlone = [...(await decoder.decode(next))]
    for (const slot of lengths.keys()) decoder.clear(slot)
    const together = [...((await decoder.begin?.({ first: 0, prompts })) ?? [])]
    expect(together).toEqual(sameRow(alone, variant.scheme))
    expect([...(await decoder.decode(next))]).toEqual(sameRow(afterAlone, variant.scheme))
    await decoder.close()
  })

  it("is not offered where a run of other lengths would give other numbers", async () => {
    const variants: ReadonlyArray<WriteLlamaOptions> = [
      { attention: "standard", scheme: "q8" },
      { attentionMask: false, positionIds: false },
      { lastLogitsOnly: true }
    ]
    for (const [index, variant] of variants.entries()) {
      const decoder = await load(`other ${index}`, variant, engine)
      expect(decoder.begin).toBeUndefined()
      await decoder.close()
    }
  })
})
