import { describe, expect, it } from "@effect/vitest"
import type { Caller } from "@helixflow/schema/Caller"
import { ReservationId } from "@helixflow/schema/Ids"
import type { KeepAlive } from "@helixflow/schema/KeepAlive"
import { ModelSpec, Placing } from "@helixflow/schema/Model"
import { Effect, TestClock } from "effect"
import { Fleet } from "../src/Fleet.ts"
import * as Ledger from "../src/Ledger.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import { device, deviceId, model, request } from "./fixtures.ts"
import { caller } from "./traces.ts"

const kept = (keepAlive: KeepAlive, placing: Partial<Placing> = {}) =>
  new ModelSpec({ ...model("alpha"), keepAlive, placing: new Placing({ ...Placing.anywhere, ...placing }) })

/** A scheduler with one device and a model that is kept so long; and whether it is loaded. */
const start = (spec: ModelSpec) =>
  Effect.gen(function* () {
    const memory = MemoryFleet.make([device(0, 100)], [spec])
    const handlers = yield* Scheduler.make(defaults).pipe(Effect.provideService(Fleet, memory.fleet))
    yield* handlers.Observe(memory.news())
    const place = (name: number, more: Partial<Caller> = {}) =>
      handlers.Place({
        request: request(name),
        model: spec.id,
        not: [],
        timeoutMillis: 60_000,
        caller: caller("tenant", more)
      }).value
    const complete = (name: number) => handlers.Complete({ reservation: ReservationId.make(request(name)) })
    const use = (name: number, more: Partial<Caller> = {}) => Effect.zipRight(place(name, more), complete(name))
    const loaded = Effect.as(TestClock.adjust(0), 0).pipe(
      Effect.map(() => Ledger.claims(memory.ledger(deviceId(0))).length > 0)
    )
    const replace = Effect.suspend(() => {
      memory.setModels([new ModelSpec({ ...spec, revision: "after" })])
      return Effect.zipRight(handlers.Observe({ devices: [], replicas: [] }), TestClock.adjust(0))
    })
    return { place, complete, use, loaded, replace }
  })

describe("a model that nobody uses", () => {
  it.scoped("stays loaded for as long as it is kept, counted from the end of its last request", () =>
    Effect.gen(function* () {
      const { complete, loaded, place, use } = yield* start(kept(5000))
      yield* use(1)
      yield* TestClock.adjust(4000)
      yield* place(2)
      yield* TestClock.adjust(20_000)
      expect(yield* loaded).toBe(true)
      yield* complete(2)
      yield* TestClock.adjust(4999)
      expect(yield* loaded).toBe(true)
      yield* TestClock.adjust(1)
      expect(yield* loaded).toBe(false)
      expect((yield* place(3)).cold).toBe(true)
    })
  )

  it.scoped("stays loaded unless anything else is said", () =>
    Effect.gen(function* () {
      const { loaded, use } = yield* start(kept("forever"))
      yield* use(1)
      yield* TestClock.adjust("1 hour")
      expect(yield* loaded).toBe(true)
    })
  )

  it.scoped("stays loaded for as long as its last request says", () =>
    Effect.gen(function* () {
      const { loaded, use } = yield* start(kept("forever"))
      yield* use(1, { keepAlive: 1000 })
      yield* TestClock.adjust(999)
      expect(yield* loaded).toBe(true)
      yield* use(2, { keepAlive: "forever" })
      yield* TestClock.adjust(10_000)
      expect(yield* loaded).toBe(true)
      yield* use(3, { keepAlive: 0 })
      expect(yield* loaded).toBe(false)
    })
  )

  it.scoped("stays loaded for as long as it is kept after its files were replaced", () =>
    Effect.gen(function* () {
      const { loaded, replace, use } = yield* start(kept(5000))
      yield* use(1)
      yield* replace
      yield* TestClock.adjust(4999)
      expect(yield* loaded).toBe(true)
      yield* TestClock.adjust(1)
      expect(yield* loaded).toBe(false)
    })
  )

  it.scoped("stays loaded while another request of it is computed", () =>
    Effect.gen(function* () {
      const { complete, loaded, place, use } = yield* start(kept(0))
      yield* place(1)
      yield* use(2)
      yield* TestClock.adjust(1000)
      expect(yield* loaded).toBe(true)
      yield* complete(1)
      expect(yield* loaded).toBe(false)
    })
  )

  it.scoped("stays loaded where replicas of it are to be kept", () =>
    Effect.gen(function* () {
      const { loaded, use } = yield* start(kept(0, { minReplicas: 1 }))
      yield* use(1)
      yield* TestClock.adjust(10_000)
      expect(yield* loaded).toBe(true)
    })
  )
})
