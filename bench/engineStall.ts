/** How much longer do running streams wait for their next token while a long prompt comes in? */
import { serve } from "./BenchServer.ts"
import { demo, type EngineModel, large } from "./EngineModels.ts"
import * as Hardware from "./Hardware.ts"
import { type OpenStream, open } from "./OpenStream.ts"
import { median, print } from "./Report.ts"
import { drawTokens, makeRandom, uneven } from "./Workload.ts"

const rounds = 3
const streams = 4
/** Tokens; a model of less context is given most of it. */
const longPrompt = 2000
/** Tokens of each stream before the long prompt comes, besides the first, which waits for prompts. */
const before = 60

/** Of each stream between two of its texts, from the `first` on. */
const gaps = (running: ReadonlyArray<OpenStream>, first: ReadonlyArray<number>, last: ReadonlyArray<number>) =>
  running.flatMap(({ arrivals }, stream) =>
    arrivals
      .slice(first[stream], last[stream])
      .map((arrival, index) => arrival - (arrivals[(first[stream] ?? 0) + index - 1] ?? Number.NaN))
  )

const quantile = (values: ReadonlyArray<number>, share: number): number =>
  [...values].sort((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? Number.NaN

const until = async (isSo: () => boolean) => {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 2))
}

const counts = (running: ReadonlyArray<OpenStream>) => running.map(({ arrivals }) => arrivals.length)

/** Of a stream: enough for all of the measurement. */
const tokensOf = ({ context }: EngineModel) => Math.min(1000, context - 64)

async function round(port: number, model: EngineModel, seed: number) {
  const running = uneven({
    seed,
    requests: streams,
    vocabulary: model.vocabulary,
    prompt: [16, 64],
    tokens: [tokensOf(model), tokensOf(model)]
  }).map((generation) => open(port, model.name, generation))
  await until(() => counts(running).every((count) => count >= 10))
  const start = counts(running)
  await until(() => counts(running).every((count, stream) => count >= (start[stream] ?? 0) + before))
  const admitted = counts(running)
  const prompt = drawTokens(makeRandom(seed + 500), model.vocabulary, Math.min(longPrompt, model.context - 100))
  const long = open(port, model.name, { prompt, tokens: 2 })
  await until(() => long.arrivals.length > 0)
  const end = counts(running)
  for (const stream of running) stream.abandon()
  await long.done
  return {
    without: gaps(running, start, admitted),
    during: gaps(running, admitted, end),
    waited: long.arrivals[0] ?? Number.NaN
  }
}

async function measure(model: EngineModel) {
  const { server } = await serve(model)
  const measured = []
  await round(server.port, model, 0)
  for (let seed = 1; seed <= rounds; seed++) measured.push(await round(server.port, model, seed))
  await server.stop()
  const row = (phase: string, values: ReadonlyArray<number>, first: number | string) => ({
    model: model.name,
    "4 streams": phase,
    gaps: values.length,
    "median, ms": quantile(values, 0.5),
    "p99, ms": quantile(values, 0.99),
    "of p99 without": quantile(values, 0.99) / quantile(without, 0.99),
    "the prompt's first token, s": first
  })
  const without = measured.flatMap((one) => one.without)
  const during = measured.flatMap((one) => one.during)
  return [
    row("alone", without, ""),
    row("while the prompt comes in", during, median(measured.map(({ waited }) => waited)) / 1000)
  ]
}

const hardware = Hardware.describe()
const rows = []
for (const model of [large("fp32"), large("q8"), demo()]) rows.push(...(await measure(model)))
print(
  "engine e",
  `the time between two tokens of ${streams} running streams while a prompt of ${longPrompt} tokens, or nearly all of a shorter context, is admitted, ${rounds} rounds`,
  hardware,
  rows
)
