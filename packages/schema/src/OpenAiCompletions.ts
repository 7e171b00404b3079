/** `POST /v1/completions`. Source: https://platform.openai.com/docs/api-reference/completions/create */
import { Schema } from "effect"
import { Bool, expected, IntegerBetween, NonEmptyText, nullish, unsupported } from "./OpenAiParameter.ts"
import { queueFields } from "./OpenAiQueue.ts"
import { relatedIssue, samplingFields, TokenIds } from "./OpenAiSampling.ts"

/** Most choices that one request generates, over all its prompts. */
export const maxChoices = 128

const NonEmptyTokenIds = TokenIds.pipe(Schema.minItems(1), expected("a non-empty array of token ids"))

const CompletionPrompt = Schema.Union(
  Schema.String,
  Schema.Array(Schema.String).pipe(Schema.minItems(1)),
  NonEmptyTokenIds,
  Schema.Array(NonEmptyTokenIds).pipe(Schema.minItems(1))
).pipe(expected("a string, an array of strings, an array of token ids, or an array of arrays of token ids"))

export const OpenAiCompletionRequest = Schema.Struct({
  model: NonEmptyText,
  prompt: CompletionPrompt,
  ...samplingFields,
  ...queueFields,
  echo: nullish(Bool),
  logprobs: nullish(IntegerBetween(0, 5)),
  best_of: nullish(IntegerBetween(1, 128)),
  suffix: unsupported("Insertion is not supported.")
}).pipe(
  expected("a JSON object"),
  Schema.filter((body) => {
    const n = body.n ?? 1
    const generated = body.best_of ?? n
    if (generated < n) return { path: ["best_of"], message: "'best_of' must not be less than 'n'." }
    if (generated > n && body.stream === true) {
      return { path: ["best_of"], message: "'best_of' must equal 'n' when 'stream' is true." }
    }
    const prompts = typeof body.prompt === "string" || typeof body.prompt[0] === "number" ? 1 : body.prompt.length
    if (prompts * generated > maxChoices) {
      return { path: ["prompt"], message: `At most ${maxChoices} choices over all prompts are allowed.` }
    }
    return relatedIssue(body)
  })
)
export type OpenAiCompletionRequest = typeof OpenAiCompletionRequest.Type
