import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as CircuitBreaker from "../src/CircuitBreaker.ts"

const limits = { failures: 3, openMillis: 1000, longestMillis: 8000 }
const { admit, closed, failed, succeeded, waitMillis } = CircuitBreaker

const failing = (times: number, now: number) =>
  Array.from({ length: times }).reduce<CircuitBreaker.CircuitBreaker>((breaker) => failed(breaker, limits, now), closed)

describe("a circuit breaker", () => {
  it("lets everything pass until too many have failed in a row", () => {
    expect(admit(failing(2, 0), limits, 0)[1]).toBe(true)
    expect(admit(failing(3, 0), limits, 0)[1]).toBe(false)
    expect(admit(failed(succeeded(), limits, 0), limits, 0)[1]).toBe(true)
  })

  it("tries one when its time is up, and closes when that succeeds", () => {
    const open = failing(3, 0)
    expect(waitMillis(open, limits, 400)).toBe(600)
    const [trying, first] = admit(open, limits, 1000)
    const [, second] = admit(trying, limits, 1000)
    expect([first, second]).toEqual([true, false])
    expect(admit(succeeded(), limits, 1000)[1]).toBe(true)
  })

  it("stays open twice as long each time that the trial fails, up to a limit", () => {
    let breaker = failing(3, 0)
    let now = 0
    const waits: Array<number> = []
    for (let round = 0; round < 6; round++) {
      const wait = waitMillis(breaker, limits, now)
      waits.push(wait)
      now += wait
      const [trying, admitted] = admit(breaker, limits, now)
      expect(admitted).toBe(true)
      breaker = failed(trying, limits, now)
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 8000, 8000])
  })

  it("never locks a server out for good, nor lets two trials pass at once, whatever happens", () => {
    const event = FastCheck.record({
      after: FastCheck.integer({ min: 0, max: 5000 }),
      kind: FastCheck.constantFrom("ask", "succeed", "fail")
    })
    FastCheck.assert(
      FastCheck.property(FastCheck.array(event, { maxLength: 60 }), (events) => {
        let breaker = closed
        let now = 0
        let trialSince: number | undefined
        for (const { after, kind } of events) {
          now += after
          if (kind === "succeed") breaker = succeeded()
          if (kind === "fail") breaker = failed(breaker, limits, now)
          if (breaker._tag !== "HalfOpen") trialSince = undefined
          if (kind === "ask") {
            const [next, admitted] = admit(breaker, limits, now)
            if (admitted && next._tag === "HalfOpen") {
              if (trialSince !== undefined) expect(now - trialSince).toBeGreaterThanOrEqual(limits.longestMillis)
              trialSince = now
            }
            breaker = next
          }
          expect(waitMillis(breaker, limits, now)).toBeLessThanOrEqual(limits.longestMillis)
        }
        expect(admit(breaker, limits, now + limits.longestMillis)[1]).toBe(true)
      })
    )
  })
})
