import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { admissionOf, limited, spellDuration, unlimited } from "../src/Admission.ts"

const none = { rpm: null, tpm: null, concurrency: null }
const now = 1_700_000_000_000

/** What must be a lease. */
const enter = (admission: ReturnType<typeof limited>, at = now) => {
  const lease = admission.enter(at)
  return lease._tag === "Lease" ? lease : assert.fail(lease.message)
}

describe("A key's admission", () => {
  it("has no limits unless it is given some", () => {
    assert.strictEqual(admissionOf(none), unlimited)
    assert.deepStrictEqual(unlimited.headers(now), {})
    for (let i = 0; i < 1000; i++) enter(unlimited)
  })

  it("lets in so many requests a minute, and says when the next may come", () => {
    const admission = limited({ ...none, rpm: 2 })
    enter(admission)
    enter(admission, now + 10_000).release()
    const refused = admission.enter(now + 20_000)
    if (refused._tag === "Lease") return assert.fail("it has let in a third")
    assert.strictEqual(refused.message, "Rate limit reached: 2 requests per minute. Please try again in 41 s.")
    assert.strictEqual(admission.enter(now + 60_999)._tag, "RateLimitExceeded")
    assert.strictEqual(admission.enter(now + 61_000)._tag, "Lease")
  })

  it("lets in while tokens are left, and charges what was really used", () => {
    const admission = limited({ ...none, tpm: 100 })
    enter(admission).charge(99, now)
    enter(admission).charge(101, now)
    assert.strictEqual(admission.enter(now + 1)._tag, "RateLimitExceeded")
    assert.deepStrictEqual(admission.headers(now), {
      "x-ratelimit-limit-tokens": "100",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "1m1s"
    })
  })

  it("tells how it stands as OpenAI does", () => {
    const admission = limited({ rpm: 3, tpm: 50, concurrency: 9 })
    enter(admission).charge(20, now)
    assert.deepStrictEqual(admission.headers(now + 250), {
      "x-ratelimit-limit-requests": "3",
      "x-ratelimit-remaining-requests": "2",
      "x-ratelimit-reset-requests": "1m0.75s",
      "x-ratelimit-limit-tokens": "50",
      "x-ratelimit-remaining-tokens": "30",
      "x-ratelimit-reset-tokens": "1m0.75s"
    })
    assert.deepStrictEqual([20, 999.2, 1000, 1500, 60_000, 61_000].map(spellDuration), [
      "20ms",
      "1000ms",
      "1s",
      "1.5s",
      "1m0s",
      "1m1s"
    ])
  })

  it("does not count who was refused", () => {
    const admission = limited({ rpm: 2, tpm: null, concurrency: 1 })
    const first = enter(admission)
    for (let i = 0; i < 5; i++) assert.strictEqual(admission.enter(now)._tag, "RateLimitExceeded")
    first.release()
    enter(admission)
  })

  it.prop(
    "holds at most so many requests at once, and exactly as many as have not ended",
    [FastCheck.integer({ min: 1, max: 4 }), FastCheck.array(FastCheck.nat(6), { maxLength: 40 })],
    ([concurrency, steps]) => {
      const admission = limited({ ...none, concurrency })
      const held: Array<() => void> = []
      for (const step of steps) {
        const release = step < 3 ? held.splice(step % Math.max(1, held.length), 1)[0] : undefined
        // twice: a lease that has ended does not end another's
        release?.()
        release?.()
        if (step < 3) continue
        const lease = admission.enter(now)
        assert.strictEqual(lease._tag, held.length < concurrency ? "Lease" : "RateLimitExceeded")
        if (lease._tag === "Lease") held.push(lease.release)
      }
    }
  )
})
