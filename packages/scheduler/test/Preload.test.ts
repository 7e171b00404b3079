import { RpcTest } from "@effect/rpc"
import { describe, expect, it } from "@effect/vitest"
import { anonymous, Caller } from "@helixflow/schema/Caller"
import { type ModelId, ReservationId } from "@helixflow/schema/Ids"
import { MailboxLimit } from "@helixflow/schema/MailboxLimit"
import type { ModelSpec } from "@helixflow/schema/Model"
import { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import { Deferred, Effect, Exit, Fiber, Layer, Scope, TestClock } from "effect"
import { Fleet } from "../src/Fleet.ts"
import * as Forecast from "../src/Forecast.ts"
import * as Ledger from "../src/Ledger.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults, type SchedulerOptions } from "../src/SchedulerOptions.ts"
import * as VirtualFleet from "../src/VirtualFleet.ts"
import type { Arrival, Course } from "../src/World.ts"
import { device, deviceId, model, request } from "./fixtures.ts"
import { patternless, sequences } from "./rhythms.ts"
import { arrival, mean } from "./traces.ts"

const models = Array.from({ length: 9 }, (_, n) => model(`m${n}`, { slots: 4, context: 10 }))
const ids = models.map(({ id }) => id)
const ofId = (n: number) => ids[n] ?? expect.fail()

/** Three of nine models at a time, each of which takes twelve seconds to load. */
const run = (arrivals: ReadonlyArray<Arrival>, preload: boolean, more: ReadonlyArray<ModelSpec> = models): Course =>
  VirtualFleet.run({
    devices: [device(0, 220), device(1, 120)],
    models: more,
    options: { ...defaults, preload },
    arrivals,
    loadOf: () => ({ millis: 12_000, failure: null })
  })

const coldShare = ({ outcomes }: Course) =>
  outcomes.filter(({ placed }) => placed?.cold === true).length / outcomes.length
const wait = ({ outcomes }: Course) => mean(outcomes.map(({ waitedMillis }) => waitedMillis))
const ahead = ({ events }: Course) =>
  events.filter((event) => event._tag === "LoadStarted" && event.cause === "preload")

const chains: ReadonlyArray<ReadonlyArray<ModelId>> = [ids.slice(0, 3), ids.slice(3, 5), ids.slice(5, 9)]

describe("loading ahead", () => {
  it("has what follows loaded before it is asked for", () => {
    const arrivals = sequences(chains, 4, 1)
    const [without, foreseen] = [run(arrivals, false), run(arrivals, true)]
    expect(ahead(without)).toEqual([])
    expect(coldShare(foreseen)).toBeLessThan(0.7 * coldShare(without))
    expect(wait(foreseen)).toBeLessThan(0.7 * wait(without))
  })

  it("loses nothing where there is nothing to be foreseen", () => {
    for (const seed of [1, 2]) {
      const arrivals = patternless(ids, 4, seed)
      const [without, foreseen] = [run(arrivals, false), run(arrivals, true)]
      expect(coldShare(foreseen)).toBeLessThanOrEqual(1.02 * coldShare(without))
      expect(wait(foreseen)).toBeLessThanOrEqual(1.02 * wait(without))
    }
  })

  it("takes the place of no replica that is busy, and of none that is kept", () => {
    const second = 1000
    // b follows a after 20 seconds, again and again, while c computes all the time
    const pairs = Array.from({ length: 12 }, (_, n) => [
      arrival(10 * n, n * 300 * second, ofId(0), second),
      arrival(10 * n + 1, n * 300 * second + 20 * second, ofId(1), second)
    ]).flat()
    const busy = arrival(999, 0, ofId(2), 3_700 * second)
    const small = (spec: ReadonlyArray<ModelSpec>) =>
      VirtualFleet.run({
        devices: [device(0, 220)],
        models: spec,
        options: { ...defaults, preload: true, patience: 1e9 },
        arrivals: [busy, ...pairs],
        loadOf: () => ({ millis: 5_000, failure: null })
      })
    const course = small(models)
    expect(ahead(course).length).toBeGreaterThan(0)
    expect(course.events.filter(({ _tag }) => _tag === "Evicted").length).toBeGreaterThan(0)
    const gone = course.events.flatMap((event) => (event._tag === "Evicted" ? [event.replica] : []))
    expect(gone.some((replica) => replica.includes(ofId(2)))).toBe(false)
    const kept = model("m0", { slots: 4, context: 10, placing: { minReplicas: 1 } })
    const keeping = small([kept, ...models.slice(1)])
    expect(ahead(keeping)).toEqual([])
  })

  it("decides the same again", () => {
    const arrivals = sequences(chains, 1, 2)
    expect(run(arrivals, true).events).toEqual(run(arrivals, true).events)
  })
})

const openMailbox = Layer.succeed(
  MailboxLimit,
  MailboxLimit.of(({ next }) => next)
)

const [a, b, c] = [model("a"), model("b"), model("c")]

/** A tenant that asks for b after a, as was seen often. */
const habit = () => {
  let forecast = Forecast.empty
  for (let n = 0; n < 30; n++) {
    forecast = Forecast.arrived(forecast, a.id, "tenant", n * 200_000)
    forecast = Forecast.arrived(forecast, b.id, "tenant", n * 200_000 + 4_000)
  }
  return Forecast.encode(forecast)
}

/** A scheduler that knows the habit; loads of `slow` take until they are let go. */
const start = Effect.fnUntraced(function* (
  slow: ModelSpec,
  options: Partial<SchedulerOptions> = {},
  keep: (text: string) => Effect.Effect<void> = () => Effect.void
) {
  const ready = yield* Deferred.make<Scheduler.Handlers>()
  const started = yield* Deferred.make<void>()
  const go = yield* Deferred.make<void>()
  const memory = MemoryFleet.make([device(0, 120), device(1, 120)], [a, b, c], {
    tell: (news) => Effect.flatMap(Deferred.await(ready), (handlers) => handlers.Observe(news)),
    onStart: ({ model }) =>
      model.id === slow.id ? Effect.zipRight(Deferred.succeed(started, undefined), Deferred.await(go)) : Effect.void
  })
  const handlers = yield* Scheduler.make(
    { ...defaults, preload: true, ...options },
    { recall: Effect.succeed(habit()), keep }
  ).pipe(Effect.provideService(Fleet, memory.fleet))
  yield* Deferred.succeed(ready, handlers)
  const context = yield* Layer.build(Layer.merge(SchedulerActor.toLayer(Effect.succeed(handlers)), openMailbox))
  const scheduler = yield* RpcTest.makeClient(SchedulerActor).pipe(Effect.provide(context))
  yield* scheduler.Observe(memory.news())
  const place = (name: string, of: ModelSpec) =>
    scheduler.Place({
      request: request(name),
      model: of.id,
      not: [],
      timeoutMillis: 60_000,
      caller: new Caller({ ...anonymous, tenant: "tenant" })
    })
  const complete = (name: string) => scheduler.Complete({ reservation: ReservationId.make(request(name)) })
  return {
    scheduler,
    memory,
    place,
    complete,
    started: Deferred.await(started),
    letGo: Deferred.succeed(go, undefined)
  }
})

const claims = (memory: MemoryFleet.MemoryFleet) =>
  [0, 1].flatMap((index) => Ledger.claims(memory.ledger(deviceId(index))).map(({ owner }) => owner))

describe("a load that is ahead of requests", () => {
  it.scoped("gives way to a request that needs its place, at once and without a trace", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(30 * 200_000)
      const { memory, place, started } = yield* start(b)
      yield* place("1", a)
      yield* TestClock.adjust(5_000)
      yield* started
      expect(claims(memory)).toContain("local/cpu:1/b#0")
      // a is busy on the one device, b is being loaded on the other
      const placed = yield* place("2", c)
      expect(placed.device).toBe("local/cpu:1")
      expect(claims(memory).filter((owner) => owner.includes("/b#"))).toEqual([])
    })
  )

  it.scoped("goes on when its own model is asked for", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(30 * 200_000)
      const { letGo, place, started } = yield* start(b)
      yield* place("1", a)
      yield* TestClock.adjust(5_000)
      yield* started
      const waiting = yield* Effect.fork(place("2", b))
      yield* TestClock.adjust(100)
      yield* letGo
      expect((yield* Fiber.join(waiting)).replica).toBe("local/cpu:1/b#0")
    })
  )

  it.scoped("is explained as what it is, until it is used", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(30 * 200_000)
      const { complete, place, scheduler } = yield* start(c)
      yield* place("1", a)
      yield* TestClock.adjust(5_000)
      expect((yield* scheduler.Explain({ model: b.id })).summary).toContain("loaded ahead of requests")
      expect((yield* place("2", b)).cold).toBe(false)
      yield* complete("2")
      expect((yield* scheduler.Explain({ model: b.id })).summary).not.toContain("loaded ahead")
    })
  )

  it.scoped("is none unless asked for", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(30 * 200_000)
      const { memory, place } = yield* start(c, { preload: false })
      yield* place("1", a)
      yield* TestClock.adjust(5_000)
      expect(memory.replicas().map(({ model }) => model)).toEqual(["a"])
    })
  )

  it.effect("rests on a forecast that outlives the scheduler", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(30 * 200_000)
      const kept: Array<string> = []
      const scope = yield* Scope.make()
      const keep = (text: string) => Effect.sync(() => kept.push(text))
      const { place } = yield* Scope.extend(start(b, { preload: false }, keep), scope)
      yield* Scope.extend(place("1", c), scope)
      yield* Scope.close(scope, Exit.void)
      const forecast = Forecast.decode(kept.at(-1) ?? "") ?? expect.fail()
      expect(Forecast.lastOf(forecast, c.id)).toBe(30 * 200_000)
      expect(Forecast.lastOf(forecast, b.id)).toBe(29 * 200_000 + 4_000)
    })
  )
})
