/** The text engine above a model whose every step a test sees and decides. */
import { expect } from "@effect/vitest"
import { TokenId } from "@helixflow/schema/Ids"
import { Schema } from "effect"
import { byteAlphabet, tokenizerJson } from "../src/ByteLevelBpe.ts"
import { ContinuousBatching } from "../src/ContinuousBatching.ts"
import type { Decoder } from "../src/Decoder.ts"
import { PrefixCache } from "../src/PrefixCache.ts"
import { SpecialTokens } from "../src/SpecialTokens.ts"
import { TokenBytes, TokenizerFile } from "../src/TokenBytes.ts"
import { Tokenizer } from "../src/Tokenizer.ts"

const VOCABULARY = 257
/** Tokens that break the model: one makes it compute nonsense, the other makes the runtime fail. */
export const NONSENSE = TokenId.make(100)
export const CRASH = TokenId.make(101)

/** The next token of a text, as the model below computes it. */
export const successor = (tokens: ReadonlyArray<number>) => {
  const hash = tokens.reduce((state, token) => (Math.imul(state, 31) + token) >>> 0, 7)
  return 110 + (hash % 100)
}

/**
 * A model whose cache holds the tokens themselves, so that a slot mixed up with another shows in every later token. `compute` is
 * what happens while it computes, `model` the next token of a text.
 */
export function tokenDecoder(
  slots: number,
  compute: () => Promise<void>,
  model: typeof successor
): Decoder & { readonly calls: Array<string> } {
  let cache: Array<ReadonlyArray<number>> = Array.from({ length: slots }, () => [])
  const calls: Array<string> = []
  let aborted = false
  const append = (slot: number, held: number, tokens: ReadonlyArray<number>): Float32Array => {
    if (tokens.includes(CRASH)) throw new Error("index out of range")
    const text = [...(cache[slot] ?? []).slice(0, held), ...tokens]
    expect(text).toHaveLength(held + tokens.length)
    cache[slot] = text
    const row = new Float32Array(VOCABULARY)
    row[model(text)] = tokens.includes(NONSENSE) ? Number.NaN : 1
    return row
  }
  return {
    vocabulary: VOCABULARY,
    width: slots,
    calls,
    prefill: async ({ slot, tokens, from, logits }) => {
      calls.push(`prefill ${tokens.length}`)
      aborted = false
      await compute()
      if (aborted) throw new Error("aborted")
      const row = append(slot, from, tokens)
      return logits ? row : null
    },
    begin: async ({ first, prompts }) => {
      calls.push(`begin ${prompts.map(({ length }) => length).join(" ")}`)
      aborted = false
      await compute()
      if (aborted) throw new Error("aborted")
      const rows = new Float32Array(prompts.length * VOCABULARY)
      for (const [index, tokens] of prompts.entries()) rows.set(append(first + index, 0, tokens), index * VOCABULARY)
      return rows
    },
    verify: async ({ slot, tokens, from }) => {
      calls.push(`verify ${tokens.length}`)
      const rows = new Float32Array(tokens.length * VOCABULARY)
      for (const [index, token] of tokens.entries()) {
        rows.set(append(slot, from + index, [token]), index * VOCABULARY)
      }
      return rows
    },
    decode: async ({ first, tokens, lengths }) => {
      calls.push(`decode ${tokens.length}`)
      await compute()
      const rows = new Float32Array(tokens.length * VOCABULARY)
      for (const [index, token] of tokens.entries()) {
        rows.set(append(first + index, lengths[index] ?? 0, [token]), index * VOCABULARY)
      }
      return rows
    },
    reserve: () => {},
    read: (slot, from, count) => Float32Array.from((cache[slot] ?? []).slice(from, from + count)),
    restore: (slot, from, count, block) => {
      const text = cache[slot] ?? []
      expect(block).toHaveLength(count)
      cache[slot] = [...text.slice(0, from), ...block]
    },
    swap: (slot, other) => {
      cache = cache.map((text, at) => (at === slot ? (cache[other] ?? []) : at === other ? (cache[slot] ?? []) : text))
    },
    copy: (from, to) => {
      cache = cache.map((text, at) => (at === to ? (cache[from] ?? []) : text))
    },
    clear: (slot) => {
      cache[slot] = []
    },
    abort: () => {
      calls.push("abort")
      aborted = true
    },
    close: async () => {}
  }
}

export const table = new TokenBytes(
  Schema.decodeUnknownSync(TokenizerFile)(
    tokenizerJson({ specials: ["<|end|>"], tokens: [...byteAlphabet], merges: [] })
  )
)
const ticking = () => {
  let time = 0
  return () => ++time
}
export const blockTokens = 4
/** Unless said otherwise, every computation takes as long as any other. */
export const makeEngine = (
  slots: number,
  keptBlocks = 0,
  compute = async () => {},
  model = successor,
  now = ticking()
) => {
  const decoder = tokenDecoder(slots, compute, model)
  const tokenizer = new Tokenizer({
    encoder: { encode: () => ({ ids: [] }) },
    table,
    template: null,
    specialTokens: new SpecialTokens({ model: { vocab: {} } }),
    specialTokensInMessages: false,
    eosTokenId: null,
    prompts: { byName: new Map(), default: "" },
    vocabulary: VOCABULARY,
    context: 512
  })
  const engine = new ContinuousBatching({
    decoder,
    tokenizer,
    context: 512,
    slots,
    eosTokenIds: [],
    prefixCache: new PrefixCache({ blockTokens, capacity: keptBlocks }),
    now
  })
  return { engine, decoder }
}

export const promptOf = (id: number, length: number) =>
  Array.from({ length }, (_, at) => TokenId.make((id * 7 + at) % 90))
export const completionOf = (prompt: ReadonlyArray<number>, count: number) => {
  const tokens = [...prompt]
  for (let index = 0; index < count; index++) tokens.push(successor(tokens))
  return tokens.slice(prompt.length)
}
