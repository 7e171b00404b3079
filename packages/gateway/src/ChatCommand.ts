/** `helixflow chat` */
import { Args, Command, Options } from "@effect/cli"
import { Effect, Option } from "effect"
import { type CommandFailure, failed } from "./CommandFailure.ts"
import type { CommandHelp } from "./CommandHelp.ts"
import { type Model, ServerClient, type ServerError } from "./ServerClient.ts"
import { againstServer, serverOptions } from "./ServerOptions.ts"
import * as TerminalChat from "./TerminalChat.ts"

const words = Args.text({ name: "model or question" }).pipe(
  Args.withDescription(
    "Without --model the first word is the model, unless it has spaces: then it is the question. Without a question: what " +
      "is piped in, or a conversation."
  ),
  Args.repeated
)

const model = Options.text("model").pipe(
  Options.withPseudoName("model"),
  Options.withAlias("m"),
  Options.withDescription("The model. Default: helix-demo where the server has it, else the first that can chat."),
  Options.optional
)

const system = Options.text("system").pipe(
  Options.withPseudoName("text"),
  Options.withAlias("s"),
  Options.withDescription("Instructions that come before the conversation."),
  Options.optional
)

const temperature = Options.float("temperature").pipe(
  Options.withPseudoName("number"),
  Options.withAlias("t"),
  Options.withDescription("From 0 (always the likeliest token) to 2."),
  Options.filterMap(
    Option.liftPredicate((number) => number >= 0 && number <= 2),
    "--temperature must be from 0 to 2"
  ),
  Options.optional
)

const maxTokens = Options.integer("max-tokens").pipe(
  Options.withPseudoName("number"),
  Options.withDescription("The most tokens of an answer."),
  Options.filterMap(
    Option.liftPredicate((number) => number >= 1),
    "--max-tokens must be 1 or more"
  ),
  Options.optional
)

/** The bundled chat model. */
const preferred = "helix-demo"

/** Which of the words is the model, and what is asked. `guessed`: the word may have been meant otherwise. */
export const interpret = (
  model: Option.Option<string>,
  words: ReadonlyArray<string>
): {
  readonly model: Option.Option<string>
  readonly guessed: boolean
  readonly question: Option.Option<string>
} => {
  const [first, ...rest] = words
  const guessed = Option.isNone(model) && first !== undefined && !/\s/.test(first)
  const question = (guessed ? rest : words).join(" ").trim()
  return {
    model: guessed ? Option.some(first) : model,
    guessed,
    question: question === "" ? Option.none() : Option.some(question)
  }
}

/** A question of one word looks like a model: better to say so than to answer that there is no such model. */
const checkGuess = (word: string) =>
  Effect.flatMap(ServerClient, (client) => client.model(word)).pipe(
    Effect.catchIf(
      (error) => error._tag === "ServerRefused" && error.status === 404,
      () =>
        failed(
          `There is no model \`${word}\`; \`helixflow models\` lists what there is.\n` +
            `If it was meant as a question, name the model: helixflow chat -m ${preferred} "${word}"`
        )
    )
  )

/** The model of those that a server has to chat with, where nobody has named one. */
export const choose = (models: ReadonlyArray<Pick<Model, "id" | "task">>): string | undefined => {
  const ids = models.filter(({ task }) => task === undefined || task === "text-generation").map(({ id }) => id)
  return ids.includes(preferred) ? preferred : ids[0]
}

export const chooseModel: Effect.Effect<string, ServerError | CommandFailure, ServerClient> = Effect.gen(function* () {
  const client = yield* ServerClient
  return choose(yield* client.models) ?? (yield* failed(`The server at ${client.url} has no models to chat with.`))
})

/** What is piped in; none on a terminal. */
const piped: Effect.Effect<Option.Option<string>> = Effect.promise(async () => {
  if (process.stdin.isTTY) return Option.none()
  const chunks: Array<Buffer> = []
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk))
  return Option.some(Buffer.concat(chunks).toString("utf8").trim())
})

const screen: TerminalChat.Screen = { input: process.stdin, output: process.stdout }

export const chatCommand = Command.make(
  "chat",
  { model, system, temperature, maxTokens, ...serverOptions, words },
  ({ model, words, system, temperature, maxTokens, ...server }) =>
    Effect.gen(function* () {
      const asked = interpret(model, words)
      if (asked.guessed && Option.isSome(asked.model)) yield* checkGuess(asked.model.value)
      const question = Option.isSome(asked.question) ? asked.question : yield* piped
      if (Option.contains(question, "")) yield* failed("There is no question: nothing was piped in.")
      const settings = {
        model: Option.isSome(asked.model) ? asked.model.value : yield* chooseModel,
        system,
        temperature,
        maxTokens
      }
      yield* Option.match(question, {
        onNone: () => TerminalChat.converse(settings, screen),
        onSome: (question) => TerminalChat.once(settings, question, screen)
      })
    }).pipe(againstServer(server))
).pipe(Command.withDescription("Chat with a model of a running server; the answer appears as it is generated."))

export const chatHelp: CommandHelp = {
  usage: ["chat [options] [model]", 'chat [options] [--model <model>] "question"', "chat [options] < file"],
  examples: [
    ["helixflow chat", "a conversation"],
    ["helixflow chat org/name", "a conversation with this model"],
    ['helixflow chat -m helix-demo "What can you do?"', "one question"],
    ["echo 'What can you do?' | helixflow chat", "one question from a pipe"]
  ]
}
