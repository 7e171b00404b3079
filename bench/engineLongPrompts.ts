/** What is left of the gain of common steps where most of the work is prompts, which share none? */
import { serve } from "./BenchServer.ts"
import { compare, overHttp, roundsOf, startRawLoop } from "./Contestant.ts"
import { demo, type EngineModel, large } from "./EngineModels.ts"
import * as Hardware from "./Hardware.ts"
import { print } from "./Report.ts"
import { uneven } from "./Workload.ts"

const requests = 16

async function measure(model: EngineModel) {
  const workload = (seed: number) =>
    uneven({ seed, requests, vocabulary: model.vocabulary, prompt: [100, 400], tokens: [32, 64] })
  const { server } = await serve(model)
  const raw = await startRawLoop(model)
  const contestants = [overHttp(server.name, server, model), raw.contestant("raw onnxruntime-node loop")]
  const measured = await compare(contestants, { model, rounds: roundsOf(model), workload })
  await Promise.all([server, raw].map((one) => one.stop()))
  const [ours = Number.NaN] = measured
  return contestants.map(({ name }, index) => {
    const millis = measured[index] ?? Number.NaN
    return { model: model.name, computed: name, seconds: millis / 1000, "HelixFlow is, times": millis / ours }
  })
}

const hardware = Hardware.describe()
const rows = []
for (const model of [large("fp32"), large("q8"), demo()]) rows.push(...(await measure(model)))
print(
  "engine c",
  `${requests} requests at once, prompts of 100 to 400 tokens, 32 to 64 new tokens, greedy, median of alternating rounds`,
  hardware,
  rows
)
