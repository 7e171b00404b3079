/**
 * What does sampling cost beside computing what is sampled from? The large model (100 M parameters, vocabulary 32,000), a batch of 16
 * sequences, and after every step tokens drawn from its logits in each way. The model's weights are random, so its logits are nearly
 * alike: the hardest case, because hardly a token can be passed over. The quickest of each is compared: on shared cores a median would
 * count interruptions, and more of them in the longer of the two.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { loadDecoder } from "@helixflow/runtime/LoadDecoder"
import { Sampler } from "@helixflow/runtime/Sampler"
import { llama100M, writeLlamaModel } from "@helixflow/runtime/TestModels"
import { Sampling } from "@helixflow/schema/Generation"
import * as Hardware from "./Hardware.ts"
import { print } from "./Report.ts"

const batch = 16
const steps = 100
const warmUpSteps = 20
const threads = 2

const plain = {
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  logitBias: {},
  seed: 0
}
const ways = {
  greedy: { temperature: 0 },
  temperature: {},
  "min_p 0.05": { minP: 0.05 },
  "top_k 50": { topK: 50 },
  "top_p 0.95": { topP: 0.95 },
  "top_k 50, top_p 0.95": { topK: 50, topP: 0.95 },
  "typical_p 0.95": { typicalP: 0.95 },
  "top_p 0.95 with penalties": { topP: 0.95, presencePenalty: 0.5, frequencyPenalty: 0.5, repetitionPenalty: 1.1 }
}
const history = {
  emitted: new Map(Array.from({ length: 200 }, (_, index) => [index * 7, 1 + (index % 3)])),
  prompt: new Set(Array.from({ length: 500 }, (_, index) => index * 11))
}

const millisOf = async (work: () => unknown): Promise<number> => {
  const start = performance.now()
  await work()
  return performance.now() - start
}

async function measure(folder: string, scheme: "fp32" | "q8") {
  const model = join(folder, scheme)
  writeLlamaModel(model, llama100M, { scheme })
  const graph = join(model, "onnx", "model.onnx")
  const decoder = await loadDecoder({
    model: scheme,
    graph,
    slidingWindow: null,
    vocabulary: llama100M.vocab_size,
    slots: batch,
    threads,
    patch: true
  })
  const sampler = new Sampler(decoder.vocabulary)
  const drawn = Object.entries(ways).map(([way, more]) => {
    const millis: Array<number> = []
    return { way, sampling: Sampling.make({ ...plain, ...more }), millis }
  })
  const stepMillis: Array<number> = []
  let tokens: ReadonlyArray<number> = Array.from({ length: batch }, (_, slot) => 100 + slot)
  decoder.reserve(warmUpSteps + steps, batch)
  for (let step = 0; step < warmUpSteps + steps; step++) {
    let rows: Float32Array = new Float32Array()
    const computed = await millisOf(async () => {
      rows = await decoder.decode({ first: 0, tokens, lengths: tokens.map(() => step) })
    })
    if (step >= warmUpSteps) stepMillis.push(computed)
    for (const { millis, sampling } of drawn) {
      const sampled = await millisOf(() => {
        tokens = tokens.map((_, slot) => {
          const row = rows.subarray(slot * decoder.vocabulary, (slot + 1) * decoder.vocabulary)
          return sampler.draw(row, { sampling, choice: slot, position: step, history, forbidden: [], constraint: null })
        })
      })
      if (step >= warmUpSteps) millis.push(sampled)
    }
  }
  await decoder.close()
  const stepTime = Math.min(...stepMillis)
  return drawn.map(({ millis, way }) => ({
    model: scheme,
    sampling: way,
    "step ms": stepTime,
    "sampling ms": Math.min(...millis),
    "% of the step": (100 * Math.min(...millis)) / stepTime
  }))
}

const hardware = Hardware.describe()
const folder = mkdtempSync(join(tmpdir(), "helixflow-bench-"))
try {
  const rows = [...(await measure(folder, "fp32")), ...(await measure(folder, "q8"))]
  print(
    "sampling",
    `100 M parameters, vocabulary ${llama100M.vocab_size}, batch ${batch}, ${threads} threads; the quickest of ${steps} steps`,
    hardware,
    rows
  )
} finally {
  rmSync(folder, { recursive: true })
}
