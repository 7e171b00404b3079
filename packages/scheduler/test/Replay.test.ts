import { describe, expect, it } from "@effect/vitest"
import { Bytes, Millis, makeReplicaId } from "@helixflow/schema/Ids"
import type { SchedulerEvent } from "@helixflow/schema/Scheduling"
import { Either, Schema } from "effect"
import { type LogEntry, LogLine, read, worldOf } from "../src/Replay.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import * as VirtualFleet from "../src/VirtualFleet.ts"
import type { Course, Incident } from "../src/World.ts"
import { device, model } from "./fixtures.ts"
import { arrival, caller, exponential, randomOf, zipf } from "./traces.ts"

const devices = [device(0, 220), device(1, 120)]
const models = Array.from({ length: 6 }, (_, n) => model(`m${n}`, n === 0 ? { replicas: 2, policy: "affinity" } : {}))

/** Some minutes of six models on memory for three, where loads fail now and then and clients leave. */
const recorded = (seed: number) => {
  const random = randomOf(seed)
  const popular = zipf(random, models.length, 1)
  let at = 1_000_000
  const arrivals = Array.from({ length: 400 }, (_, order) => {
    at += Math.ceil(exponential(random, 700))
    const spec = models[popular()] ?? models[0]
    const more = {
      caller: caller(`tenant ${Math.floor(random() * 4)}`),
      timeoutMillis: 8000,
      affinity: `conversation ${order % 5}`,
      preemptible: random() < 0.7,
      leavesAfter: random() < 0.1 ? Math.ceil(random() * 3000) : Number.POSITIVE_INFINITY
    }
    return arrival(order, at, spec?.id ?? model("none").id, Math.ceil(exponential(random, 900)), more)
  })
  const courses = Array.from({ length: 500 }, () => ({
    millis: 200 + Math.ceil(random() * 2000),
    failure: random() < 0.1 ? "simulated" : null
  }))
  const loadOf = (id: string, nth: number) =>
    courses[(id.charCodeAt(1) * 7 + nth) % 500] ?? { millis: 1, failure: null }
  return VirtualFleet.run({ devices, models, options: defaults, arrivals, loadOf, incidents: incidentsOf(seed) })
}

/** Workers that die, for good or for a while, models that an operator has evicted, and one that is found to take more. */
const incidentsOf = (seed: number): ReadonlyArray<Incident> => {
  const random = randomOf(seed + 100)
  const order = 100_000
  const some = <A>(all: ReadonlyArray<A>): A => all[Math.floor(random() * all.length)] ?? expect.fail()
  const lost = Array.from({ length: 60 }, (_, n): Incident => {
    const replica = makeReplicaId(some(devices).id, some(models).id, 0)
    const death = some([
      { backAfter: null },
      { backAfter: 400 },
      { backAfter: 9_000 },
      { backAfter: Number.POSITIVE_INFINITY }
    ])
    return { _tag: "WorkerLost", at: 1_000_000 + n * 4_001, order, replica, ...death }
  })
  const evicted = Array.from({ length: 6 }, (_, n): Incident => {
    return { _tag: "EvictAsked", at: 1_010_007 + n * 30_000, order, model: some(models).id, timeoutMillis: 60_000 }
  })
  const weights = Bytes.make(75)
  return [...lost, ...evicted, { _tag: "Learned", at: 1_100_003, order, model: some(models).id, weights }]
}

/** Through the text of the file, and back. */
const logOf = (events: ReadonlyArray<SchedulerEvent>): ReadonlyArray<LogEntry> => {
  const header: LogEntry = {
    _tag: "FleetKnown",
    at: events[0]?.at ?? expect.fail(),
    devices,
    models,
    quantum: Millis.make(defaults.quantum)
  }
  return [header, ...events].map((entry) =>
    Either.getOrThrow(Schema.decodeUnknownEither(LogLine)(JSON.stringify(entry)))
  )
}

const decisions = (events: ReadonlyArray<SchedulerEvent>) =>
  events.flatMap((event) => {
    switch (event._tag) {
      case "Placed":
        return [`${event.at} ${event.placement.request} placed on ${event.placement.replica}`]
      case "Rejected":
        return [`${event.at} ${event.request} rejected: ${event.reason}`]
      case "LoadStarted":
        return [`${event.at} ${event.replica} loads, ${event.evict} leave`]
      case "Preempted":
        return [`${event.at} ${event.request} makes way for ${event.by}`]
      case "WorkerLost":
      case "WorkerBack":
        return [`${event.at} ${event.replica} ${event._tag}`]
      default:
        return []
    }
  })

describe("a recorded run", () => {
  it("decided again on the same devices has the same decisions at the same times", () => {
    for (const seed of [1, 2, 3]) {
      const run = recorded(seed)
      expect(run.evictions).toBeGreaterThan(20)
      expect(run.failedLoads).toBeGreaterThan(0)
      expect(run.outcomes.some(({ end }) => end === "left")).toBe(true)
      const tags = new Set(run.events.map(({ _tag }) => _tag))
      for (const tag of ["Preempted", "WorkerLost", "WorkerBack", "EvictAsked", "Learned"] as const)
        expect(tags).toContain(tag)
      const known = read(logOf(run.events))
      const again = VirtualFleet.run(worldOf(known, { ...defaults, quantum: known.quantum }))
      expect(decisions(again.events)).toEqual(decisions(run.events))
    }
  })

  it("says what one more device would have changed", () => {
    const run = recorded(4)
    const known = read(logOf(run.events))
    const more = VirtualFleet.run(worldOf(known, defaults, [...devices, device(2, 400)]))
    const mean = (course: Course) =>
      course.outcomes.reduce((sum, { waitedMillis }) => sum + waitedMillis, 0) / course.outcomes.length
    expect(more.outcomes).toHaveLength(run.outcomes.length)
    expect(more.evictions).toBeLessThan(run.evictions / 10)
    expect(mean(more)).toBeLessThan(mean(run) / 4)
    const none = VirtualFleet.run(worldOf(known, defaults, [device(0, 50)]))
    expect(new Set(none.outcomes.map(({ refusal }) => refusal))).toEqual(new Set(["NoDeviceFits"]))
  })

  it("counts what its log lacks", () => {
    const { events } = recorded(5)
    const [first, ...rest] = events
    if (first === undefined) throw new Error("nothing happened")
    expect(read(logOf([first, { _tag: "Lost", at: first.at, count: 7 }, ...rest])).lost).toBe(7)
  })
})
