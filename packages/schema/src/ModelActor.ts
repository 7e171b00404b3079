/** What a replica can be asked: a loaded model on a device, with its worker process. */
import { Rpc, RpcGroup } from "@effect/rpc"
import { Schema } from "effect"
import { ClassificationInput, Classifications } from "./Classification.ts"
import {
  ContextLengthExceeded,
  EngineFailed,
  InvalidRequest,
  LoadFailed,
  ModelReplaced,
  Preempted,
  ReplicaNotReady,
  WorkerLost
} from "./Errors.ts"
import { Embeddings, LoadedModel, Prompt, SequenceRequest, TokenBatch } from "./Generation.ts"
import { RequestId, TokenId } from "./Ids.ts"
import { MailboxLimit } from "./MailboxLimit.ts"
import { ReplicaStatus } from "./Model.ts"

const Lost = Schema.Union(ReplicaNotReady, WorkerLost, EngineFailed)

/** Starts the worker and loads the model, or waits for the load that runs already. */
export class Load extends Rpc.make("Load", {
  success: LoadedModel,
  error: Schema.Union(LoadFailed, ModelReplaced)
}) {}

/** The token ids of a prompt by the model's own chat template and tokenizer. */
export class Tokenize extends Rpc.make("Tokenize", {
  payload: { prompt: Prompt },
  success: Schema.Struct({ tokens: Schema.Array(TokenId) }),
  error: Schema.Union(Lost, InvalidRequest)
}) {}

export class Detokenize extends Rpc.make("Detokenize", {
  payload: { tokens: Schema.Array(TokenId) },
  success: Schema.Struct({ text: Schema.String }),
  error: Schema.Union(Lost, InvalidRequest)
}) {}

/** Computes one sequence. Ends after the batch with a `finish`; interrupting the stream frees the slot within a step. */
export class Generate extends Rpc.make("Generate", {
  payload: SequenceRequest,
  success: TokenBatch,
  error: Schema.Union(Lost, Preempted, ContextLengthExceeded, InvalidRequest),
  stream: true
}) {}

/**
 * Ends a sequence with `Preempted`, so that its session continues it later. False: it isn't here, or has got further for less time than it
 * took to begin, so that more would be computed again than was got.
 */
export class Preempt extends Rpc.make("Preempt", { payload: { request: RequestId }, success: Schema.Boolean }) {}

/** Embeds tokenized inputs, each a row. */
export class Embed extends Rpc.make("Embed", {
  payload: { request: RequestId, inputs: Schema.Array(Schema.Array(TokenId)) },
  success: Embeddings,
  error: Schema.Union(Lost, ContextLengthExceeded)
}) {}

/** Computes the scores of each input; an error's `param` is `inputs[i]` with the index of the one at fault. */
export class Classify extends Rpc.make("Classify", {
  payload: { request: RequestId, inputs: Schema.Array(ClassificationInput) },
  success: Classifications,
  error: Schema.Union(Lost, ContextLengthExceeded, InvalidRequest)
}) {}

/**
 * Takes no new requests and succeeds when the running ones have ended. `handOver`: streams don't run to their end here; they fail
 * with `ReplicaNotReady`, and their sessions continue them elsewhere.
 */
export class Drain extends Rpc.make("Drain", { payload: { handOver: Schema.Boolean } }) {}

/** Ends the worker process; succeeds when it is gone, for only then is its memory free. */
export class Unload extends Rpc.make("Unload") {}

export class Status extends Rpc.make("Status", { success: ReplicaStatus }) {}

/** The status now and after every change. */
export class Watch extends Rpc.make("Watch", { success: ReplicaStatus, stream: true }) {}

export const ModelActor = RpcGroup.make(
  Load,
  Tokenize,
  Detokenize,
  Generate,
  Preempt,
  Embed,
  Classify,
  Drain,
  Unload,
  Status,
  Watch
).middleware(MailboxLimit)
