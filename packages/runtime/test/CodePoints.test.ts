import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { type CodePointRange, codePoints } from "../src/CodePoints.ts"
import { CompiledGrammar, type GrammarState } from "../src/GrammarState.ts"

const takes = (start: GrammarState, bytes: Iterable<number>): boolean => {
  let state: GrammarState | null = start
  for (const byte of bytes) state = state?.next(byte) ?? null
  return state?.mayEnd === true
}
const startOf = (range: CodePointRange) => new CompiledGrammar(codePoints([range])).start
const utf8 = (codePoint: number) => new TextEncoder().encode(String.fromCodePoint(codePoint))

const scalar = fc
  .oneof(fc.nat(0xff), fc.nat(0xffff), fc.nat(0x10ffff), fc.constantFrom(0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000))
  .filter((codePoint) => codePoint < 0xd800 || codePoint > 0xdfff)

describe("codePoints", () => {
  it("takes the characters of a range as UTF-8 writes them, and no others", () => {
    fc.assert(
      fc.property(scalar, scalar, fc.array(scalar, { minLength: 8 }), (one, other, characters) => {
        const range: CodePointRange = [Math.min(one, other), Math.max(one, other)]
        const start = startOf(range)
        for (const codePoint of [...characters, ...range, range[0] + 1, range[1] - 1]) {
          if (codePoint < 0 || (codePoint >= 0xd800 && codePoint <= 0xdfff)) continue
          expect(takes(start, utf8(codePoint))).toBe(codePoint >= range[0] && codePoint <= range[1])
        }
      })
    )
  })

  it.each([
    ["an overlong form", [0xc0, 0x80]],
    ["a longer overlong form", [0xe0, 0x80, 0x80]],
    ["a byte that only follows", [0x80]],
    ["half a character", [0xe4, 0xb8]],
    ["what is beyond Unicode", [0xf4, 0x90, 0x80, 0x80]]
  ])("does not take %s", (_, bytes) => {
    expect(takes(startOf([0, 0x10ffff]), bytes)).toBe(false)
  })
})
