/**
 * JSON as parts of a grammar. It is compact: at most one space follows a comma or a colon, so that a model can't say nothing at length. For
 * the same reason numbers have no more digits than JavaScript writes. Strings are whole characters, and their escapes too.
 * Source: RFC 8259
 */
import {
  byteRange,
  call,
  choice,
  nothing,
  oneOf,
  optional,
  type Part,
  repeat,
  sequence,
  text
} from "./ByteAutomaton.ts"
import { type CodePointRange, codePoints } from "./CodePoints.ts"

const space = optional(text(" "))
const comma = sequence(text(","), space)
const colon = sequence(text(":"), space)
const quote = text('"')

/** Characters that stand for themselves in a string. */
export const plainCharacters: ReadonlyArray<CodePointRange> = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0xd7ff],
  [0xe000, 0x10ffff]
]

const hexDigit = oneOf("0123456789abcdefABCDEF")
const twoHexDigits = sequence(hexDigit, hexDigit)
const d = oneOf("dD")
const escape = sequence(
  text("\\"),
  choice(
    oneOf('"\\/bfnrt'),
    sequence(text("u"), oneOf("0123456789abcefABCEF"), hexDigit, twoHexDigits),
    sequence(text("u"), d, oneOf("01234567"), twoHexDigits),
    // beyond 16 bits a character is a pair of surrogates
    sequence(text("u"), d, oneOf("89abAB"), twoHexDigits, text("\\u"), d, oneOf("cdefCDEF"), twoHexDigits)
  )
)
const character = choice(codePoints(plainCharacters), escape)

/** `most`: null for any number of characters. */
export const string = (least: number, most: number | null): Part => {
  // characters that are counted are many: each is a call, which takes one node
  const each = least === 0 && most === null ? character : call("character", character)
  return call(`string ${least} ${most}`, sequence(quote, repeat(each, least, most), quote))
}

/** A string of plain characters that is none of `names`. */
export const otherName = (names: ReadonlyArray<string>): Part =>
  sequence(quote, otherRest(names.map((name) => [...name].map((symbol) => symbol.codePointAt(0) ?? 0))))

const plainRest: Part = sequence(repeat(codePoints(plainCharacters), 0, null), quote)

const otherRest = (names: ReadonlyArray<ReadonlyArray<number>>): Part => {
  const firsts = [...new Set(names.flatMap(([first]) => (first === undefined ? [] : [first])))].sort((a, b) => a - b)
  const goOn = firsts.map((first) =>
    sequence(
      codePoints([[first, first]]),
      otherRest(names.filter((name) => name[0] === first).map((name) => name.slice(1)))
    )
  )
  const others = firsts.reduce<ReadonlyArray<CodePointRange>>(without, plainCharacters)
  const isName = names.some((name) => name.length === 0)
  return choice(...(isName ? [] : [quote]), ...goOn, sequence(codePoints(others), plainRest))
}

const without = (ranges: ReadonlyArray<CodePointRange>, codePoint: number): ReadonlyArray<CodePointRange> =>
  ranges.flatMap(([low, high]): ReadonlyArray<CodePointRange> => {
    if (codePoint < low || codePoint > high) return [[low, high]]
    const parts: ReadonlyArray<CodePointRange> = [
      [low, codePoint - 1],
      [codePoint + 1, high]
    ]
    return parts.filter(([from, to]) => from <= to)
  })

const digit = byteRange(0x30, 0x39)
const digits = (least: number, most: number) => repeat(digit, least, most)
const minus = optional(text("-"))
const whole = (most: number) => choice(text("0"), sequence(byteRange(0x31, 0x39), digits(0, most - 1)))
const fraction = optional(sequence(text("."), digits(1, 25)))
/** With one digit before the point all of these are finite. */
const exponent = sequence(
  oneOf("eE"),
  choice(
    sequence(text("-"), digits(1, 3)),
    sequence(
      optional(text("+")),
      choice(digits(1, 2), sequence(oneOf("12"), digits(2, 2)), sequence(text("30"), byteRange(0x30, 0x37)))
    )
  )
)

export const integer: Part = call("integer", sequence(minus, whole(19)))
export const number: Part = call(
  "number",
  sequence(minus, choice(sequence(whole(21), fraction), sequence(digit, fraction, exponent)))
)

/** Elements that are alike. `most`: null for any number. */
export const arrayOf = (item: Part, least: number, most: number | null): Part => {
  const further = sequence(comma, item)
  if (most === 0) return text("[]")
  const items = sequence(item, repeat(further, Math.max(0, least - 1), most === null ? null : most - 1))
  return sequence(text("["), least === 0 ? optional(items) : items, text("]"))
}

export interface Member {
  /** What stands before the colon. */
  readonly name: Part
  readonly value: Part
  /** `any`: there may be any number of such members. */
  readonly occurs: "once" | "optional" | "any"
}

export const member = (name: string, value: Part, occurs: Member["occurs"]): Member => ({
  name: text(JSON.stringify(name)),
  value,
  occurs
})

/** Members in this order. */
export const objectOf =
  (members: ReadonlyArray<Member>): Part =>
  (automaton, from) => {
    const skip = (node: number, to: number) => automaton.add(node, { _tag: "Empty", to })
    /** Where none has been written, and where some have. */
    let none: number | null = text("{")(automaton, from)
    let some: number | null = null
    for (const { name, occurs, value } of members) {
      const begin = automaton.node()
      if (none !== null) skip(none, begin)
      if (some !== null) skip(comma(automaton, some), begin)
      const end = sequence(name, colon, value)(automaton, begin)
      if (occurs === "any") skip(comma(automaton, end), begin)
      if (occurs === "once") none = null
      else if (some !== null) skip(some, end)
      some = end
    }
    const close = automaton.node()
    if (none !== null) skip(none, close)
    if (some !== null) skip(some, close)
    return text("}")(automaton, close)
  }

const ANY_OBJECT = "any object"
const ANY_ARRAY = "any array"

/** Any object. */
export const anyObject: Part = (automaton, from) =>
  call(ANY_OBJECT, objectOf([{ name: string(0, null), value: anyValue, occurs: "any" }]))(automaton, from)

const anyArray: Part = (automaton, from) => call(ANY_ARRAY, arrayOf(anyValue, 0, null))(automaton, from)

export const anyValue: Part = choice(
  anyObject,
  anyArray,
  string(0, null),
  number,
  text("true"),
  text("false"),
  text("null")
)

/** This value of JSON alone. */
export const literal = (value: unknown): Part => {
  if (typeof value !== "object" || value === null) return text(JSON.stringify(value))
  if (Array.isArray(value)) {
    const items = value.map((item, index) => sequence(index === 0 ? nothing : comma, literal(item)))
    return sequence(text("["), ...items, text("]"))
  }
  return objectOf(Object.entries(value).map(([name, part]) => member(name, literal(part), "once")))
}
