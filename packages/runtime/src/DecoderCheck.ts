/**
 * Whether a decoder computes what it should, found out by letting it compute the same in two ways. GPUs need it: drivers have been seen
 * that compute an operator wrongly and say nothing, and text that makes no sense is worse than a model that isn't loaded.
 */
import type { Decoder } from "./Decoder.ts"

/** As many as take more than one tile of a GPU's attention. */
const TOKENS = 64
/** Divides `TOKENS`. */
const PART = 16
/** How much of the logits' range may be rounding, half precision's too. */
const TOLERANCE = 0.02

/** Whether tokens give the same logits together and in parts. Computes in the first slot. */
export async function computesAlike(decoder: Decoder): Promise<boolean> {
  const tokens = Array.from({ length: TOKENS }, (_, index) => (index * 7 + 1) % decoder.vocabulary)
  const together = await decoder.prefill({ slot: 0, tokens, from: 0, logits: true })
  const row = together?.slice() ?? new Float32Array(0)
  let inParts: Float32Array | null = null
  for (let from = 0; from < TOKENS; from += PART) {
    const logits = from + PART === TOKENS
    inParts = await decoder.prefill({ slot: 0, tokens: tokens.slice(from, from + PART), from, logits })
  }
  decoder.clear(0)
  return areAlike(row, inParts ?? new Float32Array(0), TOLERANCE)
}

/** Whether two rows of logits differ by no more than a share of their range. */
export function areAlike(row: Float32Array, other: Float32Array, tolerance: number): boolean {
  const least = other.reduce((least, logit) => Math.min(least, logit), Number.POSITIVE_INFINITY)
  const most = other.reduce((most, logit) => Math.max(most, logit), Number.NEGATIVE_INFINITY)
  return (
    other.length > 0 &&
    other.every((logit, id) => Math.abs(logit - (row[id] ?? Number.NaN)) <= tolerance * (most - least))
  )
}
