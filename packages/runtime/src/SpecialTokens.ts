/**
 * Keeps what clients write from becoming special tokens. A chat template joins messages and special tokens to one text, and a
 * tokenizer can't tell whose `<|im_end|>` it reads: a user could end their own message and speak as the system. So the tokenizer is
 * made to know special tokens by names alone that no client can write, and a text is given them where its special tokens count. Of a
 * conversation only the template's do: those in messages are hidden while it is rendered.
 *
 *     client   "Hi<|end|>"   --hide-->    "Hi⟪0⟫"
 *     template               --render-->  "<|user|>Hi⟪0⟫<|end|>"
 *                            --reveal-->  "⟦1⟧Hi<|end|>⟦0⟧"
 *
 * The brackets are noncharacters of Unicode, which no text is to have; in the texts of clients they become U+FFFD. Pure.
 */
import type { TokenizerFile } from "./TokenBytes.ts"

const NAME = { start: "\u{FDD0}", end: "\u{FDD1}" }
const HIDDEN = { start: "\u{FDD2}", end: "\u{FDD3}" }
const BRACKETS = /[\u{FDD0}-\u{FDD3}]/gu

interface SpecialToken {
  readonly id: number
  readonly content: string
}

export class SpecialTokens {
  readonly #tokens: ReadonlyArray<SpecialToken>
  readonly #pattern: RegExp
  readonly #places: ReadonlyMap<string, number>

  constructor({ added_tokens }: TokenizerFile) {
    this.#tokens = (added_tokens ?? []).filter(({ special, content }) => special && content !== "")
    // of two that begin alike the longer one is meant
    const contents = this.#tokens.map(({ content }) => content).sort((a, b) => b.length - a.length)
    this.#pattern = new RegExp(contents.length === 0 ? "(?!)" : contents.map(escape).join("|"), "gu")
    this.#places = new Map(this.#tokens.map(({ content }, place) => [content, place]))
  }

  /** A client's text whose special tokens count, for the tokenizer of {@link renamed}. */
  name(text: string): string {
    return this.reveal(text.replace(BRACKETS, "\u{FFFD}"))
  }

  /** The value with special tokens hidden in all of its texts. */
  hide<A>(value: A): A
  hide(value: unknown): unknown {
    if (typeof value === "string") {
      return value.replace(BRACKETS, "\u{FFFD}").replace(this.#pattern, (content) => this.#enclose(content, HIDDEN))
    }
    return mapParts(value, (part) => this.hide(part))
  }

  /** A text with names for the special tokens in it, and those in it that were hidden as they were written. */
  reveal(rendered: string): string {
    const named = rendered.replace(this.#pattern, (content) => this.#enclose(content, NAME))
    return named.replace(/\u{FDD2}(\d+)\u{FDD3}/gu, (_, place) => this.#tokens[Number(place)]?.content ?? "")
  }

  /** `tokenizer.json` with names for special tokens: it doesn't know their texts any more. */
  renamed(json: object): object {
    const { added_tokens: added, model, post_processor: processor, ...rest } = fieldsOf(json)
    return {
      ...rest,
      added_tokens: listOf(added).map((token) => this.#renameAdded(fieldsOf(token))),
      post_processor: this.#renameTexts(processor ?? null),
      model: this.#renameModel(fieldsOf(model))
    }
  }

  #renameAdded(token: Fields): object {
    const name = this.#nameOf(token["content"])
    return name === undefined || token["special"] !== true ? token : { ...token, content: name, normalized: false }
  }

  /** The tokens that are put around a text are said by their texts. */
  #renameTexts(value: unknown): unknown {
    return typeof value === "string"
      ? (this.#nameOf(value) ?? value)
      : mapParts(value, (part) => this.#renameTexts(part))
  }

  /** Unigram finds every piece of its vocabulary in a text, special ones too. What is unknown is said by its text. */
  #renameModel({ vocab, ...model }: Fields): object {
    const names = new Map(this.#tokens.map(({ id, content }) => [id, this.#enclose(content, NAME)]))
    const { unk_id: unknownId, unk_token: unknown } = model
    if (typeof unknownId === "number") names.delete(unknownId)
    const rename = (piece: unknown, id: unknown) =>
      piece === unknown || typeof id !== "number" ? piece : (names.get(id) ?? piece)
    if (Array.isArray(vocab)) {
      const pieces: Array<unknown> = vocab.slice()
      for (const id of names.keys()) {
        const [piece, ...score] = listOf(pieces[id])
        if (id in pieces) pieces[id] = [rename(piece, id), ...score]
      }
      return { ...model, vocab: pieces }
    }
    // a vocabulary is long: only what is renamed is touched
    const ids: Record<string, unknown> = fieldsOf(vocab)
    for (const [piece, id] of Object.entries(ids)) {
      if (typeof id !== "number" || !names.has(id)) continue
      const name = rename(piece, id)
      if (name === piece) continue
      delete ids[piece]
      ids[String(name)] = id
    }
    return { ...model, vocab: ids }
  }

  #nameOf(content: unknown): string | undefined {
    return typeof content === "string" && this.#places.has(content) ? this.#enclose(content, NAME) : undefined
  }

  #enclose(content: string, { start, end }: typeof NAME): string {
    return `${start}${this.#places.get(content) ?? 0}${end}`
  }
}

const escape = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")

type Fields = Readonly<Record<string, unknown>>

/** A copy. */
const fieldsOf = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null ? { ...value } : {}

const listOf = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])

/** A JSON value with its parts replaced; keys are texts too. */
const mapParts = (value: unknown, replace: (part: unknown) => unknown): unknown => {
  if (Array.isArray(value)) return value.map(replace)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [replace(key), replace(part)]))
}
