/**
 * Tokenizers as converters write them from SentencePiece models, around any vocabulary: a space is `▁`. Three kinds are met: BPE whose
 * texts begin with a space of the tokenizer's own (Llama, Mistral), BPE whose texts don't (Gemma), and Unigram (T5, XLM-R).
 */
import { type AddedTokens, head } from "./TokenizerJson.ts"

const SPACE = "▁"
const characters = [..."abcdefghijklmnopqrstuvwxyz<>|_.,!?\n"]
const byteTokens = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`)
/** Two merges make `▁ba` of ` ba`. */
const merges = [
  ["b", "a"],
  [SPACE, "ba"]
] as const

export interface SentencePieceVocabulary extends Required<AddedTokens> {
  /** Tokens in all; words are made up for what is left. */
  readonly size: number
}

/** `gemma`: no space before the text. */
export function sentencePieceBpeJson(vocabulary: SentencePieceVocabulary, style: "llama" | "gemma"): object {
  const pieces = [SPACE, ...characters, "ba", `${SPACE}ba`]
  const tokens = fill([...vocabulary.specials, ...vocabulary.added, ...byteTokens, ...pieces], vocabulary.size)
  const toSpaces = { type: "Replace", pattern: { String: SPACE }, content: " " }
  const fromSpaces = { type: "Replace", pattern: { String: " " }, content: SPACE }
  const stripped = { type: "Strip", content: " ", start: 1, stop: 0 }
  const prefixed = [{ type: "Prepend", prepend: SPACE }, fromSpaces]
  return {
    ...head(vocabulary),
    post_processor: null,
    normalizer: style === "llama" ? { type: "Sequence", normalizers: prefixed } : fromSpaces,
    pre_tokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: [toSpaces, { type: "ByteFallback" }, { type: "Fuse" }, ...(style === "llama" ? [stripped] : [])]
    },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges
    }
  }
}

/** What isn't made of its characters is unknown: the first special token. */
export function unigramJson(vocabulary: SentencePieceVocabulary): object {
  const tokens = fill(
    [...vocabulary.specials, ...vocabulary.added, SPACE, ...characters, `${SPACE}ba`],
    vocabulary.size
  )
  const metaspace = { type: "Metaspace", replacement: SPACE, prepend_scheme: "always", split: true }
  return {
    ...head(vocabulary),
    post_processor: null,
    normalizer: null,
    pre_tokenizer: metaspace,
    decoder: metaspace,
    model: {
      type: "Unigram",
      unk_id: 0,
      // as converters give them, special tokens have the best score of all
      vocab: tokens.map((token, id) => [token, id < vocabulary.specials.length ? 0 : token.length - 10]),
      byte_fallback: false
    }
  }
}

const fill = (tokens: ReadonlyArray<string>, size: number): ReadonlyArray<string> => [
  ...tokens,
  ...Array.from({ length: size - tokens.length }, (_, index) => `${SPACE}w${index}x`)
]
