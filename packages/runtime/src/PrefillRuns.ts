/**
 * Which prompts are computed together. A run reads the weights once, however few tokens it has, so short prompts of like length share one;
 * they are padded to the longest of them, and padding costs as much as tokens do. Pure.
 */
import type { PrefillChunk } from "./Batch.ts"

/** A piece of a prompt, and the slot of its sequence. */
export interface Placed<Sequence> {
  readonly chunk: PrefillChunk<Sequence>
  readonly slot: number
  /** Whether it may be computed with others. */
  readonly joins: boolean
}

/**
 * What a run takes besides its tokens, in tokens: 16 for a model of 100 M parameters in single precision on two cores, 7 in 8 bits. So much padding
 * is worth it.
 */
const OVERHEAD = 8
/** Tokens of a shared run with its padding: of more, little is the overhead, and a cancelled prompt is stopped alone. */
const SHARED = 128

/** Cuts pieces, in the order of their slots, into runs: those in slots side by side are together where that costs less. */
export function prefillRuns<Sequence>(
  placed: ReadonlyArray<Placed<Sequence>>
): ReadonlyArray<ReadonlyArray<Placed<Sequence>>> {
  const runs: Array<Array<Placed<Sequence>>> = []
  let width = 0
  for (const piece of placed) {
    const run = runs.at(-1)
    const last = run?.at(-1)
    const { count } = piece.chunk
    if (run !== undefined && last?.joins === true && piece.joins && last.slot + 1 === piece.slot) {
      const joined = Math.max(width, count)
      const size = joined * (run.length + 1)
      if (size <= SHARED && size < width * run.length + count + OVERHEAD) {
        run.push(piece)
        width = joined
        continue
      }
    }
    runs.push([piece])
    width = count
  }
  return runs
}
