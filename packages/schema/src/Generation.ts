/** Generation, free of any wire format: what a client asks a session, and what a session asks an engine. */
import { Schema } from "effect"
import { Caller } from "./Caller.ts"
import { Grammar } from "./Grammar.ts"
import { Bytes, ModelId, RequestId, TokenId } from "./Ids.ts"

const Probability = Schema.Number.pipe(Schema.between(0, 1))

/**
 * How the next token is drawn. The random number of a token is a pure function of (seed, choice, position), so that a
 * stream continues token-exactly on another worker with no generator state to carry.
 */
export class Sampling extends Schema.Class<Sampling>("Sampling")({
  /** 0 means greedy. */
  temperature: Schema.Number.pipe(Schema.between(0, 2)),
  topP: Probability,
  /** 0 means no limit. */
  topK: Schema.NonNegativeInt,
  minP: Probability,
  /** 1 means no limit; Meister et al. 2022, "Locally typical sampling". */
  typicalP: Probability.pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault(() => 1)
  ),
  presencePenalty: Schema.Number.pipe(Schema.between(-2, 2)),
  frequencyPenalty: Schema.Number.pipe(Schema.between(-2, 2)),
  /** 1 means none; Keskar et al. 2019 (CTRL). */
  repetitionPenalty: Schema.Positive,
  /** Token id (as text) to what is added to its logit. */
  logitBias: Schema.Record({ key: Schema.String, value: Schema.Number.pipe(Schema.between(-100, 100)) }),
  seed: Schema.Int
}) {}

/** What a model samples with where nobody says otherwise: its `generation_config.json`. */
export const SamplingDefaults = Schema.Struct({
  temperature: Schema.optional(Sampling.fields.temperature),
  topP: Schema.optional(Sampling.fields.topP),
  topK: Schema.optional(Sampling.fields.topK),
  minP: Schema.optional(Sampling.fields.minP),
  typicalP: Schema.optional(Probability),
  repetitionPenalty: Schema.optional(Sampling.fields.repetitionPenalty)
})
export type SamplingDefaults = typeof SamplingDefaults.Type

/** What a client said of the sampling. What it left out is the model's default, and where it has none, the neutral value. */
export class SamplingOverrides extends Schema.Class<SamplingOverrides>("SamplingOverrides")({
  ...SamplingDefaults.fields,
  presencePenalty: Sampling.fields.presencePenalty,
  frequencyPenalty: Sampling.fields.frequencyPenalty,
  logitBias: Sampling.fields.logitBias,
  seed: Sampling.fields.seed
}) {
  /** The sampling to use with a model that has these defaults. */
  resolve(defaults: SamplingDefaults): Sampling {
    return Sampling.make({
      temperature: this.temperature ?? defaults.temperature ?? 1,
      topP: this.topP ?? defaults.topP ?? 1,
      topK: this.topK ?? defaults.topK ?? 0,
      minP: this.minP ?? defaults.minP ?? 0,
      typicalP: this.typicalP ?? defaults.typicalP ?? 1,
      repetitionPenalty: this.repetitionPenalty ?? defaults.repetitionPenalty ?? 1,
      presencePenalty: this.presencePenalty,
      frequencyPenalty: this.frequencyPenalty,
      logitBias: this.logitBias,
      seed: this.seed
    })
  }
}

/** When a sequence ends besides an end-of-sequence token. */
export class Stopping extends Schema.Class<Stopping>("Stopping")({
  /** Most tokens of the completion; null: what the context leaves. */
  maxTokens: Schema.NullOr(Schema.Int.pipe(Schema.positive())),
  minTokens: Schema.NonNegativeInt,
  /** Texts that end the completion and are not part of it. */
  stop: Schema.Array(Schema.NonEmptyString),
  stopTokenIds: Schema.Array(TokenId),
  ignoreEos: Schema.Boolean
}) {}

const Count = Schema.NonNegativeInt.pipe(
  Schema.propertySignature,
  Schema.withConstructorDefault(() => 0)
)

export const FinishReason = Schema.Literal("stop", "length")
export type FinishReason = typeof FinishReason.Type

export class TopLogprob extends Schema.Class<TopLogprob>("TopLogprob")({
  token: TokenId,
  text: Schema.String,
  /** UTF-8 bytes of the token, which need not be a whole character. */
  bytes: Schema.Array(Schema.Int),
  logprob: Schema.Number
}) {}

/** The log probability of an emitted token under the model (before temperature), and of the likeliest others. */
export class TokenLogprob extends Schema.Class<TokenLogprob>("TokenLogprob")({
  ...TopLogprob.fields,
  top: Schema.Array(TopLogprob)
}) {}

/** A token of a prompt. The first has no log probability: nothing comes before it. */
export class PromptLogprob extends Schema.Class<PromptLogprob>("PromptLogprob")({
  ...TokenLogprob.fields,
  logprob: Schema.NullOr(Schema.Number)
}) {}

export const ChatRole = Schema.Literal("system", "developer", "user", "assistant", "tool")
export type ChatRole = typeof ChatRole.Type

const AnyObject = Schema.Record({ key: Schema.String, value: Schema.Unknown })

/** A call of a tool, in the form that chat templates take: the arguments are an object, not its JSON. */
const TemplateToolCall = Schema.Struct({
  id: Schema.String,
  type: Schema.Literal("function"),
  function: Schema.Struct({ name: Schema.String, arguments: AnyObject })
})

/** A message under the names that chat templates have for its parts. */
export class ChatMessage extends Schema.Class<ChatMessage>("ChatMessage")({
  role: ChatRole,
  content: Schema.String,
  name: Schema.optional(Schema.String),
  tool_calls: Schema.optional(Schema.Array(TemplateToolCall)),
  tool_call_id: Schema.optional(Schema.String)
}) {}

/** What is turned into token ids by the model's own chat template and tokenizer, in the worker. */
export const Prompt = Schema.Union(
  Schema.TaggedStruct("Chat", {
    messages: Schema.Array(ChatMessage),
    /** What the model may call, as OpenAI's API describes tools; absent: nothing. */
    tools: Schema.optional(Schema.Array(AnyObject))
  }),
  Schema.TaggedStruct("Text", {
    text: Schema.String,
    addSpecialTokens: Schema.Boolean,
    /** Which of an embedding model's own prompts is put before the text; its default one when absent. */
    promptName: Schema.optional(Schema.String)
  }),
  Schema.TaggedStruct("Tokens", { tokens: Schema.Array(TokenId) })
)
export type Prompt = typeof Prompt.Type

/** Who shares computed prefixes: requests with the same salt do, others never. A tenant's id. */
const CacheSalt = Schema.String.pipe(
  Schema.propertySignature,
  Schema.withConstructorDefault(() => "")
)

/** A client's request: one prompt, `n` choices. */
export class GenerationRequest extends Schema.Class<GenerationRequest>("GenerationRequest")({
  model: ModelId,
  prompt: Prompt,
  n: Schema.Int.pipe(Schema.between(1, 128)),
  sampling: SamplingOverrides,
  stopping: Stopping,
  /** How many alternatives to report per token; null: no log probabilities. */
  logprobs: Schema.NullOr(Schema.Int.pipe(Schema.between(0, 20))),
  /** Whether the prompt's tokens have log probabilities too, where those of the completion have; they haven't when absent. */
  promptLogprobs: Schema.optional(Schema.Boolean),
  /** What the text of each choice is held to; anything when absent. */
  grammar: Schema.optional(Grammar),
  /** Milliseconds the client is willing to wait for a place. */
  queueTimeout: Schema.Positive,
  /** Whom the queue counts the request to. */
  caller: Schema.optional(Caller),
  /** Whether to tell how it stands with the wait, as events of the session. */
  progress: Schema.Boolean.pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault(() => false)
  ),
  cacheSalt: CacheSalt,
  /** What it has in common with others that had better be computed by the same replica; told from the prompt when absent. */
  conversation: Schema.optional(Schema.String)
}) {}

/**
 * One sequence for one engine. `emitted` is what an earlier attempt produced already: the engine replays it (KV cache,
 * penalties, stop strings, text) and continues after it, numbering from `emitted.length`.
 */
export class SequenceRequest extends Schema.Class<SequenceRequest>("SequenceRequest")({
  request: RequestId,
  /** Which attempt this is; batches of an older epoch are dropped by their receiver. */
  epoch: Schema.NonNegativeInt,
  choice: Schema.NonNegativeInt,
  prompt: Schema.Array(TokenId),
  emitted: Schema.Array(TokenId),
  sampling: Sampling,
  stopping: Stopping,
  logprobs: Schema.NullOr(Schema.NonNegativeInt),
  /** Whether the prompt's tokens have log probabilities too, where those of the completion have; only said by a first attempt. */
  promptLogprobs: Schema.optional(Schema.Boolean),
  /** What the text is held to; anything when absent. */
  grammar: Schema.optional(Grammar),
  cacheSalt: CacheSalt
}) {}

/**
 * What an engine adds to a sequence in a step. `tokens[0]` has the position `seq` in the completion. `text` may lag behind the
 * tokens while a character or a possible stop string is incomplete; with `finish` it is complete.
 */
export class TokenBatch extends Schema.Class<TokenBatch>("TokenBatch")({
  request: RequestId,
  epoch: Schema.NonNegativeInt,
  seq: Schema.NonNegativeInt,
  tokens: Schema.Array(TokenId),
  text: Schema.String,
  logprobs: Schema.NullOr(Schema.Array(TokenLogprob)),
  /** Of the whole prompt, where they are wanted: with the first token of the completion. */
  promptLogprobs: Schema.optional(Schema.Array(PromptLogprob)),
  finish: Schema.NullOr(FinishReason),
  /** Prompt tokens whose keys and values were there already; said with the first batch of an attempt, else 0. */
  cachedTokens: Count
}) {}

export class Usage extends Schema.Class<Usage>("Usage")({
  promptTokens: Schema.NonNegativeInt,
  completionTokens: Schema.NonNegativeInt,
  /** How many of the prompt's tokens did not have to be computed. */
  cachedTokens: Count
}) {}

/** Inputs to embed: texts or token ids, each below the model's context. */
export class EmbeddingRequest extends Schema.Class<EmbeddingRequest>("EmbeddingRequest")({
  model: ModelId,
  inputs: Schema.Array(Prompt),
  queueTimeout: Schema.Positive,
  caller: Schema.optional(Caller)
}) {}

/** Unit vectors, little-endian float32 of `dimensions` elements each, in the order of the inputs. */
export class Embeddings extends Schema.Class<Embeddings>("Embeddings")({
  vectors: Schema.Array(Schema.Uint8ArrayFromSelf),
  dimensions: Schema.Int,
  promptTokens: Schema.NonNegativeInt
}) {}

/** What a worker says of the model it has loaded. */
export class LoadedModel extends Schema.Class<LoadedModel>("LoadedModel")({
  vocabulary: Schema.Int,
  context: Schema.Int,
  /** Resident set size of the worker process once loaded. */
  rss: Bytes,
  /** Milliseconds from the start of the load until ready. */
  loadMillis: Schema.NonNegative
}) {}
