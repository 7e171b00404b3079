import { describe, expect, it } from "@effect/vitest"
import { defaults } from "../src/SchedulerOptions.ts"
import * as VirtualFleet from "../src/VirtualFleet.ts"
import { device, model } from "./fixtures.ts"
import { arrival, caller } from "./traces.ts"

const specs = Array.from({ length: 60 }, (_, index) => model(`m${index}`, { slots: 1, kvPerToken: 0 }))

/** Requests for models of their own, which come at once to a device that has room for one of them; in the order of their loads. */
const loaded = (callers: ReadonlyArray<ReturnType<typeof caller>>): ReadonlyArray<number> => {
  const course = VirtualFleet.run({
    devices: [device(0, 60)],
    models: specs,
    options: defaults,
    arrivals: callers.flatMap((caller, n) => {
      const spec = specs[n]
      return spec === undefined ? [] : [arrival(n, 0, spec.id, 10, { caller })]
    }),
    loadOf: () => ({ millis: 100, failure: null })
  })
  expect(course.outcomes.every(({ end }) => end === "completed")).toBe(true)
  return course.events.flatMap((event) =>
    event._tag === "LoadStarted" ? [specs.findIndex(({ id }) => event.replica.includes(`/${id}#`))] : []
  )
}

describe("loads that wait for each other", () => {
  it("come in the order of their turns, among equals", () => {
    expect(loaded(Array.from({ length: 60 }, () => caller("one")))).toEqual(specs.map((_, index) => index))
  })

  it("are first for the most urgent tier", () => {
    const order = loaded(Array.from({ length: 60 }, (_, n) => caller("one", { tier: n === 59 ? "priority" : "flex" })))
    // the first was under way when it came
    expect(order.indexOf(59)).toBe(1)
  })

  it("are shared among tenants by their weights", () => {
    const order = loaded(
      Array.from({ length: 60 }, (_, n) => (n < 50 ? caller("many") : caller(`few ${n % 2}`, { weight: 1 + (n % 2) })))
    )
    // of five loads each tenant has one for each of its weight
    const few = (parity: number) => order.slice(0, 12).filter((n) => n >= 50 && n % 2 === parity).length
    expect(few(0)).toBe(3)
    expect(few(1)).toBe(5)
  })
})
