/** `server.json` in a model's folder: a program that serves the model over HTTP with this API, e.g. vLLM or llama-server. */
import { ModelTask } from "@helixflow/schema/Model"
import { Schema } from "effect"
import { Amount } from "./ModelSettings.ts"

const HttpPath = Schema.String.pipe(Schema.pattern(/^\/[!-~]*$/, { message: () => "must be a path such as /health" }))

export const ServerSettings = Schema.Struct({
  /**
   * The program, found as a shell finds it, and its arguments. `{port}` in them is the port that it has to listen on, `{devices}` the
   * devices that it has, e.g. `cuda:0,cuda:1`.
   */
  command: Schema.NonEmptyArray(Schema.NonEmptyString),
  /** Further variables of its environment; `{port}` and `{devices}` as above. */
  env: Schema.optionalWith(Schema.Record({ key: Schema.NonEmptyString, value: Schema.String }), {
    default: () => ({})
  }),
  /** What it takes of its device's memory, or of all its devices' where it is split, e.g. `"6GiB"`. */
  memory: Amount,
  task: Schema.optionalWith(ModelTask, { default: () => "text-generation" as const }),
  /** Most tokens of a sequence. */
  context: Schema.Int.pipe(Schema.positive()),
  /** What it calls the model; our name of it unless said. */
  model: Schema.optional(Schema.NonEmptyString),
  /** Answers 200 when it is ready. */
  ready: Schema.optionalWith(HttpPath, { default: () => "/health" }),
  /** Where its API begins. */
  base: Schema.optionalWith(HttpPath, { default: () => "/v1" })
})
export type ServerSettings = typeof ServerSettings.Type

export const fileName = "server.json"

export const decode = Schema.decodeUnknownEither(Schema.parseJson(ServerSettings), { onExcessProperty: "error" })
