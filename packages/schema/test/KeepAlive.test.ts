import { describe, expect, it } from "@effect/vitest"
import { Either, Schema } from "effect"
import { KeepAliveText } from "../src/KeepAlive.ts"

const decode = Schema.decodeUnknownEither(KeepAliveText)

describe("a time to stay loaded", () => {
  it("is seconds, or a number of units", () => {
    const times: ReadonlyArray<readonly [unknown, number]> = [
      [0, 0],
      [1.5, 1500],
      ["90", 90_000],
      ["10m", 600_000],
      ["1h30m", 5_400_000],
      ["250ms", 250],
      ["0.5s", 500],
      ["2d", 172_800_000]
    ]
    for (const [text, millis] of times) expect(decode(text)).toEqual(Either.right(millis))
  })

  it("is forever by that word, or below zero as Ollama has it", () => {
    for (const text of ["forever", -1, "-1"]) expect(decode(text)).toEqual(Either.right("forever"))
  })

  it("is nothing else", () => {
    for (const text of ["", "soon", "10 m", "m", "1x", Number.NaN, null, true]) {
      expect(Either.isLeft(decode(text))).toBe(true)
    }
  })

  it("is written as it is read", () => {
    for (const keepAlive of ["forever", 0, 1500] as const) {
      expect(decode(Schema.encodeSync(KeepAliveText)(keepAlive))).toEqual(Either.right(keepAlive))
    }
  })
})
