import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc, Schema } from "effect"
import { byteAlphabet, toByteAlphabet, tokenizerJson } from "../src/ByteLevelBpe.ts"
import { TokenBytes, TokenizerFile } from "../src/TokenBytes.ts"
import { makeTrie, PLAIN_BYTES } from "../src/VocabularyTrie.ts"

const tableOf = (pieces: ReadonlyArray<string>) =>
  new TokenBytes(
    Schema.decodeUnknownSync(TokenizerFile)(
      tokenizerJson({
        specials: ["<|end|>"],
        tokens: [...byteAlphabet, ...pieces.map((piece) => toByteAlphabet(piece).join(""))],
        merges: []
      })
    )
  )

const pieces = fc.uniqueArray(
  fc.string({ unit: fc.constantFrom("a", "b", '"', "é", " "), minLength: 2, maxLength: 6 }),
  {
    maxLength: 40
  }
)

describe("the trie of a vocabulary", () => {
  it("has each token at the end of its bytes, in the order of a walk", () => {
    fc.assert(
      fc.property(pieces, (some) => {
        const table = tableOf(some)
        const isText = (id: number) => !table.isSpecial(id)
        const { bytes, depths, ends, firsts, longest, plain, tokens } = makeTrie(table, table.size + 5, isText)
        const found = new Map<number, ReadonlyArray<number>>()
        const path: Array<number> = []
        for (let node = 0; node < bytes.length; node++) {
          path.length = depths[node] ?? 0
          path.push(bytes[node] ?? 0)
          for (let index = firsts[node] ?? 0; index < (firsts[node + 1] ?? 0); index++) {
            found.set(tokens[index] ?? -1, [...path])
          }
          const end = ends[node] ?? 0
          expect(depths.subarray(node + 1, end).every((depth) => depth >= path.length)).toBe(true)
          expect(end === bytes.length || (depths[end] ?? 0) < path.length).toBe(true)
          const below = [...bytes.subarray(node, end)]
          const height = Math.max(...depths.subarray(node, end)) - (depths[node] ?? 0) + 1
          expect(plain[node]).toBe(below.every((byte) => PLAIN_BYTES.includes(byte)) ? height : 0)
        }
        const texts = Array.from({ length: table.size }, (_, id) => id).filter(isText)
        expect([...found.keys()].sort((a, b) => a - b)).toEqual(texts)
        for (const [id, text] of found) expect(text).toEqual([...table.bytes(id)])
        expect(longest).toBe(Math.max(...texts.map((id) => table.bytes(id).length)))
      }),
      { numRuns: 40 }
    )
  })
})
