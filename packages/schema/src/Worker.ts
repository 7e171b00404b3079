/**
 * What an engine process can be asked, over a Unix socket with msgpack. Tokens of all sequences come on one `Events` stream, one
 * message per engine step, so that the cost of a message is shared by the whole batch.
 */
import { Rpc, RpcGroup } from "@effect/rpc"
import { Schema } from "effect"
import { ClassificationInput, Classifications } from "./Classification.ts"
import { LocalDevice } from "./Device.ts"
import { ContextLengthExceeded, EngineFailed, InvalidRequest, LoadFailed, ModelReplaced } from "./Errors.ts"
import { Embeddings, LoadedModel, Prompt, SequenceRequest, TokenBatch } from "./Generation.ts"
import { Bytes, ModelId, RequestId, TokenId } from "./Ids.ts"
import { EngineChoice, ModelTask } from "./Model.ts"

/** Loads a folder of Hugging Face files. Asked twice, it answers for the first load. */
export class Load extends Rpc.make("Load", {
  payload: {
    model: ModelId,
    path: Schema.String,
    /** Of the files that are meant: others are refused, so that a stream never goes on with them. Any, unless said. */
    revision: Schema.optional(Schema.String),
    task: ModelTask,
    context: Schema.Int,
    slots: Schema.Int,
    /** Bytes of computed prefixes that may be kept besides the slots; none unless said. */
    prefixCache: Schema.optional(Bytes),
    /** What computes it. */
    device: LocalDevice,
    /** Threads of one operator, of those that the processor computes. */
    threads: Schema.Int,
    engine: EngineChoice
  },
  success: LoadedModel,
  error: Schema.Union(LoadFailed, ModelReplaced)
}) {}

export class Tokenize extends Rpc.make("Tokenize", {
  payload: { prompt: Prompt },
  success: Schema.Struct({ tokens: Schema.Array(TokenId) }),
  error: Schema.Union(EngineFailed, InvalidRequest)
}) {}

export class Detokenize extends Rpc.make("Detokenize", {
  payload: { tokens: Schema.Array(TokenId) },
  success: Schema.Struct({ text: Schema.String }),
  error: Schema.Union(EngineFailed, InvalidRequest)
}) {}

/** Puts a sequence into the batch; its tokens come as `Events`. */
export class Submit extends Rpc.make("Submit", {
  payload: SequenceRequest,
  error: Schema.Union(ContextLengthExceeded, EngineFailed, InvalidRequest)
}) {}

/** Takes a sequence out of the batch before the next step. Cancelling what is gone succeeds. */
export class Cancel extends Rpc.make("Cancel", { payload: { request: RequestId } }) {}

/** A sequence that the engine gave up on, while the others go on. */
export class SequenceFailed extends Schema.TaggedClass<SequenceFailed>()("SequenceFailed", {
  request: RequestId,
  epoch: Schema.NonNegativeInt,
  reason: Schema.String
}) {}

/** One item is what one or more steps added to all sequences. */
export class Events extends Rpc.make("Events", {
  success: Schema.Struct({
    batches: Schema.Array(TokenBatch),
    failures: Schema.Array(SequenceFailed)
  }),
  stream: true
}) {}

export class Embed extends Rpc.make("Embed", {
  payload: { request: RequestId, inputs: Schema.Array(Schema.Array(TokenId)) },
  success: Embeddings,
  error: Schema.Union(ContextLengthExceeded, EngineFailed)
}) {}

/** Computes the scores of each input; an error's `param` is `inputs[i]` with the index of the one at fault. */
export class Classify extends Rpc.make("Classify", {
  payload: { request: RequestId, inputs: Schema.Array(ClassificationInput) },
  success: Classifications,
  error: Schema.Union(ContextLengthExceeded, EngineFailed, InvalidRequest)
}) {}

/** The heartbeat: answered between steps, so silence while work is pending means a frozen engine. */
export class Health extends Rpc.make("Health", {
  success: Schema.Struct({
    rss: Bytes,
    /** Of computed prefixes that are kept. */
    prefixCache: Bytes,
    active: Schema.NonNegativeInt,
    steps: Schema.NonNegativeInt
  })
}) {}

export const Worker = RpcGroup.make(Load, Tokenize, Detokenize, Submit, Cancel, Events, Embed, Classify, Health)
