/** How much do requests that come at once gain from sharing steps, and what do HTTP and actors take of it? */
import { serve } from "./BenchServer.ts"
import { compare, overHttp, roundsOf, startBareBatching, startRawLoop, startTransformersJs } from "./Contestant.ts"
import { demo, type EngineModel, large } from "./EngineModels.ts"
import * as Hardware from "./Hardware.ts"
import { print } from "./Report.ts"
import { tokensOf, uneven } from "./Workload.ts"

const requests = 16

async function measure(model: EngineModel) {
  const workload = (seed: number) =>
    uneven({ seed, requests, vocabulary: model.vocabulary, prompt: [16, 200], tokens: [32, 64] })
  const { server } = await serve(model)
  const transformers = await startTransformersJs(model)
  const raw = await startRawLoop(model)
  const bare = await startBareBatching(model)
  const contestants = [
    overHttp(server.name, server, model),
    transformers.contestant("transformers.js, one after the other"),
    transformers.contestant("transformers.js, one padded batch", { together: true }),
    raw.contestant("raw onnxruntime-node loop"),
    bare.contestant("the engine alone")
  ]
  const measured = await compare(contestants, { model, rounds: roundsOf(model), workload })
  await Promise.all([server, transformers, raw, bare].map((one) => one.stop()))
  const tokens = tokensOf(workload(1))
  const [ours = Number.NaN] = measured
  return contestants.map(({ name }, index) => {
    const millis = measured[index] ?? Number.NaN
    return {
      model: model.name,
      computed: name,
      seconds: millis / 1000,
      "tokens/s": tokens / (millis / 1000),
      "HelixFlow is, times": millis / ours
    }
  })
}

const hardware = Hardware.describe()
const rows = []
for (const model of [large("fp32"), large("q8"), demo()]) rows.push(...(await measure(model)))
print(
  "engine a",
  `${requests} requests at once, prompts of 16 to 200 tokens, 32 to 64 new tokens, greedy, median of alternating rounds`,
  hardware,
  rows
)
