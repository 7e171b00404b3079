import { describe, expect, it } from "@effect/vitest"
import { advance, begin, bytes, clock, line, rate } from "../src/PullProgress.ts"

describe("the progress of a pull", () => {
  it("goes as fast as the last seconds did", () => {
    let progress = begin(100_000, 20_000, 0)
    expect(rate(progress)).toBe(0)
    for (let second = 1; second <= 10; second++) progress = advance(progress, 20_000 + second * 1000, second * 1000)
    expect(rate(progress)).toBe(1000)
    for (let second = 11; second <= 20; second++)
      progress = advance(progress, 30_000 + (second - 10) * 4000, second * 1000)
    expect(rate(progress)).toBe(4000)
    expect(line(progress)).toBe("[################--------]  70 %  68.4 KiB of 97.7 KiB  3.9 KiB/s  0:08 left")
  })

  it("is never faster than nothing where a hub begins anew, and has an end at nothing", () => {
    expect(rate(advance(begin(10, 5, 0), 0, 1000))).toBe(0)
    expect(line(begin(0, 0, 0))).toContain("100 %")
  })

  it("is told in units that a person reads", () => {
    expect([0, 1, 1023, 1024, 1536, 150 * 1024, 5 * 2 ** 30].map(bytes)).toEqual([
      "0 B",
      "1 B",
      "1023 B",
      "1.0 KiB",
      "1.5 KiB",
      "150 KiB",
      "5.0 GiB"
    ])
    expect([0.2, 59, 61, 3725].map(clock)).toEqual(["0:01", "0:59", "1:01", "1:02:05"])
  })
})
