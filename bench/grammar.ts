/** What does it cost to hold a text to a grammar, with a vocabulary of 32,000 and one of 150,000? */

import { byteAlphabet, toByteAlphabet, tokenizerJson } from "@helixflow/runtime/ByteLevelBpe"
import type { GrammarState } from "@helixflow/runtime/GrammarState"
import { compile } from "@helixflow/runtime/Grammars"
import { TokenBytes, TokenizerFile } from "@helixflow/runtime/TokenBytes"
import { TokenMasks } from "@helixflow/runtime/TokenMasks"
import { makeTrie } from "@helixflow/runtime/VocabularyTrie"
import { Schema } from "effect"
import * as Hardware from "./Hardware.ts"
import { print } from "./Report.ts"

/** Words of English length, half of them after a space, and the pieces of JSON that tokenizers have. */
const vocabulary = (size: number) => {
  let state = 1
  const below = (count: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return (state >>> 8) % count
  }
  const letters = "etaoinshrdlcumwfgypbvkjxqz"
  const tokens = new Set([
    '{"',
    '":',
    '": ',
    '", "',
    '"}',
    '"]',
    "},",
    "],",
    '",',
    "true",
    "false",
    "null",
    "\\n",
    "\\u"
  ])
  while (tokens.size < size - 257) {
    const word = Array.from({ length: 2 + below(8) }, () => letters[Math.min(below(26), below(26))]).join("")
    tokens.add(below(2) === 0 ? ` ${word}` : word)
  }
  return new TokenBytes(
    Schema.decodeUnknownSync(TokenizerFile)(
      tokenizerJson({
        specials: ["<|end|>"],
        tokens: [...byteAlphabet, ...[...tokens].map((piece) => toByteAlphabet(piece).join(""))],
        merges: []
      })
    )
  )
}

const schema = {
  type: "object",
  properties: {
    name: { type: "string" },
    short: { type: "string", maxLength: 40 },
    tags: { type: "array", items: { enum: ["red", "green", "blue"] } },
    any: {},
    count: { type: "integer" }
  },
  required: ["name", "short", "tags", "any", "count"]
}

const timed = <A>(run: () => A): readonly [A, number] => {
  const started = performance.now()
  const result = run()
  return [result, performance.now() - started]
}

const after = (start: GrammarState, text: string): GrammarState => {
  let state: GrammarState | null = start
  for (const byte of Buffer.from(text)) state = state?.next(byte) ?? null
  if (state === null) throw new Error(`${text} is outside of the grammar`)
  return state
}

const places = {
  "at the beginning": "",
  "in a string": '{"name": "ab',
  "in the next string": '{"name":"ab","short":"","tags":[],"any":["ab',
  "in a string whose characters are counted": '{"name": "ab", "short": "ab',
  "in an enumeration": '{"name": "ab", "short": "", "tags": ["r',
  "before any value": '{"name":"ab","short":"","tags":[],"any":'
}

const measure = (size: number): Record<string, string> => {
  const table = vocabulary(size)
  const [trie, trieMillis] = timed(() => makeTrie(table, size, (id) => id !== 0))
  const masks = new TokenMasks(trie, size)
  const [start, compileMillis] = timed(() => compile({ _tag: "JsonSchema", strict: false, schema }))
  const masked = Object.entries(places).map(([where, text]) => {
    const state = after(start, text)
    const [{ ids, says }, millis] = timed(() => masks.of(state))
    return [`mask ${where}`, `${millis.toFixed(2)} (${ids.length} ${says})`] as const
  })
  const state = after(start, places["in a string"])
  const [, known] = timed(() => {
    for (let index = 0; index < 1_000; index++) masks.of(state)
  })
  return {
    "the vocabulary's trie, once": trieMillis.toFixed(0),
    "a schema": compileMillis.toFixed(1),
    ...Object.fromEntries(masked),
    "a mask that is known": (known / 1_000).toFixed(4)
  }
}

const [small, large] = [measure(32_000), measure(150_000)]
print(
  "grammar",
  "milliseconds, each measured once, in this order, in a process that has just started",
  Hardware.describe(),
  Object.keys(small).map((what) => ({ what, "32,000 tokens": small[what] ?? "", "150,000 tokens": large[what] ?? "" }))
)
