import { describe, expect, it } from "@effect/vitest"
import { defaults } from "../src/SchedulerOptions.ts"
import * as VirtualFleet from "../src/VirtualFleet.ts"
import type { Arrival, Course } from "../src/World.ts"
import { device, model } from "./fixtures.ts"
import { arrival, caller, exponential, mean, quantile, randomOf } from "./traces.ts"

const minutes = 1
const busy = model("busy", { slots: 8, kvPerToken: 0 })

const run = (arrivals: ReadonlyArray<Arrival>) =>
  VirtualFleet.run({
    devices: [device(0, 200)],
    models: [busy],
    options: defaults,
    arrivals,
    loadOf: () => ({ millis: 1000, failure: null })
  })

/** Ten tenants that send a request of about a second now and then, so that together they use this share of the slots. */
const trickle = (seed: number, load: number): ReadonlyArray<Arrival> => {
  const random = randomOf(seed)
  const between = 1000 / ((load * busy.slots) / 10)
  return Array.from({ length: 10 }, (_, tenant) => {
    const own: Array<Arrival> = []
    for (let at = exponential(random, between); at < minutes * 60_000; at += exponential(random, between)) {
      const more = { caller: caller(`trickle ${tenant}`) }
      own.push(arrival(tenant * 100_000 + own.length, Math.floor(at), busy.id, exponential(random, 1000), more))
    }
    return own
  }).flat()
}

/** One tenant that always has as much waiting as it may: three times what the fleet can do. */
const flood = (seed: number): ReadonlyArray<Arrival> => {
  const random = randomOf(seed)
  const own: Array<Arrival> = []
  for (let at = 0; at < minutes * 60_000; at += 1000 / (busy.slots * 3)) {
    const more = { caller: caller("flood") }
    own.push(arrival(10_000_000 + own.length, Math.floor(at), busy.id, exponential(random, 1000), more))
  }
  return own
}

const ofTricklers = (course: Course) => course.outcomes.filter(({ arrival }) => arrival.caller.tenant !== "flood")
const waits = (course: Course) => ofTricklers(course).map(({ waitedMillis }) => waitedMillis)
const answers = (course: Course) =>
  ofTricklers(course).map(({ arrival, waitedMillis }) => waitedMillis + arrival.holdMillis)

describe("ten tenants that trickle beside one that floods", () => {
  it("are answered within twice the time of running alone, none is refused, and the flood gets all that they leave", () => {
    for (const load of [0.1, 0.5] as const) {
      const alone = run(trickle(1, load))
      const together = run([...trickle(1, load), ...flood(2)])
      expect(ofTricklers(together).every(({ end }) => end === "completed")).toBe(true)
      const ratio = {
        mean: mean(answers(together)) / mean(answers(alone)),
        p99: quantile(answers(together), 0.99) / quantile(answers(alone), 0.99)
      }
      expect(ratio.mean).toBeLessThan(2)
      expect(ratio.p99).toBeLessThan(2)
      // whoever comes waits for the next slot that is given back: an eighth of a request on average
      expect(mean(waits(together)) - mean(waits(alone))).toBeLessThan((1.3 * 1000) / busy.slots / (1 - load))
      const held = together.outcomes
        .filter(({ end }) => end === "completed")
        .reduce((sum, { arrival }) => sum + arrival.holdMillis, 0)
      expect(held / (together.millis * busy.slots)).toBeGreaterThan(0.97)
    }
  })
})

describe("an overloaded model", () => {
  it("says truthfully when to come again: who does finds the queue that there was then served", () => {
    const course = run(flood(5))
    // the retry-after of the first that was refused once the means are known, against when the last that waited then was served
    const refused = course.outcomes.filter(({ retryAfterSeconds }) => retryAfterSeconds !== undefined)
    for (const { arrival, retryAfterSeconds = 0 } of refused.filter((_, index) => index % 100 === 50)) {
      const ahead = course.outcomes.filter(
        (other) =>
          other.placed !== undefined &&
          other.arrival.at <= arrival.at &&
          other.arrival.at + other.waitedMillis > arrival.at
      )
      const served = Math.max(...ahead.map((other) => other.arrival.at + other.waitedMillis)) - arrival.at
      if (arrival.at < 20_000) continue
      expect(retryAfterSeconds * 1000).toBeGreaterThan(served * 0.5)
      expect(retryAfterSeconds * 1000).toBeLessThan(served * 2)
    }
    expect(refused.length).toBeGreaterThan(500)
  })
})
