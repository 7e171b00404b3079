import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as FairShare from "../src/FairShare.ts"
import { caller } from "./traces.ts"

const tenants = ["one", "two", "three"] as const
const weights = { one: 1, two: 2, three: 0.5 } as const

const of = (tenant: (typeof tenants)[number]) => caller(tenant, { weight: weights[tenant] })

describe("a fair share", () => {
  it("expects of a tenant what its requests have cost, and of a new one what all have", () => {
    let share = FairShare.empty
    for (let n = 0; n < 40; n++) {
      const charged = FairShare.estimate(share, "one")
      share = FairShare.settle(FairShare.charge(share, caller("one"), charged, 0), caller("one"), charged, 1000)
    }
    expect(FairShare.estimate(share, "one")).toBeCloseTo(1000)
    expect(FairShare.estimate(share, "new")).toBeCloseTo(1000, 0)
    expect(FairShare.counter(share, "one")).toBeCloseTo(40_000)
  })

  it("counts a generated token twice", () => {
    expect(FairShare.costOf({ input: 10, output: 5 })).toBe(20)
  })

  it("lifts who comes to one request below the lowest of those that wait, never down", () => {
    let share = FairShare.charge(FairShare.empty, caller("low"), 1000, 0)
    share = FairShare.charge(share, caller("high"), 5000, 0)
    expect(FairShare.counter(FairShare.lift(share, caller("new"), ["low", "high"]), "new")).toBe(1000 - 256)
    expect(FairShare.counter(FairShare.lift(share, caller("new", { weight: 2 }), ["low"]), "new")).toBe(1000 - 128)
    expect(FairShare.counter(FairShare.lift(share, caller("high"), ["low"]), "high")).toBe(5000)
    // nobody waits: to one request below the last one served
    expect(FairShare.counter(FairShare.lift(share, caller("new"), []), "new")).toBe(5000 - 256)
  })

  it("remembers a bounded number of tenants, and forgets those first whom a lift brings back", () => {
    let share = FairShare.empty
    for (let n = 0; n < 6000; n++) {
      share = FairShare.charge(FairShare.lift(share, caller(`tenant ${n}`), ["waits"]), caller(`tenant ${n}`), n, 0)
    }
    expect([...share.accounts].length).toBeLessThanOrEqual(4097)
    expect(FairShare.counter(share, "tenant 5999")).toBe(5999)
    expect(FairShare.counter(share, "tenant 1")).toBe(0)
  })

  it("serves those that wait all the while in proportion to their weights, whatever their requests cost", () => {
    const slots = 4
    const most = 1000
    const costs = FastCheck.array(FastCheck.integer({ min: 1, max: most }), { minLength: 200, maxLength: 200 })
    FastCheck.assert(
      FastCheck.property(costs, (drawn) => {
        let share = FairShare.empty
        for (const tenant of tenants) share = FairShare.lift(share, of(tenant), tenants)
        const served = { one: 0, two: 0, three: 0 }
        const running: Array<{ tenant: (typeof tenants)[number]; charged: number; cost: number }> = []
        const end = () => {
          const done = running.shift()
          if (done === undefined) return
          served[done.tenant] += done.cost
          share = FairShare.settle(share, of(done.tenant), done.charged, done.cost)
        }
        for (const cost of drawn) {
          const [tenant] = [...tenants].sort((a, b) => FairShare.counter(share, a) - FairShare.counter(share, b))
          if (tenant === undefined) return
          const charged = FairShare.estimate(share, tenant)
          share = FairShare.charge(share, of(tenant), charged, 0)
          running.push({ tenant, charged, cost })
          if (running.length === slots) end()
        }
        while (running.length > 0) end()
        const shares = tenants.map((tenant) => served[tenant] / weights[tenant])
        expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(((slots + 1) * most) / weights.three)
      }),
      { numRuns: 200, seed: 11 }
    )
  })
})
