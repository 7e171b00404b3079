import { describe, expect, it } from "@effect/vitest"
import { defaults } from "../src/SchedulerOptions.ts"
import * as VirtualFleet from "../src/VirtualFleet.ts"
import type { Arrival, Course } from "../src/World.ts"
import { device, model } from "./fixtures.ts"
import { arrival, caller, exponential, mean, quantile, randomOf } from "./traces.ts"

const minutes = 1
const busy = model("busy", { slots: 8, kvPerToken: 0 })

const run = (arrivals: ReadonlyArray<Arrival>, slots = busy.slots) =>
  VirtualFleet.run({
    devices: [device(0, 200)],
    models: [model("busy", { slots, kvPerToken: 0 })],
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

/** One tenant that always has as much waiting as it may, of requests of about this length: three times what the fleet can do. */
const flood = (seed: number, length = 1000): ReadonlyArray<Arrival> => {
  const random = randomOf(seed)
  const own: Array<Arrival> = []
  for (let at = 0; at < minutes * 60_000; at += length / (busy.slots * 3)) {
    const more = { caller: caller("flood") }
    own.push(arrival(10_000_000 + own.length, Math.floor(at), busy.id, exponential(random, length), more))
  }
  return own
}

/** The same requests, of those that can be preempted. */
const preemptible = (arrivals: ReadonlyArray<Arrival>) => arrivals.map((one) => ({ ...one, preemptible: true }))

/** The model is loaded before anybody comes whose wait counts. */
const warm = arrival(99_000_000, 0, busy.id, 1, { caller: caller("flood") })
const later = (arrivals: ReadonlyArray<Arrival>) => arrivals.map((one) => ({ ...one, at: one.at + 5_000 }))

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

describe("ten tenants that trickle beside one that floods with requests that can be preempted", () => {
  /** All waits: for a place, and to go on. */
  const waited = (course: Course) =>
    ofTricklers(course).map(({ pausedMillis, waitedMillis }) => waitedMillis + pausedMillis)

  const figures = (length: number, load: number) => {
    const tricklers = preemptible(later(trickle(1, load)))
    // of eight slots one is the flood's own by right: eleven tenants share them
    const alone = waited(run([warm, ...tricklers], busy.slots - 1))
    const together = run([warm, ...preemptible(flood(2, length)), ...tricklers])
    expect(ofTricklers(together).every(({ end }) => end === "completed")).toBe(true)
    const placed = together.outcomes.filter(
      ({ arrival, placed }) => arrival.caller.tenant === "flood" && placed !== undefined
    )
    // it loses nothing, and its requests get on
    expect(placed.every(({ end }) => end === "completed")).toBe(true)
    expect(placed.some(({ preempted }) => preempted > 0)).toBe(true)
    expect(Math.max(...placed.map(({ preempted }) => preempted))).toBeLessThan(defaults.preemptions)
    const waits = waited(together)
    return {
      alone: { mean: mean(alone), p99: quantile(alone, 0.99) },
      beside: { mean: mean(waits), p99: quantile(waits, 0.99) }
    }
  }

  it("find a place as if they were alone while they use up to a quarter of the slots, however long its requests are", () => {
    for (const length of [1_000, 10_000, 60_000]) {
      for (const load of [0.1, 0.25]) {
        const { alone, beside } = figures(length, load)
        // nobody waits alone; beside the flood those do who come when all of its slots were given within the quantum
        expect(alone).toEqual({ mean: 0, p99: 0 })
        expect(beside.mean).toBeLessThanOrEqual(0.05 * defaults.quantum)
        expect(beside.p99).toBeLessThanOrEqual(defaults.quantum)
      }
    }
  }, 60_000)

  it("share with it as with an equal when they use half of the slots", () => {
    for (const length of [1_000, 10_000, 60_000]) {
      const { alone, beside } = figures(length, 0.5)
      expect(beside.mean).toBeLessThanOrEqual(2 * alone.mean + 0.25 * defaults.quantum)
      expect(beside.p99).toBeLessThanOrEqual(2 * alone.p99 + 2 * defaults.quantum)
    }
  }, 60_000)
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
