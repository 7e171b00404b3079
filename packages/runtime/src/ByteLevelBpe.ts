/**
 * The parts of a byte-level BPE tokenizer (GPT-2's kind) that do not depend on training: the alphabet that stands for the 256
 * bytes, and the `tokenizer.json` around a vocabulary and its merges.
 */
import { head } from "./TokenizerJson.ts"

/** Bytes that print as themselves: everything in Latin-1 but control characters, the space and the soft hyphen. */
const printable = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff)

/**
 * The character that stands for each byte in a byte-level vocabulary. Bytes that do not print take the characters from U+0100
 * on, in order: a space is `Ġ`, a newline `Ċ`.
 */
export const byteAlphabet: ReadonlyArray<string> = (() => {
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++))
})()

/** Text as the characters that stand for its UTF-8 bytes. */
export function toByteAlphabet(text: string): Array<string> {
  return Array.from(new TextEncoder().encode(text), (byte) => byteAlphabet[byte] ?? "")
}

export interface ByteLevelVocabulary {
  /** Tokens that the text never contains by itself, in the order of their ids, which start at 0. */
  readonly specials: ReadonlyArray<string>
  /** The other tokens in the order of their ids, written in the byte alphabet. */
  readonly tokens: ReadonlyArray<string>
  /** Pairs of tokens that become one, the most urgent first. */
  readonly merges: ReadonlyArray<readonly [string, string]>
  /** Whether a word that is a token becomes it without merges, even where no merges lead to it. */
  readonly wholeWords?: boolean
}

/** The vocabulary as a Hugging Face `tokenizer.json`. Digits are tokens of their own, so that numbers keep their places. */
export function tokenizerJson({ merges, specials, tokens, wholeWords = false }: ByteLevelVocabulary): object {
  return {
    ...head({ specials }),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Digits", individual_digits: true },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true }
      ]
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: wholeWords,
      vocab: Object.fromEntries([...specials, ...tokens].map((token, id) => [token, id])),
      merges
    }
  }
}
