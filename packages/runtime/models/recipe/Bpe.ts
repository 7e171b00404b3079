/** Trains a byte-level BPE vocabulary: the most frequent pair of neighbours becomes a token, again and again. */
import { type ByteLevelVocabulary, byteAlphabet, toByteAlphabet } from "../../src/ByteLevelBpe.ts"

/** GPT-2's pieces; merges never cross them. Digits are cut out before. */
const pieces = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu

export const pretokenize = (text: string): ReadonlyArray<string> =>
  text
    .split(/(\p{N})/u)
    .filter((part) => part !== "")
    .flatMap((part) => part.match(pieces) ?? [])

/**
 * @param texts what to learn from, without special tokens
 * @param size tokens of the vocabulary, specials and the 256 bytes among them
 */
export function trainBpe(texts: Iterable<string>, specials: ReadonlyArray<string>, size: number): ByteLevelVocabulary {
  const counts = new Map<string, number>()
  for (const text of texts) for (const piece of pretokenize(text)) counts.set(piece, (counts.get(piece) ?? 0) + 1)
  const words = [...counts].map(([piece, count]) => ({ symbols: toByteAlphabet(piece), count }))

  const tokens = [...byteAlphabet]
  const merges: Array<readonly [string, string]> = []
  while (tokens.length + specials.length < size) {
    const best = mostFrequentPair(words)
    if (best === undefined) throw new RangeError(`the texts give no more than ${tokens.length} tokens`)
    const [left, right] = best
    merges.push(best)
    tokens.push(left + right)
    for (const { symbols } of words) {
      for (let i = 0; i + 1 < symbols.length; i++) {
        if (symbols[i] === left && symbols[i + 1] === right) symbols.splice(i, 2, left + right)
      }
    }
  }
  return { specials, tokens, merges }
}

function mostFrequentPair(
  words: ReadonlyArray<{ readonly symbols: ReadonlyArray<string>; readonly count: number }>
): readonly [string, string] | undefined {
  const pairs = new Map<string, { readonly pair: readonly [string, string]; count: number }>()
  for (const { count, symbols } of words) {
    for (const [i, right] of symbols.entries()) {
      const left = symbols[i - 1]
      if (left === undefined) continue
      const key = `${left} ${right}`
      const entry = pairs.get(key)
      if (entry === undefined) pairs.set(key, { pair: [left, right], count })
      else entry.count += count
    }
  }
  let best: { readonly pair: readonly [string, string]; readonly count: number; readonly key: string } | undefined
  for (const [key, { count, pair }] of pairs) {
    // Ties go by the alphabet, so that the vocabulary does not depend on the order of the texts.
    if (best === undefined || count > best.count || (count === best.count && key < best.key))
      best = { pair, count, key }
  }
  return best !== undefined && best.count > 1 ? best.pair : undefined
}
