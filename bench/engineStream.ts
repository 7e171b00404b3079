/** What do HTTP, actors and the engine's bookkeeping take from a single stream? */
import { serve } from "./BenchServer.ts"
import { compare, overHttp, roundsOf, startRawLoop } from "./Contestant.ts"
import { demo, type EngineModel, large } from "./EngineModels.ts"
import * as Hardware from "./Hardware.ts"
import { print } from "./Report.ts"
import { tokensOf, uneven } from "./Workload.ts"

const rounds = 5
const tokens = 64

async function measure(model: EngineModel) {
  const workload = (seed: number) =>
    uneven({ seed, requests: 1, vocabulary: model.vocabulary, prompt: [32, 32], tokens: [tokens, tokens] })
  const { server } = await serve(model)
  const raw = await startRawLoop(model)
  const contestants = [overHttp(server.name, server, model), raw.contestant("raw onnxruntime-node loop")]
  const measured = await compare(contestants, { model, rounds: roundsOf(model, rounds), workload })
  await Promise.all([server, raw].map((one) => one.stop()))
  const [ours = Number.NaN] = measured
  return contestants.map(({ name }, index) => {
    const millis = measured[index] ?? Number.NaN
    return {
      model: model.name,
      computed: name,
      "ms/token": millis / tokensOf(workload(1)),
      "HelixFlow is, times": millis / ours
    }
  })
}

const hardware = Hardware.describe()
const rows = []
for (const model of [large("fp32"), large("q8"), demo()]) rows.push(...(await measure(model)))
print(
  "engine b",
  `one stream of ${tokens} tokens after a prompt of 32, greedy, median of at least ${rounds} alternating rounds`,
  hardware,
  rows
)
