/** How long a model stays loaded once nobody uses it. */
import { Either, ParseResult, Schema } from "effect"

/** Milliseconds, or until its memory is needed. */
export const KeepAlive = Schema.Union(Schema.NonNegative, Schema.Literal("forever"))
export type KeepAlive = typeof KeepAlive.Type

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

const millisOf = (text: string | number): KeepAlive | undefined => {
  const seconds = text === "" ? Number.NaN : Number(text)
  if (!Number.isNaN(seconds)) return seconds < 0 || seconds === Number.POSITIVE_INFINITY ? "forever" : seconds * 1000
  if (text === "forever") return text
  if (typeof text === "number" || !/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return undefined
  let millis = 0
  for (const [, count, unit = ""] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    millis += Number(count) * (units[unit] ?? 0)
  }
  return millis
}

/** As people write it: `"10m"`, `"1h30m"`, seconds, `"forever"`, or a negative number for the same. */
export const KeepAliveText = Schema.transformOrFail(Schema.Union(Schema.Number, Schema.String), KeepAlive, {
  strict: true,
  decode: (text, _, ast) => {
    const millis = millisOf(text)
    return millis === undefined
      ? Either.left(new ParseResult.Type(ast, text, `\`${text}\` is not a time such as "10m", 0 or "forever"`))
      : Either.right(millis)
  },
  encode: (keepAlive) => Either.right(keepAlive === "forever" ? keepAlive : keepAlive / 1000)
})
