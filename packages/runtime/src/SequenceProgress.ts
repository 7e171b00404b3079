/** How far a choice has come, whichever workers computed it, and what to make of a batch that arrives. */
import type { FinishReason, TokenBatch } from "@helixflow/schema/Generation"
import type { TokenId } from "@helixflow/schema/Ids"

/** Invariant: `tokens` are the positions 0 to `tokens.length - 1` of the completion, each exactly once. */
export interface SequenceProgress {
  /** Which attempt computes it now; what an earlier one says late is dropped. */
  epoch: number
  readonly tokens: Array<TokenId>
  finish: FinishReason | null
}

export const make = (): SequenceProgress => ({ epoch: 0, tokens: [], finish: null })

/**
 * - `next`: continues where the choice is;
 * - `stale`: of an older attempt, or had already;
 * - `gap`: something between is missing, so this attempt cannot be trusted.
 */
export const judge = (progress: Readonly<SequenceProgress>, batch: TokenBatch): "next" | "stale" | "gap" => {
  if (batch.epoch !== progress.epoch || progress.finish !== null) return "stale"
  const expected = progress.tokens.length
  return batch.seq === expected ? "next" : batch.seq < expected ? "stale" : "gap"
}

/** Takes in a batch that is `next`. */
export const grow = (progress: SequenceProgress, batch: TokenBatch): void => {
  for (const token of batch.tokens) progress.tokens.push(token)
  progress.finish = batch.finish
}
