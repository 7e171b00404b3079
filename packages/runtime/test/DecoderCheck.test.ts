import { describe, expect, it } from "@effect/vitest"
import type { Decoder } from "../src/Decoder.ts"
import { areAlike, computesAlike } from "../src/DecoderCheck.ts"

const unused = () => {
  throw new Error("not asked for")
}

/** A decoder whose logits count the tokens that it has seen, or only those of the last call. */
const counting = (forgets: boolean): Decoder => ({
  vocabulary: 50,
  width: 1,
  prefill: async ({ from, logits, tokens }) =>
    logits ? Float32Array.from({ length: 50 }, (_, id) => id % ((forgets ? 0 : from) + tokens.length)) : null,
  decode: unused,
  reserve: unused,
  read: unused,
  restore: unused,
  swap: unused,
  copy: unused,
  clear: () => {},
  close: unused
})

describe("a decoder that computes the same in two ways", () => {
  it("is believed", async () => {
    expect(await computesAlike(counting(false))).toBe(true)
  })

  it("is not believed where the logits differ", async () => {
    expect(await computesAlike(counting(true))).toBe(false)
  })
})

describe("rows of logits", () => {
  it.each([
    ["the same", [0, 10], true],
    ["within the tolerance of their range", [0.4, 9.6], true],
    ["beyond it", [0, 9], false],
    ["broken", [0, Number.NaN], false]
  ] as const)("are compared by their range: %s", (_, other, alike) => {
    expect(areAlike(new Float32Array([0, 10]), new Float32Array(other), 0.05)).toBe(alike)
  })
})
