import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { defaults } from "../src/SchedulerOptions.ts"
import * as VirtualFleet from "../src/VirtualFleet.ts"
import { device, model } from "./fixtures.ts"
import { arrival, randomOf } from "./traces.ts"

interface Case {
  readonly models: number
  readonly clients: number
  readonly requests: number
  readonly hold: number
  readonly load: number
  readonly seed: number
}

/** Clients that each send a request to one of the models, wait for its end, and send the next; one device has room for one model. */
const run = ({ clients, hold, load, models, requests, seed }: Case) => {
  const random = randomOf(seed)
  const specs = Array.from({ length: models }, (_, index) => model(`m${index}`, { slots: 1, kvPerToken: 0 }))
  let sent = 0
  const next = (at: number) => {
    const spec = specs[Math.floor(random() * models)]
    return spec && arrival(sent++, at, spec.id, Math.ceil(hold * (0.5 + random())))
  }
  return VirtualFleet.run({
    devices: [device(0, 60)],
    models: specs,
    options: defaults,
    arrivals: Array.from({ length: clients }, () => next(0)).flatMap((first) => first ?? []),
    loadOf: () => ({ millis: load, failure: null }),
    next: (_, now) => (sent < requests ? next(now) : undefined)
  })
}

describe("two models that take turns in the memory of one", () => {
  it("are loaded for many requests at a time, whether those are short or long", () => {
    for (const clients of [4, 32]) {
      for (const hold of [200, 2000]) {
        const course = run({ models: 2, clients, requests: 400, hold, load: 1000, seed: 1 })
        expect(course.outcomes.every(({ end }) => end === "completed")).toBe(true)
        // a stay is twice a swap: long requests are few in it, short ones are all that wait and those that come meanwhile
        expect(400 / course.loads).toBeGreaterThan(hold === 200 ? 5 : 2.5)
      }
    }
  })
})

describe("whoever waits for a model", () => {
  it("has it loaded within a bound, however much the others are asked for", () => {
    const cases = FastCheck.record({
      models: FastCheck.integer({ min: 2, max: 5 }),
      clients: FastCheck.integer({ min: 1, max: 12 }),
      requests: FastCheck.constant(120),
      hold: FastCheck.integer({ min: 1, max: 3000 }),
      load: FastCheck.integer({ min: 1, max: 20_000 }),
      seed: FastCheck.nat()
    })
    FastCheck.assert(
      FastCheck.property(cases, (one) => {
        const course = run(one)
        const waitOfModels = new Map<string, number>()
        for (const { arrival, end, waitedMillis } of course.outcomes) {
          expect(end).toBe("completed")
          waitOfModels.set(arrival.model, Math.max(waitedMillis, waitOfModels.get(arrival.model) ?? 0))
        }
        // each of the others is loaded, has its time and ends what it does, and then it is this one's turn to serve who waits for it
        const { groupFactor, maxResidency, minResidency, wantedPatience } = defaults
        const cycle = one.load + 1.5 * one.hold
        const stay = Math.min(maxResidency, Math.max(minResidency, groupFactor * (cycle + wantedPatience)))
        const turn = cycle + wantedPatience + stay
        const turns = Math.ceil((one.clients * 1.5 * one.hold) / stay) + 1
        for (const wait of waitOfModels.values()) expect(wait).toBeLessThanOrEqual(turns * one.models * turn)
      }),
      { numRuns: 60, seed: 3 }
    )
  })
})
