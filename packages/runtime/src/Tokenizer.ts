/** A model's tokenizer and chat template: prompts become token ids, and ids text. */
import * as fs from "node:fs"
import * as path from "node:path"
import { InvalidRequest, LoadFailed } from "@helixflow/schema/Errors"
import type { Prompt } from "@helixflow/schema/Generation"
import { TokenId } from "@helixflow/schema/Ids"
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers"
import { Schema } from "effect"
import { ChatTemplate, type Conversation } from "./ChatTemplate.ts"
import type { EmbeddingPrompts } from "./EmbeddingFolder.ts"
import { contentOf } from "./ModelConfig.ts"
import type { ModelFolder } from "./ModelFolder.ts"
import { SpecialTokens } from "./SpecialTokens.ts"
import { TokenBytes, TokenizerFile } from "./TokenBytes.ts"

/** The part of `@huggingface/tokenizers` used here: the types it ships don't resolve under Node's rules. */
interface PromptEncoder {
  readonly encode: (
    text: string,
    options: {
      readonly add_special_tokens: boolean
      readonly text_pair?: string
      readonly return_token_type_ids?: boolean
    }
  ) => { readonly ids: ReadonlyArray<number>; readonly token_type_ids?: ReadonlyArray<number> }
}

/** Two texts as one sequence. */
export interface TokenPair {
  readonly tokens: ReadonlyArray<TokenId>
  /** To which of the texts each token belongs: 0 or 1, as the model was trained. */
  readonly types: ReadonlyArray<number>
}

/** What a model's files say of its tokenizer. */
export interface TokenizerParts {
  /** Knows special tokens by the names that `specialTokens` gives them. */
  readonly encoder: PromptEncoder
  readonly table: TokenBytes
  readonly template: ChatTemplate | null
  readonly specialTokens: SpecialTokens
  /** Whether clients may write them in messages. */
  readonly specialTokensInMessages: boolean
  readonly eosTokenId: number | null
  readonly prompts: EmbeddingPrompts
}

export class Tokenizer {
  readonly #encoder: PromptEncoder
  readonly #template: ChatTemplate | null
  readonly #specialTokens: SpecialTokens
  readonly #specialTokensInMessages: boolean
  readonly #prompts: EmbeddingPrompts
  /** What each id stands for. */
  readonly table: TokenBytes
  /** What ends a turn or a text according to the tokenizer's own files; null: they don't say. */
  readonly eosTokenId: number | null
  /** Ids below this are the model's. */
  readonly vocabulary: number
  readonly #context: number
  /** Texts with more bytes have more tokens than the context: they are refused before they cost seconds. */
  readonly #mostBytes: number

  constructor(parts: TokenizerParts & { readonly vocabulary: number; readonly context: number }) {
    this.#encoder = parts.encoder
    this.#template = parts.template
    this.#specialTokens = parts.specialTokens
    this.#specialTokensInMessages = parts.specialTokensInMessages
    this.eosTokenId = parts.eosTokenId
    this.#prompts = parts.prompts
    this.table = parts.table
    this.vocabulary = parts.vocabulary
    this.#context = parts.context
    this.#mostBytes = parts.table.longest * (parts.context + 1)
  }

  /** The ids of a prompt. Throws `InvalidRequest`. */
  encode(prompt: Prompt): ReadonlyArray<TokenId> {
    switch (prompt._tag) {
      case "Tokens":
        return this.#check(prompt.tokens, "prompt")
      case "Text":
        return this.#encodeText(this.#promptOf(prompt.promptName) + prompt.text, prompt.addSpecialTokens, "prompt")
      case "Chat":
        if (this.#template === null) {
          throw new InvalidRequest({
            reason: "The model has no chat template: ask for a completion.",
            param: "messages"
          })
        }
        return this.#encodeChat(this.#template, prompt)
    }
  }

  /** Templates write the special tokens themselves, and unless it is allowed nobody else does. */
  #encodeChat(template: ChatTemplate, conversation: Conversation): ReadonlyArray<TokenId> {
    const tokens = this.#specialTokens
    const text = this.#specialTokensInMessages
      ? tokens.name(template.render(conversation))
      : tokens.reveal(template.render(tokens.hide(conversation)))
    this.#checkBytes(Buffer.byteLength(text), "messages")
    return toTokens(this.#encoder.encode(text, { add_special_tokens: false }).ids)
  }

  /** Two texts, neither empty, joined with the special tokens that the model's own files put around them. Throws `InvalidRequest`. */
  encodePair(first: string, second: string): TokenPair {
    this.#checkBytes(Buffer.byteLength(first) + Buffer.byteLength(second), "prompt")
    const tokens = this.#specialTokens
    const options = { add_special_tokens: true, text_pair: tokens.name(second), return_token_type_ids: true }
    const joined = this.#encoder.encode(tokens.name(first), options)
    if (joined.token_type_ids !== undefined) return { tokens: toTokens(joined.ids), types: joined.token_type_ids }
    // a tokenizer that adds no special tokens: with some such, the library leaves the second text out
    const [head, tail] = [this.#encode(first, true), this.#encode(second, true)]
    return { tokens: [...head, ...tail], types: [...head.map(() => 0), ...tail.map(() => 1)] }
  }

  /** The text of ids, special tokens included. Throws `InvalidRequest` for an id outside the vocabulary. */
  decode(tokens: ReadonlyArray<TokenId>): string {
    return this.table.decode(this.#check(tokens, "tokens"))
  }

  #promptOf(name: string | undefined): string {
    if (name === undefined) return this.#prompts.default
    const prompt = this.#prompts.byName.get(name)
    if (prompt !== undefined) return prompt
    const names = [...this.#prompts.byName.keys()].map((known) => `\`${known}\``)
    const has = names.length === 0 ? "it has none" : `it has ${names.join(", ")}`
    throw new InvalidRequest({ reason: `The model has no prompt \`${name}\`: ${has}.`, param: "prompt_name" })
  }

  #encodeText(text: string, addSpecialTokens: boolean, param: string): ReadonlyArray<TokenId> {
    this.#checkBytes(Buffer.byteLength(text), param)
    return this.#encode(text, addSpecialTokens)
  }

  #encode(text: string, addSpecialTokens: boolean): ReadonlyArray<TokenId> {
    const named = this.#specialTokens.name(text)
    return toTokens(this.#encoder.encode(named, { add_special_tokens: addSpecialTokens }).ids)
  }

  #checkBytes(bytes: number, param: string): void {
    if (bytes <= this.#mostBytes) return
    throw new InvalidRequest({
      reason: `The text of ${bytes} bytes has more tokens than the model's context of ${this.#context}.`,
      param,
      code: "context_length_exceeded"
    })
  }

  #check(tokens: ReadonlyArray<TokenId>, param: string): ReadonlyArray<TokenId> {
    const unknown = tokens.find((id) => id >= this.vocabulary)
    if (unknown === undefined) return tokens
    throw new InvalidRequest({
      reason: `The token id ${unknown} is outside of the model's vocabulary of ${this.vocabulary}.`,
      param
    })
  }
}

const toTokens = (ids: ReadonlyArray<number>): ReadonlyArray<TokenId> => ids.map((id) => TokenId.make(id, true))

export interface LoadTokenizerOptions {
  /** The model's name, for messages. */
  readonly model: string
  /** Ids that the model knows; null: those of the tokenizer. */
  readonly vocabulary: number | null
  /** Most tokens of a sequence. */
  readonly context: number
}

/** Reads a model's tokenizer. Throws `LoadFailed`. */
export function loadTokenizer(folder: ModelFolder, { model, vocabulary, context }: LoadTokenizerOptions): Tokenizer {
  const parts = readTokenizer(folder, model)
  return new Tokenizer({ ...parts, vocabulary: vocabulary ?? parts.table.size, context })
}

/** The same, for those who know only later how many ids the model knows. Throws `LoadFailed`. */
export function readTokenizer(folder: ModelFolder, model: string): TokenizerParts {
  const file = path.join(folder.path, "tokenizer.json")
  const attempt = <A>(what: string, make: () => A): A => {
    try {
      return make()
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new LoadFailed({ model, reason: `${what}: ${reason}`, file })
    }
  }
  const json: unknown = attempt("malformed JSON", () => JSON.parse(fs.readFileSync(file, "utf8")))
  const { chatTemplates, tokenizerConfig } = folder
  const parsed = attempt("not a tokenizer", () => Schema.decodeUnknownSync(TokenizerFile)(json))
  const table = attempt("not a tokenizer", () => new TokenBytes(parsed))
  const specialTokens = new SpecialTokens(parsed)
  return {
    encoder: attempt(
      "unsupported tokenizer",
      // decoded above, so it is an object
      () => new HuggingFaceTokenizer(specialTokens.renamed(Object(json)), tokenizerConfig)
    ),
    table,
    template: attempt("unsupported chat template", () =>
      chatTemplates === null ? null : new ChatTemplate(chatTemplates, tokenizerConfig)
    ),
    eosTokenId:
      parsed.added_tokens?.find(({ content }) => content === contentOf(tokenizerConfig.eos_token))?.id ?? null,
    specialTokens,
    specialTokensInMessages: folder.specialTokensInMessages,
    prompts: folder.embeddingPrompts
  }
}
