import { RpcTest } from "@effect/rpc"
import { describe, expect, it } from "@effect/vitest"
import { LoadFailed } from "@helixflow/schema/Errors"
import { type ReplicaId, ReservationId } from "@helixflow/schema/Ids"
import { MailboxLimit } from "@helixflow/schema/MailboxLimit"
import { ModelSpec } from "@helixflow/schema/Model"
import { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import type { SchedulerEvent } from "@helixflow/schema/Scheduling"
import { Chunk, Deferred, Effect, Fiber, Layer, Stream, TestClock } from "effect"
import { Fleet } from "../src/Fleet.ts"
import * as Ledger from "../src/Ledger.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import * as VirtualFleet from "../src/VirtualFleet.ts"
import { device, deviceId, model, request } from "./fixtures.ts"
import { arrival, exponential, randomOf } from "./traces.ts"

const openMailbox = Layer.succeed(
  MailboxLimit,
  MailboxLimit.of(({ next }) => next)
)

/** Half of a device each, on devices of their own; and one that takes most of a device. */
const a = model("a")
const b = model("b", { policy: "least-loaded" })
const large = model("large", { weights: 120 })
const devices = [device(0, 210), device(1, 210)]

const start = Effect.fnUntraced(function* (fleetOptions: MemoryFleet.MemoryFleetOptions = {}, models = [a, b, large]) {
  const ready = yield* Deferred.make<Scheduler.Handlers>()
  const memory = MemoryFleet.make(devices, models, {
    tell: (news) => Effect.flatMap(Deferred.await(ready), (handlers) => handlers.Observe(news)),
    ...fleetOptions
  })
  const handlers = yield* Scheduler.make(defaults).pipe(Effect.provideService(Fleet, memory.fleet))
  yield* Deferred.succeed(ready, handlers)
  const context = yield* Layer.build(Layer.merge(SchedulerActor.toLayer(Effect.succeed(handlers)), openMailbox))
  const scheduler = yield* RpcTest.makeClient(SchedulerActor).pipe(Effect.provide(context))
  yield* scheduler.Observe(memory.news())
  const events: Array<SchedulerEvent> = []
  yield* Effect.forkScoped(
    Stream.runForEachChunk(scheduler.Watch(), (chunk) =>
      Effect.sync(() => events.push(...Chunk.toReadonlyArray(chunk)))
    )
  )
  yield* TestClock.adjust(0)
  const place = (name: string, of: ModelSpec, not: ReadonlyArray<ReplicaId> = []) =>
    scheduler.Place({ request: request(name), model: of.id, not, timeoutMillis: 60_000 })
  const complete = (name: string) => scheduler.Complete({ reservation: ReservationId.make(request(name)) })
  return { scheduler, memory, events, place, complete }
})

const replicas = (memory: MemoryFleet.MemoryFleet) => memory.replicas().map(({ replica }) => replica)

describe("a model that fits on no device, though enough memory is free in all", () => {
  it.scoped(
    "has a replica moved for it whose requests go on at its new place, which is ready before the old one leaves",
    () =>
      Effect.gen(function* () {
        const handedOver: Array<ReplicaId> = []
        const fleet: { handOver: (replica: ReplicaId) => Effect.Effect<void> } = { handOver: () => Effect.void }
        const { complete, events, memory, place, scheduler } = yield* start({
          onHandOver: (replica) => Effect.suspend(() => fleet.handOver(replica))
        })
        const first = yield* place("1", a)
        expect((yield* place("2", b)).device).toBe("local/cpu:1")
        yield* place("3", a)
        yield* place("5", b)
        // as sessions do: what ran there is placed again elsewhere
        fleet.handOver = (replica) =>
          Effect.gen(function* () {
            handedOver.push(replica)
            expect(replicas(memory)).toContain("local/cpu:1/a#0")
            for (const name of ["1", "3"]) {
              yield* complete(name)
              expect((yield* place(name, a, [replica])).replica).toBe("local/cpu:1/a#0")
            }
          }).pipe(Effect.orDie)
        expect((yield* scheduler.Explain({ model: large.id })).summary).toContain(
          "it would fit on local/cpu:0 once local/cpu:0/a#0 has moved to local/cpu:1"
        )
        const waiting = yield* Effect.fork(place("4", large))
        yield* TestClock.adjust(3_000)
        expect((yield* Fiber.join(waiting)).replica).toBe("local/cpu:0/large#0")
        expect(handedOver).toEqual([first.replica])
        expect(replicas(memory).sort()).toEqual(["local/cpu:0/large#0", "local/cpu:1/a#0", "local/cpu:1/b#0"])
        expect(events).toContainEqual(
          expect.objectContaining({
            _tag: "LoadStarted",
            cause: "move",
            replica: "local/cpu:1/a#0",
            replaces: first.replica
          })
        )
        for (const { id, total } of devices) {
          const claimed = Ledger.claims(memory.ledger(id)).filter(({ within }) => within === null)
          expect(claimed.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(total)
        }
      })
  )

  it.scoped("has one moved that leaves when it would have where it was, since nobody uses it", () =>
    Effect.gen(function* () {
      const leaves = new ModelSpec({ ...a, keepAlive: 20_000 })
      const { complete, events, memory, place } = yield* start({}, [leaves, b, large])
      for (const name of ["1", "2", "3", "4"]) {
        yield* place(name, leaves)
        yield* complete(name)
      }
      for (const name of ["5", "6"]) yield* place(name, b)
      yield* TestClock.adjust(5_000)
      expect((yield* place("7", large)).device).toBe("local/cpu:0")
      expect(events.some((event) => event._tag === "LoadStarted" && event.cause === "move")).toBe(true)
      yield* TestClock.adjust(14_999)
      expect(replicas(memory)).toContain("local/cpu:1/a#0")
      yield* TestClock.adjust(1)
      expect(replicas(memory)).not.toContain("local/cpu:1/a#0")
    })
  )

  it.scoped("is served by an eviction where that loses less", () =>
    Effect.gen(function* () {
      const { complete, events, place } = yield* start()
      yield* place("1", a)
      yield* complete("1")
      yield* place("2", b)
      yield* complete("2")
      // nobody has asked for long
      yield* TestClock.adjust("2 hours")
      const placed = yield* place("3", large)
      expect(placed.cold).toBe(true)
      expect(events.filter(({ _tag }) => _tag === "Evicted")).toHaveLength(1)
      expect(events.some((event) => event._tag === "LoadStarted" && event.cause === "move")).toBe(false)
    })
  )

  it.scoped("waits on where a move fails, and leaves what runs as it was", () =>
    Effect.gen(function* () {
      let moved = 0
      const { complete, memory, place } = yield* start({
        onStart: ({ device, model, replica }) => {
          if (model.id !== a.id || device !== deviceId(1)) return Effect.void
          moved += 1
          return new LoadFailed({ model: model.id, reason: `${replica} fails here`, file: null })
        }
      })
      for (const name of ["1", "4"]) yield* place(name, a)
      for (const name of ["2", "5"]) yield* place(name, b)
      const waiting = yield* Effect.fork(place("3", large))
      yield* TestClock.adjust(3_000)
      expect(moved).toBeGreaterThan(0)
      expect(replicas(memory)).toContain("local/cpu:0/a#0")
      for (const name of ["1", "2", "4", "5"]) yield* complete(name)
      yield* TestClock.adjust(50_000)
      expect((yield* Fiber.join(waiting)).model).toBe("large")
    })
  )
})

describe("a fleet that is moved about for hours", () => {
  it("serves everybody, over-commits nothing and comes to rest, the same again for a seed", () => {
    const models = [40, 60, 80, 100, 150, 180].map((weights, n) => model(`m${n}`, { weights, kvPerToken: 0, slots: 2 }))
    const run = (seed: number) => {
      const random = randomOf(seed)
      let at = 1_000_000
      const arrivals = Array.from({ length: 1500 }, (_, order) => {
        at += Math.ceil(exponential(random, 4_000))
        const spec = models[Math.floor(random() * models.length)] ?? expect.fail()
        return arrival(order, at, spec.id, Math.ceil(exponential(random, 9_000)))
      })
      return VirtualFleet.run({
        devices: [device(0, 200), device(1, 200), device(2, 160)],
        models,
        options: defaults,
        arrivals,
        loadOf: (_, nth) => ({ millis: 500 + 200 * (nth % 5), failure: nth % 17 === 16 ? "simulated" : null })
      })
    }
    let moves = 0
    for (const seed of [1, 2, 3]) {
      const course = run(seed)
      moves += course.events.filter((event) => event._tag === "LoadStarted" && event.cause === "move").length
      expect(course.outcomes).toHaveLength(1500)
      expect(
        course.outcomes.filter(({ end }) => end !== "completed").every(({ refusal }) => refusal === "LoadFailed")
      ).toBe(true)
      for (const { peak } of course.memory.values()) expect(peak).toBeLessThanOrEqual(1)
      expect(run(seed).events).toEqual(course.events)
    }
    expect(moves).toBeGreaterThan(5)
  })
})

describe("a model that fits only where another is kept loaded", () => {
  it("has that one loaded elsewhere after a while, where an idle one leaves for it, and is loaded then", () => {
    const kept = model("kept", { policy: "first-fit", placing: { minReplicas: 1 } })
    const other = model("other")
    const largest = model("largest", { weights: 160 })
    const { events, outcomes } = VirtualFleet.run({
      devices: [device(0, 210), device(1, 105)],
      models: [kept, other, largest],
      options: defaults,
      arrivals: [
        arrival(0, 0, kept.id, 100),
        arrival(1, 2_000, other.id, 100),
        arrival(2, 5_000, largest.id, 100, { timeoutMillis: 60_000 })
      ],
      loadOf: () => ({ millis: 500, failure: null })
    })
    expect(outcomes.map(({ end }) => end)).toEqual(["completed", "completed", "completed"])
    const loads = events.flatMap((event) => (event._tag === "LoadStarted" ? [event] : []))
    expect(loads.map(({ cause, evict, replaces, replica }) => ({ cause, evict, replaces, replica })).slice(2)).toEqual([
      {
        cause: "move",
        replica: `${deviceId(1)}/kept#0`,
        evict: [`${deviceId(1)}/other#0`],
        replaces: `${deviceId(0)}/kept#0`
      },
      { cause: "request", replica: `${deviceId(0)}/largest#0`, evict: [], replaces: null }
    ])
    expect(outcomes[2]?.waitedMillis).toBeLessThan(defaults.wantedPatience + 2_000)
  })
})
