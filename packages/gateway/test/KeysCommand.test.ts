import { describe, expect, it } from "vitest"
import { expiryOf } from "../src/KeysCommand.ts"

describe("When a key expires", () => {
  it("is told as a while from now, or as a time that the server understands", () => {
    const now = 1_700_000_000_900
    expect(["90s", "5m", "12h", "30d"].map((text) => expiryOf(text, now))).toEqual(
      [90, 300, 43_200, 2_592_000].map((seconds) => 1_700_000_000 + seconds)
    )
    expect(expiryOf("2030-01-31T12:00:00Z", now)).toBe("2030-01-31T12:00:00Z")
    expect(expiryOf("tomorrow", now)).toBe("tomorrow")
  })
})
