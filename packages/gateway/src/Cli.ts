/** The command `helixflow`: its commands, its help, and how it ends. */
import { AutoCorrect, CliConfig, Command, ValidationError } from "@effect/cli"
import { NodeContext } from "@effect/platform-node"
import { RuntimeConfig } from "@helixflow/runtime/RuntimeConfig"
import * as Setting from "@helixflow/runtime/Setting"
import { Cause, Config, ConfigError, Console, Context, Effect, Layer, Option } from "effect"
import packageJson from "../package.json" with { type: "json" }
import { benchCommand, benchPages } from "./BenchCommand.ts"
import { chaosCommand, chaosHelp } from "./ChaosCommand.ts"
import { chatCommand, chatHelp } from "./ChatCommand.ts"
import { CommandFailure, exitCodes } from "./CommandFailure.ts"
import { render, summary } from "./CommandHelp.ts"
import { explainCommand, explainHelp } from "./ExplainCommand.ts"
import { GatewayConfig } from "./GatewayConfig.ts"
import { keysCommand, keysPages } from "./KeysCommand.ts"
import { modelsCommand, modelsHelp, modelsSubcommands } from "./ModelsCommand.ts"
import { pullCommand, pullHelp } from "./PullCommand.ts"
import { replayCommand, replayHelp } from "./ReplayCommand.ts"
import { serveCommand, serveHelp } from "./ServeCommand.ts"
import { treeCommand, treePages } from "./TreeCommand.ts"

const helixflow = Command.make("helixflow").pipe(
  Command.withDescription("Self-hosted AI inference: a fleet of GPUs or CPUs behind an OpenAI-compatible API."),
  Command.withSubcommands([
    serveCommand,
    modelsCommand,
    pullCommand,
    treeCommand,
    keysCommand,
    explainCommand,
    replayCommand,
    chatCommand,
    benchCommand,
    chaosCommand
  ])
)

const rootPage = render(
  helixflow,
  {
    usage: ["<command> [options]"],
    examples: [
      ["helixflow serve", "start the server"],
      ["helixflow chat", "talk to it"],
      ["helixflow chat --help", "what a command takes"]
    ]
  },
  [
    summary(serveCommand),
    summary(modelsCommand),
    summary(pullCommand),
    summary(treeCommand),
    summary(keysCommand),
    summary(explainCommand),
    summary(replayCommand),
    summary(chatCommand),
    summary(benchCommand),
    summary(chaosCommand)
  ]
)

/** The help page of each command. */
const pages = new Map([
  ["serve", render(serveCommand, serveHelp)],
  ["models", render(modelsCommand, modelsHelp, modelsSubcommands)],
  ["pull", render(pullCommand, pullHelp)],
  ...treePages,
  ...keysPages,
  ["explain", render(explainCommand, explainHelp)],
  ["replay", render(replayCommand, replayHelp)],
  ["chat", render(chatCommand, chatHelp)],
  ...benchPages,
  ["chaos", render(chaosCommand, chaosHelp)]
])

const cliConfig = CliConfig.make({ showBuiltIns: false })

/** Both packages' settings, so that all that is wrong with them is told at once. */
const configuration = Layer.effectContext(
  Effect.map(Config.all([RuntimeConfig.config, GatewayConfig.config]), ([runtime, gateway]) =>
    Context.make(RuntimeConfig, runtime).pipe(Context.add(GatewayConfig, gateway))
  )
)

const parse = (argv: ReadonlyArray<string>) =>
  Command.run(helixflow, { name: "HelixFlow", version: packageJson.version, executable: "helixflow" })(argv).pipe(
    Effect.provide(Layer.merge(NodeContext.layer, configuration)),
    Effect.provideService(CliConfig.CliConfig, cliConfig)
  )

/** A mistyped command, and the one that was probably meant. */
const unknownCommand = (word: string) => {
  const names = [...pages.keys()].filter((name) => !name.includes(" "))
  const close = names.find((name) => AutoCorrect.levensteinDistance(word, name, cliConfig) <= 2)
  const hint = close === undefined ? `The commands are ${names.join(", ")}.` : `Did you mean \`${close}\`?`
  return new CommandFailure({
    message: `There is no command \`${word}\`. ${hint}\n\`helixflow --help\` tells more.`,
    exitCode: exitCodes.usage
  })
}

const isHelp = (word: string) => word === "--help" || word === "-h"

/** Help and mistyped commands are ours, the rest is @effect/cli's. */
const dispatch = (argv: ReadonlyArray<string>): Effect.Effect<void, unknown> => {
  const [command, ...rest] = argv.slice(2)
  if (command === undefined || isHelp(command)) return Console.log(rootPage)
  if (command.startsWith("-")) return parse(argv)
  if (!pages.has(command)) return unknownCommand(command)
  const page = pages.get(`${command} ${rest[0]}`) ?? pages.get(command)
  const options = rest.slice(0, rest.includes("--") ? rest.indexOf("--") : rest.length)
  return options.some(isHelp) ? Console.log(page) : parse(argv)
}

/** What a failure that was foreseen is told as, and its exit code. */
const describe = (error: unknown): { readonly message: string; readonly exitCode: number } => {
  if (error instanceof CommandFailure) return error
  // @effect/cli has printed what is wrong with the arguments.
  if (ValidationError.isValidationError(error)) return { message: "", exitCode: exitCodes.usage }
  if (ConfigError.isConfigError(error)) {
    return { message: Setting.explain(error).join("\n"), exitCode: exitCodes.usage }
  }
  return { message: error instanceof Error ? error.message : String(error), exitCode: exitCodes.failed }
}

/** Says what went wrong, with stack traces only for what nobody foresaw, and gives the exit code. */
const conclude = (cause: Cause.Cause<unknown>): Effect.Effect<number> =>
  Option.match(Cause.failureOption(cause), {
    onNone: () => Effect.as(Console.error(Cause.pretty(cause, { renderErrorCause: true })), exitCodes.failed),
    onSome: (error) => {
      const { message, exitCode } = describe(error)
      return Effect.as(message === "" ? Effect.void : Console.error(message), exitCode)
    }
  })

/** Runs a command line, as `process.argv` has it, and gives the exit code. */
export const run = (argv: ReadonlyArray<string>): Effect.Effect<number> =>
  Effect.suspend(() => dispatch(argv)).pipe(Effect.as<number>(exitCodes.done), Effect.catchAllCause(conclude))
