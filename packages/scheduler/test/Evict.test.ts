import { describe, expect, it } from "@effect/vitest"
import { ModelId, ReservationId } from "@helixflow/schema/Ids"
import { Effect, Fiber, TestClock } from "effect"
import { Fleet } from "../src/Fleet.ts"
import * as Ledger from "../src/Ledger.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import { device, deviceId, model, request } from "./fixtures.ts"

const alpha = model("alpha", { slots: 1 })
const replica = "local/cpu:0/alpha#0"

/** A scheduler with one device and `alpha`, which is loaded. */
const start = Effect.gen(function* () {
  const memory = MemoryFleet.make([device(0, 150)], [alpha])
  const handlers = yield* Scheduler.make(defaults).pipe(Effect.provideService(Fleet, memory.fleet))
  yield* handlers.Observe(memory.news())
  const place = (name: number) =>
    handlers.Place({ request: request(name), model: alpha.id, not: [], timeoutMillis: 60_000 }).value
  const complete = (name: number) => handlers.Complete({ reservation: ReservationId.make(request(name)) })
  const evict = (of = alpha.id) => handlers.Evict({ model: of, timeoutMillis: 1000 }).value
  yield* place(0)
  yield* TestClock.adjust(1)
  return { place, complete, evict, claims: () => Ledger.claims(memory.ledger(deviceId(0))) }
})

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
