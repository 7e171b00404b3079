import { describe, expect, it } from "@effect/vitest"
import { ModelId } from "@helixflow/schema/Ids"
import * as Forecast from "../src/Forecast.ts"
import { exponential, randomOf } from "./traces.ts"

const seconds = 1000
const hours = 3_600 * seconds
const days = 24 * hours
/** A Monday, at midnight UTC. */
const monday = Date.UTC(2026, 0, 5)

const id = (name: string) => ModelId.make(name)

type Event = readonly [at: number, model: string, tenant?: string | undefined]

const learned = (events: ReadonlyArray<Event>) =>
  events.reduce(
    (forecast, [at, model, tenant = "tenant"]) => Forecast.arrived(forecast, id(model), tenant, at),
    Forecast.empty
  )

const probability = (forecast: Forecast.Forecast, model: string, now: number, within: number) =>
  Forecast.predict(forecast, now, () => within).find((prediction) => prediction.model === model)?.probability ?? 0

/** Thirty requests from `hour` on, on some days of each week, each by a tenant of its own. */
const everyWeek = (model: string, weeks: number, ofWeek: ReadonlyArray<number>, hour: number): ReadonlyArray<Event> =>
  Array.from({ length: weeks }, (_, week) =>
    ofWeek.flatMap((day) =>
      Array.from({ length: 30 }, (_, n): Event => {
        return [monday + (7 * week + day) * days + hour * hours + n * 60 * seconds, model, `${week} ${day} ${n}`]
      })
    )
  ).flat()

describe("what is forecast of the time of day", () => {
  it("is nothing of what was never asked for", () => {
    expect(Forecast.predict(Forecast.empty, monday, () => hours)).toEqual([])
  })

  it("is what came at this hour of the week before, and little at others", () => {
    const forecast = learned(everyWeek("m", 3, [0, 1, 2, 3, 4], 9))
    const now = monday + 21 * days
    expect(probability(forecast, "m", now + 9 * hours, 60 * seconds)).toBeGreaterThan(0.3)
    expect(probability(forecast, "m", now + 5 * days + 9 * hours, 60 * seconds)).toBeLessThan(0.2)
    expect(probability(forecast, "m", now + 3 * hours, 60 * seconds)).toBe(0)
  })

  it("looks across the hour's end", () => {
    const forecast = learned(everyWeek("m", 3, [0], 9))
    const before = monday + 21 * days + 9 * hours - 10 * seconds
    expect(probability(forecast, "m", before, 10 * seconds)).toBe(0)
    expect(probability(forecast, "m", before, 70 * seconds)).toBeCloseTo(
      probability(forecast, "m", before + 10 * seconds, 60 * seconds),
      2
    )
  })

  it("follows the same hour of other days where this one was not seen yet", () => {
    const forecast = learned(everyWeek("m", 1, [0, 1, 2], 9))
    expect(probability(forecast, "m", monday + 3 * days + 9 * hours, 60 * seconds)).toBeGreaterThan(0.1)
  })

  it("forgets: after some weeks without, the hour is one like any other", () => {
    const forecast = learned(everyWeek("m", 3, [0], 9))
    const at = (week: number) => probability(forecast, "m", monday + 7 * week * days + 9 * hours, 60 * seconds)
    expect(at(4)).toBeLessThan(at(3))
    expect(at(20)).toBeLessThan(at(3) / 10)
  })

  it("is about right for what comes at random", () => {
    const random = randomOf(1)
    const events: Array<Event> = []
    for (let at = monday; at < monday + 14 * days; at += exponential(random, 600 * seconds)) {
      events.push([at, "m", `tenant ${events.length}`])
    }
    const forecast = learned(events)
    // 1 - e^(-60/600) = 0.095
    expect(probability(forecast, "m", monday + 14 * days, 60 * seconds)).toBeGreaterThan(0.05)
    expect(probability(forecast, "m", monday + 14 * days, 60 * seconds)).toBeLessThan(0.14)
  })
})

describe("what is forecast of a tenant's sequence", () => {
  /** `a`, and 20 seconds later `b`, every ten minutes. */
  const pairs = Array.from({ length: 20 }, (_, n): ReadonlyArray<Event> => {
    const at = monday + n * 600 * seconds
    return [
      [at, "a"],
      [at + 20 * seconds, "b"]
    ]
  }).flat()
  const start = monday + 20 * 600 * seconds

  it("is what came next before, as soon as it came", () => {
    const forecast = Forecast.arrived(learned(pairs), id("a"), "another", start)
    expect(probability(forecast, "b", start + 1, 40 * seconds)).toBeGreaterThan(0.8)
    expect(probability(forecast, "b", start + 1, 5 * seconds)).toBeLessThan(0.1)
    expect(probability(forecast, "b", start + 15 * seconds, 5 * seconds)).toBeGreaterThan(0.2)
    // it was to come within 32 seconds
    expect(probability(forecast, "b", start + 60 * seconds, 40 * seconds)).toBeLessThan(0.1)
  })

  it("is each tenant's own: what others asked for meanwhile is no sequence", () => {
    const mixed = Array.from({ length: 40 }, (_, n): Event => {
      return [monday + n * 600 * seconds, n % 2 === 0 ? "a" : "b", n % 2 === 0 ? "one" : "two"]
    })
    const forecast = Forecast.arrived(learned(mixed), id("a"), "one", start)
    expect(probability(forecast, "b", start + 1, 40 * seconds)).toBeLessThan(0.2)
  })

  it("is not what came too late to follow", () => {
    const late = pairs.map(([at, model], n): Event => [at + (n % 2) * 550 * seconds, model])
    const forecast = Forecast.arrived(learned(late.slice(0, 20)), id("a"), "another", start)
    expect(probability(forecast, "b", start + 1, 40 * seconds)).toBeLessThan(0.2)
  })
})

describe("a forecast", () => {
  it("is bounded in models, tenants and followers", () => {
    const random = randomOf(2)
    const events = Array.from({ length: 6000 }, (_, n): Event => {
      return [monday + n * seconds, `m${Math.floor(random() * 5000)}`, `tenant ${Math.floor(random() * 5000)}`]
    })
    const many = learned(
      events.concat(events.map(([at, , tenant], n): Event => [at + 6000 * seconds, n % 2 ? "m0" : `m${n}`, tenant]))
    )
    const predictions = Forecast.predict(many, monday + 12_000 * seconds, () => 60 * seconds)
    expect(predictions.length).toBeLessThanOrEqual(2 * Forecast.mostModels)
    expect(predictions.every(({ probability }) => probability >= 0 && probability <= 1)).toBe(true)
    const { habits, tenants } = JSON.parse(Forecast.encode(many))
    expect(tenants.length).toBeLessThanOrEqual(2 * Forecast.mostTenants)
    for (const [, { followers }] of habits) expect(followers.length).toBeLessThanOrEqual(Forecast.mostFollowers)
  })

  it("survives as text, and is nothing of a text that is none", () => {
    const forecast = learned([
      ...everyWeek("m", 2, [0, 1], 9),
      [monday + 14 * days, "a"],
      [monday + 14 * days + 1000, "m"]
    ])
    const again = Forecast.decode(Forecast.encode(forecast)) ?? expect.fail()
    const at = monday + 14 * days + 5 * seconds
    const sorted = (from: Forecast.Forecast) =>
      [...Forecast.predict(from, at, () => 60 * seconds)].sort((a, b) => (a.model < b.model ? -1 : 1))
    expect(sorted(again)).toEqual(sorted(forecast))
    expect(Forecast.decode("{}")).toBeUndefined()
    expect(Forecast.decode("")).toBeUndefined()
  })

  it("changes with time alone while something may follow, and else with the hour", () => {
    const forecast = learned([[monday + 100 * seconds, "a"]])
    expect(Forecast.nextChange(forecast, monday + 110 * seconds)).toBe(monday + 110 * seconds)
    expect(Forecast.nextChange(forecast, monday + 1800 * seconds)).toBe(monday + hours)
  })
})
