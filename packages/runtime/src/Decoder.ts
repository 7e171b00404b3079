import type { Floats } from "./Floats.ts"
import type { Alike } from "./Grain.ts"

/**
 * A text model with its KV cache: what computes logits below continuous batching. The cache has slots, each holding the keys and
 * values of one sequence; the slots of a decode step are contiguous.
 */
export interface Decoder {
  /** Width of a row of logits. */
  readonly vocabulary: number
  /** Most slots that one `decode` may span; 1 for graphs that can't tell sequences of different lengths apart. */
  readonly width: number
  /** Which runs give the same numbers, where the graph rounds so coarsely that it shows; absent: all. */
  readonly alike?: Alike | undefined
  /**
   * Computes `tokens` at the positions from `from` on and adds them to the slot, which holds `from` tokens. Gives the logits after
   * the last token, or null if they are not wanted. The row may be overwritten by the next call.
   */
  readonly prefill: (request: {
    readonly slot: number
    readonly tokens: ReadonlyArray<number>
    readonly from: number
    readonly logits: boolean
  }) => Promise<Float32Array | null>
  /**
   * Computes whole prompts, one for each of the slots from `first` on, in one run, and gives a row of logits for the last token of each. They
   * may be overwritten by the next call. Absent where a graph computes sequences one by one.
   */
  readonly begin?: (request: {
    readonly first: number
    readonly prompts: ReadonlyArray<ReadonlyArray<number>>
  }) => Promise<Float32Array>
  /**
   * Computes one token of each of the slots from `first` on. `lengths`: tokens that each slot holds. Gives a row of logits per slot, one
   * after the other; they may be overwritten by the next call.
   */
  readonly decode: (request: {
    readonly first: number
    readonly tokens: ReadonlyArray<number>
    readonly lengths: ReadonlyArray<number>
  }) => Promise<Float32Array>
  /**
   * Computes `tokens` of one slot as `prefill` does and gives a row of logits for each: how drafted tokens are checked. Absent where a
   * graph gives only the last one's logits, or computes one token at a time.
   */
  readonly verify?: (request: {
    readonly slot: number
    readonly tokens: ReadonlyArray<number>
    readonly from: number
  }) => Promise<Float32Array>
  /**
   * Makes room for slots that hold up to `tokens` each. Called before a step with the most that any of the first `used` slots will
   * hold; what the others hold may be lost.
   */
  readonly reserve: (tokens: number, used: number) => void
  /** What a slot holds of `count` tokens from `from` on, to be put back by `restore` into any slot of this decoder. */
  readonly read: (slot: number, from: number, count: number) => Floats
  readonly restore: (slot: number, from: number, count: number, block: Floats) => void
  readonly swap: (slot: number, other: number) => void
  readonly copy: (from: number, to: number) => void
  /** Forgets what a slot holds, so that broken numbers don't outlive their sequence. */
  readonly clear: (slot: number) => void
  /** Stops the computation under way, if there is one: it rejects. Absent where a computation can't be stopped. */
  readonly abort?: () => void
  /** Whether the thread is free meanwhile. */
  readonly isOffThread?: boolean
  /** Frees the model, after stopping what is computed. */
  readonly close: () => Promise<void>
}
