/**
 * `helixflow bench server`: how fast a running server is with a model, as its clients see it. `helixflow bench engine`: the engine beside
 * what it is compared with, which a checkout measures by `npm run bench`.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { Args, Command, Options } from "@effect/cli"
import { Command as PlatformCommand } from "@effect/platform"
import { installRoot } from "@helixflow/runtime/InstallRoot"
import { Clock, Console, Effect, Option, Schema, Stream } from "effect"
import { chooseModel } from "./ChatCommand.ts"
import { CommandFailure, failed, interruptible } from "./CommandFailure.ts"
import { type CommandHelp, render, summary } from "./CommandHelp.ts"
import { ServerClient } from "./ServerClient.ts"
import { againstServer, serverOptions } from "./ServerOptions.ts"
import { type StreamTimes, type Summary, summarize } from "./StreamTimes.ts"
import { table } from "./Table.ts"

const Count = Schema.NumberFromString.pipe(Schema.int(), Schema.between(1, 100_000))

const model = Options.text("model").pipe(
  Options.withAlias("m"),
  Options.withDescription("The model. Default: helix-demo, or the first that text can be generated with."),
  Options.optional
)
const streams = Options.text("streams").pipe(
  Options.withPseudoName("counts"),
  Options.withDescription("How many streams run side by side; several measurements are separated by commas."),
  Options.withSchema(
    Schema.compose(Schema.split(","), Schema.Array(Schema.NumberFromString.pipe(Schema.int(), Schema.between(1, 1024))))
  ),
  Options.withDefault([1, 4, 16])
)
const tokens = Options.text("tokens").pipe(
  Options.withPseudoName("count"),
  Options.withDescription("Tokens that each stream generates."),
  Options.withSchema(Count),
  Options.withDefault(64)
)
const words = Options.text("prompt-words").pipe(
  Options.withPseudoName("count"),
  Options.withDescription("Words of each prompt."),
  Options.withSchema(Count),
  Options.withDefault(32)
)
const json = Options.boolean("json").pipe(Options.withDescription("Print the measurements as a JSON array."))

/** Prompts begin differently, so that none finds another's beginning in the prefix cache. */
const promptOf = (stream: number, words: number, round: number) =>
  [`${round}.${stream}`, ...Array.from({ length: words - 1 }, (_, at) => `word${(at * 7 + stream) % 100}`)].join(" ")

interface Run {
  readonly model: string
  readonly tokens: number
  readonly words: number
}

/** One stream to its end; its times count from `origin`. */
const time = (run: Run, origin: bigint, stream: number, round: number) =>
  Effect.gen(function* () {
    const client = yield* ServerClient
    const now = Effect.map(Clock.currentTimeNanos, (at) => Number(at - origin) / 1e6)
    const started = yield* now
    const pieces: Array<number> = []
    let counted = 0
    yield* client
      .chat({
        model: run.model,
        messages: [{ role: "user", content: promptOf(stream, run.words, round) }],
        temperature: Option.some(0),
        maxTokens: Option.some(run.tokens),
        ignoreEos: true
      })
      .pipe(
        Stream.runForEach(({ choices, usage }) =>
          Effect.map(now, (at) => {
            if ((choices[0]?.delta.content ?? "") !== "") pieces.push(at)
            counted = usage?.completion_tokens ?? counted
          })
        )
      )
    const times: StreamTimes = { started, pieces, ended: yield* now, tokens: counted }
    return times
  })

/** Starts the streams together. The first round warms up and is not counted. */
const measure = (run: Run, streams: number) =>
  Effect.gen(function* () {
    const round = (round: number) =>
      Effect.flatMap(Clock.currentTimeNanos, (origin) =>
        Effect.all(
          Array.from({ length: streams }, (_, stream) => time(run, origin, stream, round)),
          { concurrency: "unbounded" }
        )
      )
    yield* round(0)
    return summarize(yield* round(1))
  })

const cells = ({ firstMillis, gapMillis, gapMillis99, streams, tokensPerSecond }: Summary) => [
  String(streams),
  tokensPerSecond.toFixed(1),
  firstMillis.toFixed(1),
  gapMillis.toFixed(2),
  gapMillis99.toFixed(2)
]

const server = Command.make(
  "server",
  { json, model, streams, tokens, words, ...serverOptions },
  ({ json, model, streams, tokens, words, ...server }) =>
    Effect.gen(function* () {
      const run = { model: Option.isSome(model) ? model.value : yield* chooseModel, tokens, words }
      const summaries = yield* Effect.forEach(streams, (count) => measure(run, count))
      if (json) return yield* Console.log(JSON.stringify(summaries, null, 2))
      yield* Console.log(`${run.model}: prompts of ${words} words, ${tokens} tokens each\n`)
      yield* Console.log(
        table([["STREAMS", "TOKENS/S", "FIRST MS", "BETWEEN MS", "BETWEEN P99 MS"], ...summaries.map(cells)])
      )
    }).pipe(againstServer(server))
).pipe(Command.withDescription("Measure how fast a running server generates text."))

const parts = Args.text({ name: "part" }).pipe(
  Args.withDescription("A letter of the parts in docs/benchmarks.md, a to h. Default: all of them."),
  Args.repeated
)

/** What the engine is compared with is installed and run by the checkout's own program, in a process of its own. */
const engine = Command.make("engine", { parts }, ({ parts }) =>
  Effect.gen(function* () {
    const program = Option.filter(
      Option.map(installRoot(), (root) => join(root, "bench", "run.mjs")),
      existsSync
    )
    if (Option.isNone(program))
      return yield* failed("The engine is measured in a checkout, which has the folder bench/.")
    const running = PlatformCommand.make(process.execPath, program.value, "engine", ...parts).pipe(
      PlatformCommand.stdout("inherit"),
      PlatformCommand.stderr("inherit")
    )
    const code = yield* Effect.orDie(PlatformCommand.exitCode(running))
    if (code !== 0) return yield* new CommandFailure({ message: "", exitCode: code })
  }).pipe(interruptible)
).pipe(
  Command.withDescription("Measure the engine beside what it is compared with, in a checkout: a quarter of an hour.")
)

export const benchCommand = Command.make("bench").pipe(
  Command.withDescription("Measure how fast a running server is, or the engine."),
  Command.withSubcommands([server, engine])
)

const benchHelp: CommandHelp = {
  usage: ["bench server [options]", "bench engine [<part>...]"],
  examples: [
    ["helixflow bench server", "1, 4 and 16 streams of the default model"],
    ["helixflow bench server --streams 32 --tokens 256 -m org/name", "32 streams of another model"],
    ["helixflow bench server --json", "for scripts"],
    ["helixflow bench engine", "all tables, written into docs/benchmarks.md"],
    ["helixflow bench engine a c", "two of them"]
  ]
}

/** The help page of each of its commands. */
export const benchPages: ReadonlyArray<readonly [string, string]> = [
  ["bench server", render(server, { usage: benchHelp.usage.slice(0, 1), examples: benchHelp.examples.slice(0, 3) })],
  ["bench engine", render(engine, { usage: benchHelp.usage.slice(1), examples: benchHelp.examples.slice(3) })],
  ["bench", render(benchCommand, benchHelp, [summary(server), summary(engine)])]
]
