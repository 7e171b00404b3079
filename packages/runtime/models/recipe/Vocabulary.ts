/**
 * The vocabulary of helix-demo. Words of its fixed sentences are tokens; every other word is a row of letters. A small model then
 * sees the letters of what it is to spell, and copies names it has never met one letter at a time.
 */
import { type ByteLevelVocabulary, byteAlphabet, toByteAlphabet } from "../../src/ByteLevelBpe.ts"
import { pretokenize } from "./Bpe.ts"
import type { Conversation } from "./Turn.ts"
import { capitals, months, names, opposites, spellingWords, topics, unknownPlaces, weekdays } from "./WorldFacts.ts"

/** Words that are to be copied or spelled wherever they stand. */
const copied = new Set([...spellingWords, ...names, ...topics, ...unknownPlaces].map((word) => word.toLowerCase()))

/** Words that answers are made of are tokens, with a space before them and, as in JSON, without; and so are those words in haste. */
const always = [...capitals.flat(), ...opposites.flat(), ...weekdays, ...months]
  .flatMap((text) => [text, text.toLowerCase()])
  .flatMap((text) => [text, ` ${text}`])
  .flatMap(pretokenize)

const letters = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]

/** What the split is about in a conversation is copied too: words made up for it, and names. */
const ofKeys = ({ keys }: Conversation): ReadonlySet<string> =>
  new Set(
    keys.flatMap((key) =>
      /^(word|name|place|topic):/.test(key)
        ? key
            .toLowerCase()
            .split(/[^a-z]+/)
            .slice(1)
        : []
    )
  )

/**
 * @param conversations what to take words from, with their texts
 * @param size tokens of the vocabulary at most, specials and the 256 bytes among them
 * @param least how often a word must occur
 */
export function wordVocabulary(
  conversations: Iterable<readonly [Conversation, texts: ReadonlyArray<string>]>,
  specials: ReadonlyArray<string>,
  size: number,
  least: number
): ByteLevelVocabulary {
  const counts = new Map(always.map((piece) => [piece, Number.POSITIVE_INFINITY]))
  for (const [conversation, texts] of conversations) {
    const own = ofKeys(conversation)
    for (const piece of texts.flatMap(pretokenize)) {
      const word = piece.trim().toLowerCase()
      if (!copied.has(word) && !own.has(word)) counts.set(piece, (counts.get(piece) ?? 0) + 1)
    }
  }
  // A letter with the space before it is one token, so that a word has as many tokens as letters wherever it stands.
  const merges = letters.map((letter) => [toByteAlphabet(" ").join(""), letter] as const)
  const tokens = [...byteAlphabet, ...merges.map((pair) => pair.join(""))]
  const known = new Set(tokens)
  const words = [...counts]
    .map(([piece, count]) => [toByteAlphabet(piece).join(""), count] as const)
    .filter(([token, count]) => count >= least && !known.has(token))
    // Ties go by the alphabet, so that the vocabulary does not depend on the order of the texts.
    .sort(([left, a], [right, b]) => (a === b ? 0 : b - a) || (left < right ? -1 : 1))
    .slice(0, size - specials.length - tokens.length)
  return { specials, tokens: [...tokens, ...words.map(([token]) => token)], merges, wholeWords: true }
}
