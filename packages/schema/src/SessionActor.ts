/**
 * What a session can be asked. It holds the prompt's token ids and every emitted id, and so can finish on another worker what
 * one has begun.
 */
import { Rpc, RpcGroup } from "@effect/rpc"
import { Schema } from "effect"
import { Caller, QueueProgress } from "./Caller.ts"
import { ClassificationRequest, Classifications } from "./Classification.ts"
import {
  ActorUnreachable,
  AttemptsExhausted,
  Cancelled,
  ContextLengthExceeded,
  EngineFailed,
  InvalidRequest,
  LoadFailed,
  MailboxFull,
  ModelNotFound,
  ModelReplaced,
  NoDeviceFits,
  QueueFull,
  QueueTimeout,
  RequestQuarantined,
  ShuttingDown,
  TaskNotSupported,
  TenantQueueFull
} from "./Errors.ts"
import {
  EmbeddingRequest,
  Embeddings,
  FinishReason,
  GenerationRequest,
  Prompt,
  PromptLogprob,
  TokenLogprob,
  Usage
} from "./Generation.ts"
import { ModelId, SessionId, TokenId } from "./Ids.ts"
import { MailboxLimit } from "./MailboxLimit.ts"

/** What can keep a request from being answered. */
export const SessionError = Schema.Union(
  ActorUnreachable,
  AttemptsExhausted,
  Cancelled,
  ContextLengthExceeded,
  EngineFailed,
  InvalidRequest,
  LoadFailed,
  MailboxFull,
  ModelNotFound,
  ModelReplaced,
  NoDeviceFits,
  QueueFull,
  QueueTimeout,
  RequestQuarantined,
  ShuttingDown,
  TaskNotSupported,
  TenantQueueFull
)
export type SessionError = typeof SessionError.Type

/** A choice waits for a place: told to those who ask for `progress`, and again whenever it has come on. */
export class Waiting extends Schema.TaggedClass<Waiting>()("Waiting", {
  seq: Schema.NonNegativeInt,
  choice: Schema.NonNegativeInt,
  ...QueueProgress.fields
}) {}

/** The request has a place and its prompt is known; the first event, but for those of waiting. */
export class Started extends Schema.TaggedClass<Started>()("Started", {
  seq: Schema.NonNegativeInt,
  session: SessionId,
  model: ModelId,
  promptTokens: Schema.NonNegativeInt
}) {}

/** Text (perhaps empty) that a choice has grown by, and the tokens behind it. */
export class Delta extends Schema.TaggedClass<Delta>()("Delta", {
  seq: Schema.NonNegativeInt,
  choice: Schema.NonNegativeInt,
  text: Schema.String,
  tokens: Schema.Array(TokenId),
  logprobs: Schema.NullOr(Schema.Array(TokenLogprob)),
  /** Of the whole prompt, where they are wanted: with a choice's first token. */
  promptLogprobs: Schema.optional(Schema.Array(PromptLogprob)),
  finish: Schema.NullOr(FinishReason),
  /** Prompt tokens that were known when the prompt was computed first, if any; said once. */
  cachedTokens: Schema.optional(Schema.NonNegativeInt)
}) {}

/** All choices have ended; always the last event. */
export class Completed extends Schema.TaggedClass<Completed>()("Completed", {
  seq: Schema.NonNegativeInt,
  usage: Usage
}) {}

/** `seq` counts a session's events from 0 without gaps, so that a client can say what it has. */
export const SessionEvent = Schema.Union(Waiting, Started, Delta, Completed)
export type SessionEvent = typeof SessionEvent.Type

/**
 * Starts the generation and streams its events. A session generates once: asked again it streams the same events. When the
 * last subscriber leaves before the end, the generation is cancelled and its slot freed.
 */
export class Ask extends Rpc.make("Ask", {
  payload: GenerationRequest,
  success: SessionEvent,
  error: SessionError,
  stream: true
}) {}

/** The events after `after` (-1: all), past and to come. */
export class Resume extends Rpc.make("Resume", {
  payload: { after: Schema.Int },
  success: SessionEvent,
  error: SessionError,
  stream: true
}) {}

/** Ends the generation; its subscribers fail with `Cancelled`. */
export class Cancel extends Rpc.make("Cancel") {}

/** The prompt's and every choice's token ids so far. */
export class History extends Rpc.make("History", {
  success: Schema.Struct({
    prompt: Schema.Array(TokenId),
    choices: Schema.Array(Schema.Struct({ tokens: Schema.Array(TokenId), text: Schema.String }))
  })
}) {}

export class Embed extends Rpc.make("Embed", { payload: EmbeddingRequest, success: Embeddings, error: SessionError }) {}

export class Classify extends Rpc.make("Classify", {
  payload: ClassificationRequest,
  success: Classifications,
  error: SessionError
}) {}

export class Tokenize extends Rpc.make("Tokenize", {
  payload: { model: ModelId, prompt: Prompt, queueTimeout: Schema.Positive, caller: Schema.optional(Caller) },
  success: Schema.Struct({ tokens: Schema.Array(TokenId), context: Schema.Int }),
  error: SessionError
}) {}

export class Detokenize extends Rpc.make("Detokenize", {
  payload: {
    model: ModelId,
    tokens: Schema.Array(TokenId),
    queueTimeout: Schema.Positive,
    caller: Schema.optional(Caller)
  },
  success: Schema.Struct({ text: Schema.String }),
  error: SessionError
}) {}

export const SessionActor = RpcGroup.make(
  Ask,
  Resume,
  Cancel,
  History,
  Embed,
  Classify,
  Tokenize,
  Detokenize
).middleware(MailboxLimit)
