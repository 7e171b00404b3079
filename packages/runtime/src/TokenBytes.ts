/**
 * The bytes that each token id stands for, made from `tokenizer.json`. With it a stream of ids becomes text without asking the
 * tokenizer: characters may be cut anywhere between tokens, bytes can't be. Pure.
 */
import { Schema } from "effect"

/** Steps of `tokenizer.json`'s decoder that change a single token; the others (Fuse, CTC, …) have no effect here. */
const DecoderStep = Schema.Struct({
  type: Schema.String,
  pattern: Schema.optional(Schema.Struct({ String: Schema.optional(Schema.String) })),
  content: Schema.optional(Schema.NullOr(Schema.String)),
  start: Schema.optional(Schema.Number),
  replacement: Schema.optional(Schema.String),
  prefix: Schema.optional(Schema.NullOr(Schema.String)),
  suffix: Schema.optional(Schema.NullOr(Schema.String)),
  decoders: Schema.optional(Schema.Array(Schema.suspend((): Schema.Schema<DecoderStep> => DecoderStep)))
})

interface DecoderStep {
  readonly type: string
  readonly pattern?: { readonly String?: string | undefined } | undefined
  readonly content?: string | null | undefined
  readonly start?: number | undefined
  readonly replacement?: string | undefined
  readonly prefix?: string | null | undefined
  readonly suffix?: string | null | undefined
  readonly decoders?: ReadonlyArray<DecoderStep> | undefined
}

/** The part of `tokenizer.json` that says what tokens look like. The vocabulary is checked while it is read: it is long. */
export const TokenizerFile = Schema.Struct({
  model: Schema.Struct({ vocab: Schema.Unknown }),
  decoder: Schema.optional(Schema.NullOr(DecoderStep)),
  added_tokens: Schema.optional(
    Schema.Array(Schema.Struct({ id: Schema.NonNegativeInt, content: Schema.String, special: Schema.Boolean }))
  )
})
export type TokenizerFile = typeof TokenizerFile.Type

const NOTHING = new Uint8Array(0)
const encoder = new TextEncoder()
/** Texts of GPT-2's visible characters alone, and of those below them that stand for nothing. */
const BYTE_ALPHABET = /^[!-\u0143]*$/

export class TokenBytes {
  /** By id; none until it is asked for: a vocabulary is long, and an answer has few of its tokens. */
  readonly #bytes: Array<Uint8Array> = []
  /** What is written in the file, by id. */
  readonly #pieces: ReadonlyArray<string | undefined>
  readonly #isByteLevel: boolean
  readonly #decode: (piece: string) => Uint8Array
  readonly #special = new Set<number>()
  /** Whether a text's leading space is an artefact of the tokenizer: it marks the start of a word. */
  readonly leadingSpace: boolean

  constructor(file: TokenizerFile) {
    const steps = flatten(file.decoder ?? null)
    this.#decode = makePieceDecoder(steps)
    this.#isByteLevel = steps.some(({ type }) => type === "ByteLevel")
    const isWordPiece = steps.some(({ type }) => type === "WordPiece")
    this.#pieces = piecesOf(file.model.vocab)
    for (const { id, content, special } of file.added_tokens ?? []) {
      // added tokens are not written in the byte alphabet; special ones stand as they are, but for WordPiece's space
      this.#bytes[id] = this.#isByteLevel || (special && !isWordPiece) ? encoder.encode(content) : this.#decode(content)
      if (special) this.#special.add(id)
    }
    this.leadingSpace = steps.some(
      ({ type, start, content }) =>
        type === "Metaspace" || type === "WordPiece" || (type === "Strip" && content === " " && (start ?? 0) > 0)
    )
  }

  /** One more than the highest id. */
  get size(): number {
    return Math.max(this.#bytes.length, this.#pieces.length)
  }

  /** Bytes of the longest token. */
  get longest(): number {
    let most = 0
    for (let id = 0; id < this.size; id++) {
      const piece = this.#pieces[id] ?? ""
      // a character of the byte alphabet is a byte: most pieces needn't be decoded
      const isShorter = this.#isByteLevel && this.#bytes[id] === undefined && piece.length <= most
      if (!isShorter || !BYTE_ALPHABET.test(piece)) most = Math.max(most, this.bytes(id).length)
    }
    return most
  }

  /** The token's bytes; none for an id that the tokenizer doesn't know (vocabularies are padded). */
  bytes(id: number): Uint8Array {
    const known = this.#bytes[id]
    if (known !== undefined) return known
    const piece = this.#pieces[id]
    if (piece === undefined) return NOTHING
    const bytes = this.#decode(piece)
    this.#bytes[id] = bytes
    return bytes
  }

  /** Whether the token is a mark for the model (`<|im_end|>`) and no text. */
  isSpecial(id: number): boolean {
    return this.#special.has(id)
  }

  /** All tokens' text, special ones included, as it stands at the start of a text. */
  decode(ids: ReadonlyArray<number>): string {
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(Buffer.concat(ids.map((id) => this.bytes(id))))
    return this.leadingSpace && text.startsWith(" ") ? text.slice(1) : text
  }
}

function flatten(step: DecoderStep | null): ReadonlyArray<DecoderStep> {
  if (step === null) return []
  return step.type === "Sequence" ? (step.decoders ?? []).flatMap(flatten) : [step]
}

/** What is written in the file, by id. BPE and WordPiece: piece to id. Unigram: pairs of piece and score, whose index is the id. */
function piecesOf(vocab: unknown): ReadonlyArray<string | undefined> {
  if (Array.isArray(vocab)) {
    return vocab.map((entry) => (Array.isArray(entry) && typeof entry[0] === "string" ? entry[0] : undefined))
  }
  if (typeof vocab !== "object" || vocab === null) return []
  const known = Object.entries(vocab)
  // in its final size: arrays that are filled in any order are slow
  const pieces = new Array<string | undefined>(known.length).fill(undefined)
  for (const [piece, id] of known) if (typeof id === "number") pieces[id] = piece
  return pieces
}

function makePieceDecoder(steps: ReadonlyArray<DecoderStep>): (piece: string) => Uint8Array {
  if (steps.some(({ type }) => type === "ByteLevel")) return decodeByteLevel
  const byteFallback = steps.some(({ type }) => type === "ByteFallback")
  return (piece) => {
    const byte = byteFallback ? /^<0x([0-9A-Fa-f]{2})>$/.exec(piece)?.[1] : undefined
    if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16))
    return encoder.encode(steps.reduce(applyStep, piece))
  }
}

function applyStep(piece: string, step: DecoderStep): string {
  switch (step.type) {
    case "Replace":
      return step.pattern?.String === undefined ? piece : piece.replaceAll(step.pattern.String, step.content ?? "")
    case "Metaspace":
      return piece.replaceAll(step.replacement ?? "▁", " ")
    case "WordPiece": {
      const prefix = step.prefix ?? "##"
      return piece.startsWith(prefix) ? piece.slice(prefix.length) : ` ${piece}`
    }
    case "BPEDecoder":
      return piece.replaceAll(step.suffix ?? "</w>", " ")
    default:
      return piece
  }
}

/**
 * GPT-2's alphabet of visible characters for all bytes: printable Latin-1 stands for itself, the others for code points from
 * 256 on in order. https://github.com/openai/gpt-2/blob/master/src/encoder.py
 */
const byteOfCharacter = new Map<string, number>()
let shifted = 256
for (let byte = 0; byte < 256; byte++) {
  const visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  byteOfCharacter.set(String.fromCodePoint(visible ? byte : shifted++), byte)
}

function decodeByteLevel(piece: string): Uint8Array {
  const bytes: Array<number> = []
  for (const character of piece) {
    const byte = byteOfCharacter.get(character)
    if (byte === undefined) bytes.push(...encoder.encode(character))
    else bytes.push(byte)
  }
  return Uint8Array.from(bytes)
}
