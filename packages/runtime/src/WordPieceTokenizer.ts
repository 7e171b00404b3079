/** A WordPiece tokenizer (BERT's kind) around any vocabulary: lower case, and `[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`. */
import { head } from "./TokenizerJson.ts"

/** The tokens of BERT, whose ids are their places. The first is the padding. */
const specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
const characters = [..."abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'-"]

/** Every text of ASCII letters and digits has tokens: the characters, and those that continue a word, are always there. */
export const wordPieces = (words: ReadonlyArray<string>): ReadonlyArray<string> => [
  ...specials,
  ...characters,
  ...characters.map((character) => `##${character}`),
  ...words
]

/** The vocabulary as a Hugging Face `tokenizer.json`. Ids are the places in `tokens`, which begin as {@link wordPieces} do. */
export function wordPieceTokenizerJson(tokens: ReadonlyArray<string>): object {
  const special = (name: string, type: number) => ({ SpecialToken: { id: name, type_id: type } })
  const text = (name: string, type: number) => ({ Sequence: { id: name, type_id: type } })
  return {
    ...head({ specials }),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [special("[CLS]", 0), text("A", 0), special("[SEP]", 0)],
      pair: [special("[CLS]", 0), text("A", 0), special("[SEP]", 0), text("B", 1), special("[SEP]", 1)],
      special_tokens: Object.fromEntries(
        ["[CLS]", "[SEP]"].map((name) => [name, { id: name, ids: [specials.indexOf(name)], tokens: [name] }])
      )
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id]))
    }
  }
}
