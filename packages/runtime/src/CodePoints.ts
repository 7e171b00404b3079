/** Characters of a range as UTF-8 writes them. Pure. */
import { byteRange, choice, type Part, sequence } from "./ByteAutomaton.ts"

/** First and last code point. */
export type CodePointRange = readonly [low: number, high: number]

/** The last code point that is written in as many bytes. */
const LAST_OF_LENGTH = [0x7f, 0x7ff, 0xffff, 0x10ffff] as const

export const codePoints = (ranges: ReadonlyArray<CodePointRange>): Part => choice(...ranges.flatMap(partsOf))

/** Ranges of the same length each. */
const partsOf = ([low, high]: CodePointRange): ReadonlyArray<Part> => {
  for (const last of LAST_OF_LENGTH) {
    if (low <= last && high > last) return [...partsOf([low, last]), ...partsOf([last + 1, high])]
  }
  return rangesOf([...bytesOf(low)], [...bytesOf(high)])
}

/** All texts of bytes between two of the same length, the last bytes of which are from 0x80 to 0xbf. */
const rangesOf = (low: ReadonlyArray<number>, high: ReadonlyArray<number>): ReadonlyArray<Part> => {
  const [first = 0, ...lowRest] = low
  const [last = 0, ...highRest] = high
  if (lowRest.length === 0) return [byteRange(first, last)]
  const least = lowRest.map(() => 0x80)
  const most = highRest.map(() => 0xbf)
  const behind = (byte: number, parts: ReadonlyArray<Part>) => sequence(byteRange(byte, byte), choice(...parts))
  if (first === last) return [behind(first, rangesOf(lowRest, highRest))]
  const isWholeLow = lowRest.every((byte) => byte === 0x80)
  const isWholeHigh = highRest.every((byte) => byte === 0xbf)
  const from = isWholeLow ? first : first + 1
  const to = isWholeHigh ? last : last - 1
  return [
    ...(isWholeLow ? [] : [behind(first, rangesOf(lowRest, most))]),
    ...(from > to ? [] : [sequence(byteRange(from, to), ...rangesOf(least, most))]),
    ...(isWholeHigh ? [] : [behind(last, rangesOf(least, highRest))])
  ]
}

/** As UTF-8, surrogates too: they only ever bound a range. */
const bytesOf = (codePoint: number): ReadonlyArray<number> => {
  const tail = (shift: number) => 0x80 | ((codePoint >> shift) & 0x3f)
  if (codePoint < 0x80) return [codePoint]
  if (codePoint < 0x800) return [0xc0 | (codePoint >> 6), tail(0)]
  if (codePoint < 0x1_0000) return [0xe0 | (codePoint >> 12), tail(6), tail(0)]
  return [0xf0 | (codePoint >> 18), tail(12), tail(6), tail(0)]
}
