/** `POST /v1/embeddings`. Source: https://platform.openai.com/docs/api-reference/embeddings/create */
import { Schema } from "effect"
import { expected, NonEmptyText, nullish, PositiveInteger, Text } from "./OpenAiParameter.ts"
import { queueFields } from "./OpenAiQueue.ts"
import { TokenIds } from "./OpenAiSampling.ts"

const maxInputs = 2048
const NonEmptyTokenIds = TokenIds.pipe(Schema.minItems(1), expected("a non-empty array of token ids"))

const EmbeddingInput = Schema.Union(
  Schema.NonEmptyString,
  Schema.Array(NonEmptyText).pipe(Schema.minItems(1), Schema.maxItems(maxInputs)),
  NonEmptyTokenIds,
  Schema.Array(NonEmptyTokenIds).pipe(Schema.minItems(1), Schema.maxItems(maxInputs))
).pipe(
  expected(
    "a non-empty string, an array of token ids, or an array of " +
      `at most ${maxInputs} non-empty strings or arrays of token ids`
  )
)

export const OpenAiEmbeddingRequest = Schema.Struct({
  model: NonEmptyText,
  input: EmbeddingInput,
  encoding_format: nullish(Schema.Literal("float", "base64")),
  dimensions: nullish(PositiveInteger),
  user: nullish(Text),
  ...queueFields,
  /** Not OpenAI's but Text Embeddings Inference's: which of the model's own prompts is put before the texts. */
  prompt_name: nullish(NonEmptyText)
}).pipe(
  expected("a JSON object"),
  Schema.filter(({ input, prompt_name }) =>
    typeof prompt_name === "string" && typeof [input].flat(2)[0] === "number"
      ? {
          path: ["prompt_name"],
          message: "'prompt_name' is only allowed with texts: token ids are embedded as they are."
        }
      : undefined
  )
)
export type OpenAiEmbeddingRequest = typeof OpenAiEmbeddingRequest.Type

/** `embedding` is an array of floats, or base64 of little-endian float32. */
export interface OpenAiEmbeddingList {
  readonly object: "list"
  readonly data: ReadonlyArray<{
    readonly object: "embedding"
    readonly index: number
    readonly embedding: ReadonlyArray<number> | string
  }>
  readonly model: string
  readonly usage: { readonly prompt_tokens: number; readonly total_tokens: number }
}
