/** The parameters of drawing and stopping that chat and legacy completions share. */
import { Schema } from "effect"
import { TokenId } from "./Ids.ts"
import {
  Bool,
  expected,
  IntegerBetween,
  NonEmptyText,
  NonNegativeInteger,
  NumberBetween,
  neutral,
  nullish,
  PositiveInteger,
  Text
} from "./OpenAiParameter.ts"

const maxStops = 4

const Stop = Schema.Union(Schema.NonEmptyString, Schema.Array(NonEmptyText).pipe(Schema.maxItems(maxStops))).pipe(
  expected(`a non-empty string or an array of at most ${maxStops} of them`)
)

const LogitBias = Schema.Record({
  key: Schema.String.pipe(Schema.pattern(/^\d{1,9}$/), expected("a token id")),
  value: NumberBetween(-100, 100)
}).pipe(expected("an object from token ids to numbers between -100 and 100"))

export const TokenIds = Schema.Array(TokenId.pipe(Schema.lessThan(2 ** 31), expected("a token id"))).pipe(
  expected("an array of token ids")
)

const StreamOptions = Schema.Struct({
  include_usage: nullish(Bool),
  /** Not OpenAI's: comments that tell how it stands while the request waits for a place. */
  include_progress: nullish(Bool),
  include_obfuscation: neutral(Schema.Literal(false), "Streams are not obfuscated.")
}).pipe(expected("an object"))

export const samplingFields = {
  temperature: nullish(NumberBetween(0, 2)),
  top_p: nullish(NumberBetween(0, 1)),
  n: nullish(IntegerBetween(1, 128)),
  seed: nullish(Schema.Int.pipe(expected("an integer"))),
  stop: nullish(Stop),
  max_tokens: nullish(PositiveInteger),
  presence_penalty: nullish(NumberBetween(-2, 2)),
  frequency_penalty: nullish(NumberBetween(-2, 2)),
  logit_bias: nullish(LogitBias),
  stream: nullish(Bool),
  stream_options: nullish(StreamOptions),
  user: nullish(Text),
  // Not OpenAI's; as vLLM has them, and typical_p as Text Generation Inference does.
  /** -1 and 0 mean no limit. */
  top_k: nullish(Schema.Int.pipe(Schema.greaterThanOrEqualTo(-1), expected("an integer, -1 or more"))),
  min_p: nullish(NumberBetween(0, 1)),
  typical_p: nullish(NumberBetween(0, 1)),
  repetition_penalty: nullish(
    Schema.Number.pipe(Schema.finite(), Schema.positive(), expected("a number greater than 0"))
  ),
  min_tokens: nullish(NonNegativeInteger),
  ignore_eos: nullish(Bool),
  stop_token_ids: nullish(TokenIds)
}

interface Related {
  readonly stream?: boolean | null | undefined
  readonly stream_options?: object | null | undefined
  readonly min_tokens?: number | null | undefined
  readonly max_tokens?: number | null | undefined
}

/** What the values must be to each other; undefined if they are. */
export const relatedIssue = (body: Related): Schema.FilterIssue | undefined => {
  if (body.stream_options && body.stream !== true) {
    return { path: ["stream_options"], message: "'stream_options' is only allowed when 'stream' is true." }
  }
  if (body.min_tokens && body.max_tokens && body.min_tokens > body.max_tokens) {
    return { path: ["min_tokens"], message: "'min_tokens' must not be greater than the maximum of tokens." }
  }
  return undefined
}
