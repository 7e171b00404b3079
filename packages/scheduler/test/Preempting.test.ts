import { describe, expect, it } from "@effect/vitest"
import { anonymous, Caller } from "@helixflow/schema/Caller"
import { type RequestId, ReservationId } from "@helixflow/schema/Ids"
import { Clock, Effect, Fiber, TestClock } from "effect"
import * as FastCheck from "effect/FastCheck"
import * as FairShare from "../src/FairShare.ts"
import * as Queue from "../src/Queue.ts"
import { defaults, type SchedulerOptions } from "../src/SchedulerOptions.ts"
import * as VirtualFleet from "../src/VirtualFleet.ts"
import type { Arrival, Course } from "../src/World.ts"
import { device, model, request } from "./fixtures.ts"
import { settle, start } from "./startedScheduler.ts"
import { arrival, caller } from "./traces.ts"

const slots = 4
const busy = model("busy", { slots, kvPerToken: 0 })
const quantum = 1_000

const world = (arrivals: ReadonlyArray<Arrival>, options: Partial<SchedulerOptions> = {}) => ({
  devices: [device(0, 200)],
  models: [busy],
  options: { ...defaults, quantum, ...options },
  arrivals,
  loadOf: () => ({ millis: 0, failure: null })
})

const run = (arrivals: ReadonlyArray<Arrival>, options: Partial<SchedulerOptions> = {}) =>
  VirtualFleet.run(world(arrivals, options))

let orders = 0
const asks = (tenant: string, at: number, holdMillis: number, more: Partial<Caller> = {}, preemptible = true) =>
  arrival(orders++, at, busy.id, holdMillis, { caller: caller(tenant, more), preemptible })

const many = (count: number, tenant: string, holdMillis: number, more: Partial<Caller> = {}, preemptible = true) =>
  Array.from({ length: count }, () => asks(tenant, 0, holdMillis, more, preemptible))

const waitOf = ({ outcomes }: Course, of: Arrival) =>
  outcomes.find(({ arrival }) => arrival === of)?.waitedMillis ?? expect.fail("it has no end")

const preemptions = ({ outcomes }: Course) => outcomes.reduce((sum, { preempted }) => sum + preempted, 0)

describe("a request that waits while another tenant has more", () => {
  it("is given the slot of one of its requests, which goes on later and is served in full", () => {
    const late = asks("late", 5_000, 100)
    const course = run([...many(8, "flood", 60_000), late])
    expect(waitOf(course, late)).toBe(0)
    expect(preemptions(course)).toBe(1)
    const outcome = course.outcomes.find(({ preempted }) => preempted > 0) ?? expect.fail("nobody was preempted")
    // it has its slot back as soon as who came has ended
    expect(outcome).toMatchObject({ end: "completed", pausedMillis: 100 })
    const served = course.events.flatMap((event) =>
      event._tag === "Completed" && event.reservation === ReservationId.make(outcome.arrival.request)
        ? [event.served ?? expect.fail("it was served nothing")]
        : []
    )
    expect(served).toHaveLength(2)
    expect(served.reduce((sum, { output }) => sum + output, 0)).toBe(outcome.arrival.served?.output)
    expect(served.reduce((sum, { input }) => sum + input, 0)).toBe(outcome.arrival.served?.input)
  })

  it("waits until a slot was had for the quantum, and not a moment longer", () => {
    const late = asks("late", 300, 100)
    expect(waitOf(run([...many(8, "flood", 60_000), late]), late)).toBe(quantum - 300)
  })

  it("waits for the end of what can't be preempted, and of everything where that is turned off", () => {
    for (const [options, can] of [
      [{}, false],
      [{ quantum: Number.POSITIVE_INFINITY }, true]
    ] as const) {
      const late = asks("late", 5_000, 100)
      const course = run([...many(8, "flood", 60_000, {}, can), late], options)
      expect(waitOf(course, late)).toBe(55_000)
      expect(preemptions(course)).toBe(0)
    }
  })

  it("has the slot though others of its tier would be next, and the one that was preempted least gives it, or the latest", () => {
    const late = [asks("late", 5_000, 100), asks("late", 5_000, 100), asks("late", 7_000, 3_000)]
    const floods = many(8, "flood", 60_000)
    const course = run([...floods, ...late])
    expect(late.map((one) => waitOf(course, one))).toEqual([0, 0, 0])
    const preempted = course.events.flatMap((event) => (event._tag === "Preempted" ? [event.request] : []))
    expect(new Set(preempted).size).toBe(3)
    expect(preempted.every((name) => floods.some((one) => one.request === name))).toBe(true)
  })
})

describe("nobody makes way", () => {
  const unmoved = (arrivals: ReadonlyArray<Arrival>) => expect(preemptions(run(arrivals))).toBe(0)

  it("for its own tenant", () => unmoved([...many(20, "flood", 5_000), asks("flood", 3_000, 10)]))

  it("for an equal", () => {
    const held = [...many(2, "one", 60_000), ...many(2, "two", 60_000)]
    unmoved([...held, asks("one", 2_000, 10), asks("two", 2_000, 10)])
    // with one slot more it would be where the other is now
    unmoved([...many(2, "one", 60_000), asks("two", 0, 60_000), asks("three", 0, 60_000), asks("two", 2_000, 10)])
  })

  it("for a tenant that would have more for its weight", () => {
    unmoved([...many(4, "heavy", 60_000, { weight: 4 }), asks("light", 2_000, 10)].slice(0, 4))
    const late = asks("light", 2_000, 10)
    expect(preemptions(run([...many(4, "heavy", 9_000, { weight: 4 }), late]))).toBe(0)
    expect(preemptions(run([...many(4, "heavy", 9_000, { weight: 3 }), late]))).toBe(1)
  })

  it("for a less urgent tier, but for one that has waited for as long as makes it as urgent", () => {
    unmoved([...many(8, "flood", 6_000, { tier: "default" }), asks("late", 2_000, 10, { tier: "flex" })])
    const late = asks("late", 2_000, 10, { tier: "flex" })
    expect(waitOf(run([...many(4, "flood", 60_000), late]), late)).toBe(defaults.aging)
  })

  it("more often than it may", () => {
    const tricklers = Array.from({ length: 60 }, (_, n) => asks(`trickle ${n % 5}`, 2_000 + n * 1_500, 500))
    const course = run([...many(2 * slots, "flood", 60_000), ...tricklers], { preemptions: 3 })
    expect(Math.max(...course.outcomes.map(({ preempted }) => preempted))).toBe(3)
    expect(course.outcomes.every(({ end }) => end === "completed")).toBe(true)
  })
})

describe("a tenant whose requests are preempted", () => {
  it("has paid in the end for what they were served, once", () => {
    const tricklers = Array.from({ length: 40 }, (_, n) => asks(`trickle ${n % 5}`, 2_000 + n * 700, 500))
    const floods = many(12, "flood", 8_000)
    const fleet = new VirtualFleet.VirtualFleet(world([...floods, ...tricklers]))
    while (fleet.step());
    expect(fleet.outcomes.some(({ preempted }) => preempted > 1)).toBe(true)
    const cost = floods.reduce((sum, { served }) => sum + (served === undefined ? 0 : FairShare.costOf(served)), 0)
    expect(FairShare.counter(Queue.share(fleet.state.queue, busy.id), "flood")).toBeCloseTo(cost)
  })

  it("has paid for what they were served until their clients left", () => {
    // preempted at 5,000, and gone before it could go on
    const leaves = { ...asks("flood", 0, 60_000), leavesAfter: 6_000 }
    const floods = [...many(slots - 1, "flood", 60_000, {}, false), leaves]
    const fleet = new VirtualFleet.VirtualFleet(world([...floods, asks("late", 5_000, 100_000)]))
    while (fleet.step());
    expect(fleet.outcomes.find(({ arrival }) => arrival === leaves)).toMatchObject({ end: "left", preempted: 1 })
    const costs = floods.map(({ served }) => (served === undefined ? 0 : FairShare.costOf(served)))
    const whole = costs.slice(0, slots - 1).reduce((sum, cost) => sum + cost, 0)
    const part = 10 + 2 * Math.floor((5_000 / 60_000) * 3_000)
    expect(FairShare.counter(Queue.share(fleet.state.queue, busy.id), "flood")).toBeCloseTo(whole + part)
  })
})

describe("whatever comes", () => {
  it("everybody is served to the end, nobody is preempted too soon or too often, and the slots come to rest", () => {
    const request = FastCheck.record({
      tenant: FastCheck.integer({ min: 0, max: 4 }),
      at: FastCheck.integer({ min: 0, max: 30_000 }),
      hold: FastCheck.integer({ min: 1, max: 20_000 }),
      tier: FastCheck.constantFrom("priority" as const, "default" as const, "flex" as const),
      can: FastCheck.boolean()
    })
    FastCheck.assert(
      FastCheck.property(FastCheck.array(request, { minLength: 20, maxLength: 120 }), (drawn) => {
        const arrivals = drawn.map(({ at, can, hold, tenant, tier }) =>
          asks(`tenant ${tenant}`, at, hold, { tier, weight: 1 + (tenant % 3) }, can)
        )
        // it throws where somebody waits or has a place when nothing happens any more
        const course = run(arrivals, { preemptions: 5 })
        expect(course.outcomes).toHaveLength(arrivals.length)
        expect(course.outcomes.every(({ end }) => end === "completed")).toBe(true)
        for (const { arrival, preempted } of course.outcomes) {
          expect(preempted).toBeLessThanOrEqual(Math.min(5, arrival.holdMillis / quantum))
          if (arrival.preemptible !== true) expect(preempted).toBe(0)
        }
        // somebody gets on whenever somebody waits: no slot is idle meanwhile
        const work = drawn.reduce((sum, { hold }) => sum + hold, 0)
        expect(course.millis).toBeLessThanOrEqual(30_000 + work / slots + 20_000)
      }),
      { numRuns: 150, seed: 5 }
    )
  })
})

describe("the scheduler's actor", () => {
  const place = (name: string, tenant: string, resumes?: string) => ({
    request: request(name),
    model: busy.id,
    not: [],
    timeoutMillis: 60_000,
    caller: new Caller({ ...anonymous, tenant }),
    preemptible: true,
    ...(resumes !== undefined && { resumes: request(resumes) })
  })

  it.scoped("asks a replica for the place, again if it is kept, and gives it to who waits", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      let gives = false
      const { complete, scheduler } = yield* start(
        [device(0, 200)],
        [busy],
        { onPreempt: (_, request: RequestId) => Effect.sync(() => asked.push(request) > 0 && gives) },
        { quantum }
      )
      const began = yield* Clock.currentTimeMillis
      for (let n = 0; n < slots; n++) yield* scheduler.Place(place(`flood-${n}`, "flood"))
      const late = yield* Effect.fork(scheduler.Place(place("late", "late")))
      yield* TestClock.adjust(quantum - 1)
      expect(asked).toEqual([])
      yield* TestClock.adjust(1)
      // each keeps it in turn
      expect(new Set(asked)).toEqual(new Set(Array.from({ length: slots }, (_, n) => request(`flood-${n}`))))
      expect(asked).toHaveLength(slots)
      expect((yield* scheduler.Explain({ model: busy.id })).summary).not.toContain("given up")
      gives = true
      yield* TestClock.adjust(quantum - 1)
      yield* TestClock.adjust(1)
      expect(asked).toHaveLength(slots + 1)
      expect((yield* scheduler.Explain({ model: busy.id })).summary).toContain("3 slots would be given up")
      const last = asked.at(-1)?.replace("request-", "") ?? expect.fail("nobody was asked")
      yield* complete(last)
      expect((yield* Fiber.join(late)).queuedMillis).toBe((yield* Clock.currentTimeMillis) - began)
      const resumed = yield* Effect.fork(scheduler.Place(place("again", "flood", last)))
      yield* settle
      yield* complete("late")
      expect((yield* Fiber.join(resumed)).request).toBe(request("again"))
    })
  )
})
