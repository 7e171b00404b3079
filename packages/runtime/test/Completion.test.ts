import { describe, expect, it } from "@effect/vitest"
import { TokenId } from "@helixflow/schema/Ids"
import { Schema } from "effect"
import { byteAlphabet, tokenizerJson } from "../src/ByteLevelBpe.ts"
import { Completion } from "../src/Completion.ts"
import type { GrammarState } from "../src/GrammarState.ts"
import { compile } from "../src/Grammars.ts"
import { TokenBytes, TokenizerFile } from "../src/TokenBytes.ts"
import { stopping } from "./sequences.ts"

const END = TokenId.make(0)
const table = new TokenBytes(
  Schema.decodeUnknownSync(TokenizerFile)(
    tokenizerJson({ specials: ["<|end|>"], tokens: [...byteAlphabet], merges: [] })
  )
)
const idOfByte = (byte: number) => {
  for (let id = 1; id < table.size; id++) if (table.bytes(id)[0] === byte) return id
  return -1
}
const idsOf = (text: string) => [...new TextEncoder().encode(text)].map(idOfByte)

const complete = (options: Parameters<typeof stopping>[0] = {}, limit = 1000, grammar: GrammarState | null = null) =>
  new Completion({ stopping: stopping(options), eosTokenIds: [END], limit, table, prompt: [1, 2], grammar })
const pushAll = (completion: Completion, ids: ReadonlyArray<number>) => ids.map((id) => completion.push(id)).join("")

describe("Completion", () => {
  it("grows by what is certain", () => {
    const completion = complete({ stop: ["END"] })
    expect(pushAll(completion, idsOf("hi E"))).toBe("hi ")
    expect(completion.finish).toBeNull()
    expect(pushAll(completion, idsOf("x"))).toBe("Ex")
    expect(completion.length).toBe(5)
  })

  it("ends at the end token with all that was held back", () => {
    const completion = complete({ stop: ["END"] })
    expect(pushAll(completion, [...idsOf("the EN"), END])).toBe("the EN")
    expect(completion.finish).toBe("stop")
    expect(completion.length).toBe(7)
  })

  it("ends at its limit, even in the middle of a character", () => {
    const completion = complete({}, 4)
    expect(pushAll(completion, idsOf("ab😀").slice(0, 4))).toBe("ab\ufffd")
    expect(completion.finish).toBe("length")
  })

  it("says stop where the last token completes a stop string", () => {
    const completion = complete({ stop: ["d"] }, 4)
    expect(pushAll(completion, idsOf("abcd"))).toBe("abc")
    expect(completion.finish).toBe("stop")
  })

  it("can't end before its least length", () => {
    const completion = complete({ minTokens: 4, stop: ["a"], stopTokenIds: [TokenId.make(9)] })
    expect([...completion.forbidden]).toEqual([END, 9])
    expect(pushAll(completion, idsOf("aaa"))).toBe("aaa")
    expect(completion.finish).toBeNull()
    expect(completion.push(idOfByte(97))).toBe("")
    expect(completion.finish).toBe("stop")
    expect([...completion.forbidden]).toEqual([])
  })

  it("goes on after the end token when told to ignore it", () => {
    const completion = complete({ ignoreEos: true })
    expect(pushAll(completion, [...idsOf("a"), END, ...idsOf("b")])).toBe("ab")
    expect(completion.finish).toBeNull()
  })

  it("counts what was emitted, for the penalties", () => {
    const completion = complete()
    pushAll(completion, [7, 8, 7])
    expect([...completion.emitted]).toEqual([
      [7, 2],
      [8, 1]
    ])
    expect([...completion.prompt]).toEqual([1, 2])
  })

  it("ends with its grammar, at its limit before, and takes no token outside of it", () => {
    const grammar = compile({ _tag: "JsonSchema", strict: false, schema: { enum: [{ a: "é" }] } })
    const whole = complete({}, 1000, grammar)
    expect(pushAll(whole, idsOf('{"a":"é"}'))).toBe('{"a":"é"}')
    expect(whole.finish).toBe("stop")
    expect(complete({}, 10, grammar).grammar).toBe(grammar)
    const last = complete({}, idsOf('{"a":"é"}').length, grammar)
    pushAll(last, idsOf('{"a":"é"}'))
    expect(last.finish).toBe("stop")
    const cut = complete({}, 4, grammar)
    expect(pushAll(cut, idsOf('{"a"'))).toBe('{"a"')
    expect(cut.finish).toBe("length")
    const stopped = complete({ stop: ["é"] }, 1000, grammar)
    expect(pushAll(stopped, idsOf('{"a":"é'))).toBe('{"a":"')
    expect(stopped.finish).toBe("stop")
    expect(() => pushAll(complete({}, 1000, grammar), idsOf('{"b'))).toThrow(/outside of the grammar/)
  })
})
