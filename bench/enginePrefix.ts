/**
 * What does the prefix cache spare? The tenth turn of a conversation, and 32 requests with a system prompt in common, on a server with
 * it and on one without. A turn's answer goes into the next prompt as other tokens than were generated, as if a client had rewritten
 * it, so that only what was in a prompt before is found: generated tokens would be found too.
 */
import { serve } from "./BenchServer.ts"
import { roundsOf } from "./Contestant.ts"
import { demo, type EngineModel, large } from "./EngineModels.ts"
import * as Hardware from "./Hardware.ts"
import type { MeasuredServer } from "./MeasuredServer.ts"
import { firstToken, streamAll } from "./OpenStream.ts"
import { median, print } from "./Report.ts"
import { drawTokens, makeRandom, uneven } from "./Workload.ts"

const turns = 10
const turnTokens = 64
const answerTokens = 32
const sharedTokens = 400
const sharing = 32
const ownTokens = 16

/** The first token of the last turn, after the one before it: what is known of the others is known from that. */
const conversation = async (server: MeasuredServer, { name, vocabulary }: EngineModel, seed: number) => {
  const random = makeRandom(seed)
  const prompt: Array<number> = []
  let millis = Number.NaN
  for (let turn = 0; turn < turns; turn++) {
    prompt.push(...drawTokens(random, vocabulary, turnTokens))
    if (turn >= turns - 2) millis = await firstToken(server.port, name, { prompt, tokens: 2 })
    prompt.push(...drawTokens(random, vocabulary, answerTokens))
  }
  return millis
}

const shared = async (server: MeasuredServer, { name, vocabulary }: EngineModel, seed: number) => {
  const random = makeRandom(seed)
  const system = drawTokens(random, vocabulary, sharedTokens)
  const workload = Array.from({ length: sharing }, () => ({
    prompt: [...system, ...drawTokens(random, vocabulary, ownTokens)],
    tokens: 4
  }))
  const start = performance.now()
  const streams = await streamAll(server.port, name, workload)
  const millis = performance.now() - start
  return { millis, computed: streams.reduce((sum, { usage }) => sum + usage.prompt - usage.cached, 0) }
}

async function measure(model: EngineModel) {
  const servers = [
    (await serve(model, { name: "with" })).server,
    (await serve(model, { name: "without", settings: { prefixCache: 0 } })).server
  ]
  const measured = servers.map((server) => {
    const figures: Record<"turn" | "shared" | "computed", Array<number>> = { turn: [], shared: [], computed: [] }
    return { server, ...figures }
  })
  for (const server of servers) {
    await streamAll(
      server.port,
      model.name,
      uneven({ seed: 7, requests: 16, vocabulary: model.vocabulary, prompt: [16, 16], tokens: [16, 16] })
    )
  }
  for (let round = 0; round < roundsOf(model); round++) {
    for (const one of measured) {
      one.turn.push(await conversation(one.server, model, round))
      const { computed, millis } = await shared(one.server, model, 1000 + round)
      one.shared.push(millis)
      one.computed.push(computed)
    }
  }
  await Promise.all(servers.map((server) => server.stop()))
  return measured.map((one) => ({
    model: model.name,
    "prefix cache": one.server.name,
    [`first token of turn ${turns}, ms`]: median(one.turn),
    [`${sharing} requests, prompt tokens`]: sharing * (sharedTokens + ownTokens),
    "of them computed": median(one.computed),
    "more than not shared": median(one.computed) - sharedTokens - sharing * ownTokens,
    seconds: median(one.shared) / 1000
  }))
}

const hardware = Hardware.describe()
const rows = []
for (const model of [large("fp32"), large("q8"), demo()]) rows.push(...(await measure(model)))
const last = turns * turnTokens + (turns - 1) * answerTokens
print(
  "engine d",
  `a conversation whose turn ${turns} has a prompt of ${last} tokens, and ${sharing} requests at once with ${sharedTokens} tokens in common ` +
    `and ${ownTokens} of their own; median of alternating rounds`,
  hardware,
  rows
)
