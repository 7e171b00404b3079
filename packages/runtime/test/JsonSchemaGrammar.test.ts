import { describe, expect, it } from "@effect/vitest"
import { FastCheck as fc, Schema } from "effect"
import { byteAlphabet, toByteAlphabet, tokenizerJson } from "../src/ByteLevelBpe.ts"
import { CompiledGrammar, type GrammarState } from "../src/GrammarState.ts"
import { jsonSchema, UnsupportedSchema } from "../src/JsonSchemaGrammar.ts"
import { TokenBytes, TokenizerFile } from "../src/TokenBytes.ts"
import { TokenMasks } from "../src/TokenMasks.ts"
import { makeTrie } from "../src/VocabularyTrie.ts"
import { type Choices, choicesOf, schemas, spaced, validates, valueOf } from "./jsonSchemas.ts"

type Case = readonly [schema: unknown, text: string, expected: boolean]

const startOf = (schema: unknown, strict = false) => new CompiledGrammar(jsonSchema(schema, { strict })).start

const after = (start: GrammarState, text: string): GrammarState | null => {
  let state: GrammarState | null = start
  for (const byte of new TextEncoder().encode(text)) state = state?.next(byte) ?? null
  return state
}
const accepts = (schema: unknown, text: string) => after(startOf(schema), text)?.mayEnd === true

const END = 0
const pieces = [
  '{"',
  '":',
  '": ',
  '", "',
  "\\u",
  "12",
  "tr",
  "ue",
  "null",
  "}}",
  "]}",
  "世界",
  "the ",
  "abc",
  "ab",
  '"}'
]
const table = new TokenBytes(
  Schema.decodeUnknownSync(TokenizerFile)(
    tokenizerJson({
      specials: ["<|end|>"],
      tokens: [...byteAlphabet, ...pieces.map((piece) => toByteAlphabet(piece).join(""))],
      merges: []
    })
  )
)
const isText = (id: number) => id !== END
const masks = new TokenMasks(makeTrie(table, table.size, isText), table.size)

const allowedIn = (state: GrammarState): ReadonlyArray<number> => {
  const { ids, says } = masks.of(state)
  if (says === "allowed") return [...ids]
  const forbidden = new Set(ids)
  return Array.from({ length: table.size }, (_, id) => id).filter((id) => !forbidden.has(id))
}

/** A text of random tokens, as wild as the masks let it be; after a while those that close something are taken where they may be. */
const wander = (start: GrammarState, { below }: Choices): string => {
  const bytes: Array<number> = []
  let state = start
  for (let step = 0; !state.mustEnd && !(state.mayEnd && below(3) === 0); step++) {
    const allowed = allowedIn(state)
    expect(allowed).not.toEqual([])
    const beginning = (pattern: RegExp) => allowed.filter((id) => pattern.test(table.decode([id])))
    // in a string brackets are text
    const isInString = allowed.length > table.size / 2
    const brackets = isInString ? [] : beginning(/^[}\]]/)
    const closing = brackets.length > 0 ? brackets : beginning(/^"/)
    const among = closing.length > 0 && (step > 60 || below(2) === 0) ? closing : allowed
    const token = table.bytes(among[below(among.length)] ?? 0)
    for (const byte of token) {
      const next = state.next(byte)
      if (next === null) throw new Error(`a token was allowed that isn't: ${table.decode([among[0] ?? 0])}`)
      state = next
      bytes.push(byte)
    }
    expect(step).toBeLessThan(5_000)
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes))
}

describe("a JSON Schema", () => {
  it("lets random tokens only become JSON that it describes", () => {
    fc.assert(
      fc.property(schemas, fc.integer(), (schema, seed) => {
        const text = wander(startOf(schema), choicesOf(seed))
        expect(validates(schema, JSON.parse(text)), `${JSON.stringify(schema)} took ${text}`).toBe(true)
      }),
      { numRuns: 400, seed: 1 }
    )
  })

  it("accepts whatever it describes, with and without spaces", () => {
    fc.assert(
      fc.property(schemas, fc.integer(), (schema, seed) => {
        const choices = choicesOf(seed)
        const value = valueOf(schema, choices)
        expect(validates(schema, value)).toBe(true)
        const text = spaced(value, choices)
        expect(accepts(schema, text), `${JSON.stringify(schema)} refused ${text}`).toBe(true)
      }),
      { numRuns: 1_000, seed: 1 }
    )
  })

  it("allows exactly the tokens whose bytes go on", () => {
    fc.assert(
      fc.property(schemas, fc.integer(), fc.nat(40), (schema, seed, length) => {
        const text = new TextEncoder().encode(JSON.stringify(valueOf(schema, choicesOf(seed))))
        let state: GrammarState | null = startOf(schema)
        for (const byte of text.subarray(0, length)) state = state?.next(byte) ?? null
        if (state === null) throw new Error("a value of the schema was refused")
        const known = state
        const goesOn = (id: number) =>
          table.bytes(id).reduce<GrammarState | null>((at, byte) => at?.next(byte) ?? null, known) !== null
        const expected = Array.from({ length: table.size }, (_, id) => id).filter((id) => isText(id) && goesOn(id))
        expect(allowedIn(state)).toEqual(expected)
      }),
      { numRuns: 200, seed: 1 }
    )
  })

  const person = {
    type: "object",
    properties: { name: { type: "string" }, age: { type: "integer" }, nick: { type: "string" } },
    required: ["name", "age"]
  }
  it.each<Case>([
    [person, '{"name":"Ada","age":36}', true],
    [person, '{"name": "Ada", "age": 36, "nick": "A"}', true],
    [person, '{"name":"Ada"}', false],
    [person, '{"age":36,"name":"Ada"}', false],
    [person, '{"name":"Ada","age":36,"more":1}', false],
    [person, '{"name":"Ada","age":36.5}', false],
    [person, '{"name":  "Ada","age":36}', false],
    [person, ' {"name":"Ada","age":36}', false],
    [{ type: "string" }, '"\\ud83d\\ude00"', true],
    [{ type: "string" }, '"\\ud83d"', false],
    [{ type: "string" }, '"\u0007"', false],
    [{ type: "string", maxLength: 1 }, '"😀"', true],
    [{ type: "string", maxLength: 1 }, '"\\ud83d\\ude00"', true],
    [{ type: "string", maxLength: 1 }, '"ab"', false],
    [{ type: "integer" }, "-0", true],
    [{ type: "integer" }, "01", false],
    [{ type: "number" }, "1e400", false],
    [{ type: ["string", "null"] }, "null", true],
    [{ const: { a: [1, 2] } }, '{"a": [1,2]}', true],
    [{ type: "object", additionalProperties: { type: "number" } }, '{"any": 1, "thing": 2}', true],
    [{ type: "object", properties: { a: {} }, additionalProperties: { type: "number" } }, '{"a":"x","ab":2}', true],
    [{ type: "object", properties: { a: {} }, additionalProperties: { type: "number" } }, '{"b":1,"a":2}', false],
    [{ anyOf: [person, { type: "null" }] }, "null", true],
    [true, '{"a":[{}]}', true]
  ])("%j %s: %s", (schema, text, expected) => {
    expect(accepts(schema, text)).toBe(expected)
  })

  it("may refer to itself, as deep as 64 levels", () => {
    const list = {
      type: "object",
      properties: { next: { anyOf: [{ $ref: "#" }, { type: "null" }] } },
      required: ["next"]
    }
    const nested = (depth: number): string => (depth === 0 ? "null" : `{"next":${nested(depth - 1)}}`)
    expect(accepts(list, nested(64))).toBe(true)
    expect(after(startOf(list), '{"next":'.repeat(64))?.next("{".charCodeAt(0))).toBeNull()
  })

  it("knows where it is, whatever was forgotten meanwhile", () => {
    // each of these texts has states of its own, more than are remembered
    const start = startOf({ type: "string", minLength: 5_000 })
    const text = `"${"a".repeat(5_000)}`
    expect(after(start, text)?.mayEnd).toBe(false)
    expect(after(start, `${text}"`)?.mayEnd).toBe(true)
    expect(after(start, `${text.slice(0, -1)}"`)).toBeNull()
  })

  it.each<readonly [string, unknown, string | null, RegExp]>([
    ["a keyword that isn't supported", { type: "string", pattern: "a" }, "pattern", /'pattern' is not supported/],
    ["a bound", { type: "integer", minimum: 3 }, "minimum", /'minimum'/],
    ["a format", { type: "string", format: "date" }, "format", /'format'/],
    ["allOf", { allOf: [{ type: "string" }] }, "allOf", /'allOf'/],
    ["oneOf", { oneOf: [{ type: "string" }] }, "oneOf", /'oneOf'/],
    ["an unknown type", { type: "toString" }, "type", /must be one or some of 'object'/],
    ["no type", { properties: {} }, "type", /'type' is missing beside 'properties'/],
    ["what stands beside a reference", { $ref: "#", type: "object" }, "type", /beside '\$ref'/],
    ["a reference to nothing", { $ref: "#/$defs/gone" }, "$ref", /there is no/],
    ["a reference to elsewhere", { $ref: "https://example.com/schema" }, "$ref", /must point into the schema/],
    ["a reference to itself", { anyOf: [{ $ref: "#" }, { type: "null" }] }, "$ref", /refers to itself/],
    ["an unknown required property", { type: "object", required: ["a"] }, "required", /names in 'properties'/],
    ["an enumeration of nothing", { enum: [] }, "enum", /no value/],
    ["bounds that cross", { type: "array", items: {}, minItems: 2, maxItems: 1 }, "maxItems", /less than/],
    ["a bound that is none", { type: "string", maxLength: -1 }, "maxLength", /non-negative integer/],
    ["no schema", "string", null, /must be an object/]
  ])("is refused for %s", (_, schema, keyword, reason) => {
    const refused = (() => {
      try {
        startOf(schema)
      } catch (error) {
        return error
      }
      return null
    })()
    expect(refused).toBeInstanceOf(UnsupportedSchema)
    expect(refused).toMatchObject({ keyword, message: expect.stringMatching(reason) })
  })

  it("says where it is at fault", () => {
    const schema = {
      type: "object",
      properties: { list: { type: "array", items: { $ref: "#/$defs/x" } } },
      $defs: { x: 1 }
    }
    expect(() => startOf(schema)).toThrow(expect.objectContaining({ path: "#/$defs/x" }))
    const nested = { type: "object", properties: { a: { type: "array", items: { type: "string", format: "uri" } } } }
    expect(() => startOf(nested)).toThrow(expect.objectContaining({ path: "properties.a.items" }))
  })

  it("is refused where nothing finite is described, or where it is too large", () => {
    const endless = { type: "object", properties: { next: { $ref: "#" } }, required: ["next"] }
    expect(() => startOf(endless)).toThrow(/nothing finite/)
    expect(() => startOf({ type: "string", maxLength: 1e9 })).toThrow(/too large/)
    let deep: unknown = { type: "string" }
    for (let depth = 0; depth < 100; depth++) deep = { type: "array", items: deep }
    expect(() => startOf(deep)).toThrow(/nested too deep/)
    const doubled = Object.fromEntries(
      Array.from({ length: 40 }, (_, n) => [
        `d${n}`,
        { anyOf: [{ $ref: `#/$defs/d${n + 1}` }, { $ref: `#/$defs/d${n + 1}` }] }
      ])
    )
    expect(() => startOf({ $ref: "#/$defs/d0", $defs: { ...doubled, d40: { type: "null" } } })).toThrow(/too large/)
  })

  it("gives up on a text that may be too many things at once", () => {
    const tree = {
      type: "object",
      properties: { a: { anyOf: [{ $ref: "#" }, { $ref: "#/$defs/b" }, { type: "null" }] } }
    }
    const schema = { ...tree, $defs: { b: tree } }
    expect(() => after(startOf(schema), '{"a":'.repeat(20))).toThrow(/too many alternatives/)
  })

  it("in strict mode has closed objects, and needs all of their properties", () => {
    const closed = {
      type: "object",
      properties: { a: { type: "string" } },
      required: ["a"],
      additionalProperties: false
    }
    expect(after(startOf(closed, true), '{"a":""}')?.mustEnd).toBe(true)
    const { additionalProperties: _, ...open } = closed
    expect(() => startOf(open, true)).toThrow(/needs 'additionalProperties' to be false/)
    expect(() => startOf({ ...closed, required: [] }, true)).toThrow(/name all properties/)
    expect(() => startOf({ anyOf: [closed] }, true)).toThrow(/must be of type 'object'/)
  })
})
