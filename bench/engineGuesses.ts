/**
 * What do guesses gain while a stream runs alone? The engine as the worker has it, and the same one on a decoder that can't check
 * several tokens at once. A bias has one text repeat itself, the best case, whatever the model would say; a text drawn at random has
 * nothing to guess from, and must lose nothing. Models with weights of eight bits or fewer guess nothing: what they compute of a token
 * depends on those beside it.
 */
import { ContinuousBatching } from "@helixflow/runtime/ContinuousBatching"
import type { Decoder } from "@helixflow/runtime/Decoder"
import { loadDecoder } from "@helixflow/runtime/LoadDecoder"
import { describeModelFolder } from "@helixflow/runtime/ModelFolder"
import { PrefixCache } from "@helixflow/runtime/PrefixCache"
import { loadTokenizer } from "@helixflow/runtime/Tokenizer"
import { Sampling, SequenceRequest, Stopping } from "@helixflow/schema/Generation"
import { RequestId, TokenId } from "@helixflow/schema/Ids"
import { threads } from "./Contestant.ts"
import { type EngineModel, graphOf, large, small } from "./EngineModels.ts"
import * as Hardware from "./Hardware.ts"
import { median, print } from "./Report.ts"
import { drawTokens, makeRandom } from "./Workload.ts"

const rounds = 3
const tokens = 128
const phrase = 24

const sampling = (temperature: number, seed: number, logitBias: Readonly<Record<string, number>>) =>
  Sampling.make({
    temperature,
    topP: 1,
    topK: 0,
    minP: 0,
    presencePenalty: 0,
    frequencyPenalty: 0,
    repetitionPenalty: 1,
    logitBias,
    seed
  })

/** For each text, how it is sampled, and whether one token is preferred to all others. */
const texts = {
  "repeats itself": { temperature: 0, bias: 100 },
  "drawn at random": { temperature: 1, bias: 0 }
}

type Text = (typeof texts)[keyof typeof texts]

const withoutVerify = ({ verify: _, ...decoder }: Decoder): Decoder => decoder

async function measure(model: EngineModel) {
  const folder = describeModelFolder(model.folder, model.name)
  if (folder.task !== "text-generation") throw new Error("the model generates no text")
  const decoder = await loadDecoder({
    ...folder,
    model: model.name,
    graph: graphOf(model),
    slots: 1,
    threads,
    patch: true
  })
  const tokenizer = loadTokenizer(folder, { model: model.name, vocabulary: decoder.vocabulary, context: model.context })
  const engineOn = (computing: Decoder) =>
    new ContinuousBatching({
      decoder: computing,
      tokenizer,
      context: model.context,
      slots: 1,
      eosTokenIds: [],
      prefixCache: new PrefixCache({ blockTokens: 16, capacity: 0 })
    })
  const engines = { with: engineOn(decoder), without: engineOn(withoutVerify(decoder)) }
  let asked = 0

  const generate = async (engine: ContinuousBatching, { bias, temperature }: Text, seed: number) => {
    const repeated = drawTokens(makeRandom(seed), model.vocabulary, phrase).map((token) => TokenId.make(token))
    engine.submit(
      SequenceRequest.make({
        request: RequestId.make(`${++asked}`),
        epoch: 0,
        choice: 0,
        prompt: [...repeated, ...repeated],
        emitted: [],
        sampling: sampling(temperature, seed, { [repeated[0] ?? 0]: bias }),
        stopping: Stopping.make({ maxTokens: tokens, minTokens: 0, stop: [], stopTokenIds: [], ignoreEos: true }),
        logprobs: null
      })
    )
    let steps = 0
    const start = performance.now()
    for (; engine.active > 0; steps++) await engine.step()
    return { millis: performance.now() - start, steps }
  }

  const rows = []
  for (const [name, text] of Object.entries(texts)) {
    const measured: Record<"with" | "without" | "steps", Array<number>> = { with: [], without: [], steps: [] }
    for (let round = 0; round <= rounds; round++) {
      const plain = await generate(engines.without, text, round)
      const guessing = await generate(engines.with, text, round)
      if (round === 0) continue
      measured.without.push(plain.millis)
      measured.with.push(guessing.millis)
      measured.steps.push(guessing.steps)
    }
    rows.push({
      model: model.name,
      text: name,
      "without, ms/token": median(measured.without) / tokens,
      "with, ms/token": median(measured.with) / tokens,
      "tokens a step": tokens / median(measured.steps),
      "faster, times": median(measured.without) / median(measured.with)
    })
  }
  await decoder.close()
  return rows
}

const hardware = Hardware.describe()
const rows = []
for (const model of [large("fp32"), small("fp32")]) rows.push(...(await measure(model)))
print(
  "engine h",
  `one stream of ${tokens} tokens after a phrase of ${phrase} tokens, twice; median of ${rounds} alternating rounds`,
  hardware,
  rows
)
