/**
 * What every engine is: a loaded model that computes. An engine is one file; the worker process around it does all that is about
 * processes, sockets and messages, so an engine is plain TypeScript with no Effect in its loop.
 *
 * The worker calls `step` again and again while `active > 0` and lets messages in between two steps. All methods are called from
 * one thread. An engine that computes on another lets messages in during a step too: whatever is submitted or cancelled then takes
 * effect at the next step at the latest.
 */
import type { ClassificationInput, Classifications } from "@helixflow/schema/Classification"
import type { LocalDevice } from "@helixflow/schema/Device"
import type { Embeddings, LoadedModel, Prompt, SequenceRequest, TokenBatch } from "@helixflow/schema/Generation"
import type { TokenId } from "@helixflow/schema/Ids"
import type { EngineChoice, ModelTask } from "@helixflow/schema/Model"

export interface LoadOptions {
  /** The model's public name, for messages. */
  readonly model: string
  /** The model's folder. */
  readonly path: string
  readonly task: ModelTask
  /** Most tokens of a sequence; the model's own limit where that is smaller. */
  readonly context: number
  /** Sequences (or rows of embeddings) computed at once. */
  readonly slots: number
  /** Bytes of computed prefixes that may be kept besides the slots; none unless said. */
  readonly prefixCache?: number | undefined
  /** What computes it; the processor when absent. */
  readonly device?: LocalDevice
  /** Threads of one operator, of those that the processor computes. */
  readonly threads: number
  /** `auto` when absent. */
  readonly engine?: EngineChoice
}

interface EngineBase {
  /** Limits of the model as it was loaded. */
  readonly limits: Pick<LoadedModel, "vocabulary" | "context">
  /** Sequences or inputs that are not finished. */
  readonly active: number
  /** Throws `InvalidRequest`. */
  readonly tokenize: (prompt: Prompt) => ReadonlyArray<TokenId>
  /** Throws `InvalidRequest` for an id outside the vocabulary. */
  readonly detokenize: (tokens: ReadonlyArray<TokenId>) => string
  /** Ends what the request has in the engine; unknown requests are none. */
  readonly cancel: (request: string) => void
  /** Whether the thread is free for messages while a step computes; it is not unless said. */
  readonly isOffThread?: boolean
  /** Computes a bounded piece of work. Rejects only if the engine as a whole is broken. */
  readonly step: () => Promise<StepResult>
  /** Frees the model. Memory returns to the system only with the end of the process. */
  readonly close: () => Promise<void>
}

/** Generates text: sequences join and leave a running batch. */
export interface TextEngine extends EngineBase {
  readonly task: "text-generation"
  /** Bytes of computed prefixes that are kept; absent: none ever. */
  readonly prefixBytes?: number
  /**
   * Takes a sequence in. The same request with the same epoch is taken once; with a later epoch it replaces the earlier one.
   * Throws `ContextLengthExceeded`, `InvalidRequest` and `EngineFailed`.
   */
  readonly submit: (request: SequenceRequest) => void
}

/** Turns token sequences into unit vectors. */
export interface EmbeddingEngine extends EngineBase {
  readonly task: "embedding"
  /** Settles in some later `step`. Rejects with `ContextLengthExceeded` and `EngineFailed`. */
  readonly embed: (request: string, inputs: ReadonlyArray<ReadonlyArray<TokenId>>) => Promise<Embeddings>
}

/** Gives texts, or pairs of them, a score per label. */
export interface ClassificationEngine extends EngineBase {
  readonly task: "classification"
  /**
   * Settles in some later `step`. Rejects with `ContextLengthExceeded`, `InvalidRequest` and `EngineFailed`; the `param` of the first two
   * is `inputs[i]` with the index of the input at fault.
   */
  readonly classify: (request: string, inputs: ReadonlyArray<ClassificationInput>) => Promise<Classifications>
}

export type Engine = TextEngine | EmbeddingEngine | ClassificationEngine

/** A sequence that the engine gave up on, while the others go on. */
export interface SequenceFailure {
  readonly request: SequenceRequest["request"]
  readonly epoch: number
  readonly reason: string
}

export interface StepResult {
  readonly batches: ReadonlyArray<TokenBatch>
  readonly failures: ReadonlyArray<SequenceFailure>
}

/** Loads a model. Rejects with `LoadFailed`. */
export type LoadEngine = (options: LoadOptions) => Promise<Engine>
