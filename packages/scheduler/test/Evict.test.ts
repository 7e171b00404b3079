import { describe, expect, it } from "@effect/vitest"
import { ModelId, ReservationId } from "@helixflow/schema/Ids"
import type { SchedulerEvent } from "@helixflow/schema/Scheduling"
import { Clock, Effect, Fiber, Stream, TestClock } from "effect"
import { Fleet } from "../src/Fleet.ts"
import * as Ledger from "../src/Ledger.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import { device, deviceId, model, request } from "./fixtures.ts"

const alpha = model("alpha", { slots: 1 })
const replica = "local/cpu:0/alpha#0"

/** A scheduler with one device and `alpha`, which is loaded. */
const startWith = Effect.fnUntraced(function* (fleetOptions: MemoryFleet.MemoryFleetOptions) {
  const memory = MemoryFleet.make([device(0, 150)], [alpha], fleetOptions)
  const handlers = yield* Scheduler.make(defaults).pipe(Effect.provideService(Fleet, memory.fleet))
  yield* handlers.Observe(memory.news())
  const place = (name: number) =>
    handlers.Place({ request: request(name), model: alpha.id, not: [], timeoutMillis: 60_000 }).value
  const complete = (name: number) => handlers.Complete({ reservation: ReservationId.make(request(name)) })
  const evict = (of = alpha.id) => handlers.Evict({ model: of, timeoutMillis: 1000 }).value
  const watched: Array<SchedulerEvent> = []
  yield* Effect.forkScoped(Stream.runForEach(handlers.Watch().value, (event) => Effect.sync(() => watched.push(event))))
  yield* place(0)
  yield* TestClock.adjust(1)
  return { place, complete, evict, watched, claims: () => Ledger.claims(memory.ledger(deviceId(0))) }
})

const start = startWith({})

const settle = TestClock.adjust(0)

describe("evicting a model", () => {
  it.scoped("stops its idle replicas and gives all of their memory back", () =>
    Effect.gen(function* () {
      const { claims, complete, evict, place } = yield* start
      yield* complete(0)
      expect(yield* evict()).toEqual({ evicted: [replica], busy: [] })
      expect(claims()).toEqual([])
      expect(yield* evict()).toEqual({ evicted: [], busy: [] })
      expect((yield* place(1)).cold).toBe(true)
    })
  )

  it.scoped("is told to who watches, since it is no decision of the scheduler's", () =>
    Effect.gen(function* () {
      const { complete, evict, watched } = yield* start
      yield* complete(0)
      yield* evict()
      yield* settle
      expect(watched.flatMap((event) => (event._tag === "EvictAsked" ? [event] : []))).toMatchObject([
        { model: alpha.id, timeoutMillis: 1000 }
      ])
    })
  )

  it.scoped("has its claim drain, with a deadline, until the process is gone", () =>
    Effect.gen(function* () {
      const { claims, complete, evict } = yield* startWith({ onStop: () => Effect.sleep("3 seconds") })
      yield* complete(0)
      const asked = yield* Clock.currentTimeMillis
      const evicting = yield* Effect.fork(evict())
      yield* TestClock.adjust("2 seconds")
      const states = claims().map(({ expiresAt, state }) => ({ expiresAt, state }))
      expect(states).toEqual([{ expiresAt: asked + defaults.drainTimeout, state: "draining" }])
      yield* TestClock.adjust("1 second")
      expect(yield* Fiber.join(evicting)).toEqual({ evicted: [replica], busy: [] })
      expect(claims()).toEqual([])
    })
  )

  it.scoped("waits for requests in progress while new ones wait for a load of their own", () =>
    Effect.gen(function* () {
      const { claims, complete, evict, place } = yield* start
      const evicting = yield* Effect.fork(evict())
      yield* settle
      const next = yield* Effect.fork(place(1))
      yield* TestClock.adjust(500)
      expect(claims()).toHaveLength(2)
      yield* complete(0)
      yield* settle
      expect(yield* Fiber.join(evicting)).toEqual({ evicted: [replica], busy: [] })
      expect((yield* Fiber.join(next)).cold).toBe(true)
    })
  )

  it.scoped("lets what is busy at the deadline go on, and whoever waited is served by it", () =>
    Effect.gen(function* () {
      const { complete, evict, place } = yield* start
      const evicting = yield* Effect.fork(evict())
      yield* settle
      const next = yield* Effect.fork(place(1))
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(evicting)).toEqual({ evicted: [], busy: [replica] })
      yield* complete(0)
      yield* settle
      expect(yield* Fiber.join(next)).toMatchObject({ replica, cold: false })
    })
  )

  it.scoped("that is given up leaves everything as it was", () =>
    Effect.gen(function* () {
      const { complete, evict, place } = yield* start
      const evicting = yield* Effect.fork(evict())
      yield* settle
      yield* Fiber.interrupt(evicting)
      yield* complete(0)
      expect(yield* place(1)).toMatchObject({ replica, cold: false })
    })
  )

  it.scoped("that nobody knows is refused", () =>
    Effect.gen(function* () {
      const { evict } = yield* start
      expect(yield* Effect.flip(evict(ModelId.make("none")))).toMatchObject({ _tag: "ModelNotFound" })
    })
  )
})
