import { describe, expect, it } from "@effect/vitest"
import { LoadFailed, ModelReplaced } from "@helixflow/schema/Errors"
import { ReservationId } from "@helixflow/schema/Ids"
import { Effect, Fiber, TestClock } from "effect"
import { Fleet } from "../src/Fleet.ts"
import * as Ledger from "../src/Ledger.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import { device, deviceId, model, request } from "./fixtures.ts"

// claim 100 bytes each
const before = model("alpha", { revision: "before" })
const after = model("alpha", { revision: "after" })
const other = model("other")

/** A scheduler with one device, on which `alpha` is loaded and has a request, until `replace` has other files in its place. */
const start = (total: number, onStart: MemoryFleet.MemoryFleetOptions["onStart"] = () => Effect.void) =>
  Effect.gen(function* () {
    const memory = MemoryFleet.make([device(0, total)], [before, other], { onStart })
    const handlers = yield* Scheduler.make(defaults).pipe(Effect.provideService(Fleet, memory.fleet))
    yield* handlers.Observe(memory.news())
    const place = (name: number, of = before, revision?: string) =>
      handlers.Place({ request: request(name), model: of.id, not: [], timeoutMillis: 600_000, revision }).value
    const complete = (name: number) =>
      Effect.zipRight(handlers.Complete({ reservation: ReservationId.make(request(name)) }), TestClock.adjust(0))
    const replace = Effect.gen(function* () {
      memory.setModels([after, other])
      yield* handlers.Observe({ devices: [], replicas: [] })
      yield* TestClock.adjust(0)
    })
    yield* place(0)
    return {
      place,
      complete,
      replace,
      /** What is loaded, by its revision. */
      loaded: () =>
        memory
          .replicas()
          .map(({ model, revision }) => `${model} ${revision}`.trim())
          .sort(),
      replicaClaims: () => Ledger.claims(memory.ledger(deviceId(0))).filter(({ within }) => within === null).length
    }
  })

describe("a model whose files were replaced", () => {
  it.scoped("is loaded anew beside the old replica, which ends what it has begun and leaves", () =>
    Effect.gen(function* () {
      const { complete, loaded, place, replace, replicaClaims } = yield* start(200)
      yield* replace
      expect(loaded()).toEqual(["alpha after", "alpha before"])
      expect(yield* place(1)).toMatchObject({ revision: "after" })
      // another choice of a request that has begun
      expect(yield* place(2, before, "before")).toMatchObject({ revision: "before" })
      yield* complete(0)
      expect(loaded()).toEqual(["alpha after", "alpha before"])
      yield* complete(2)
      expect(loaded()).toEqual(["alpha after"])
      expect(replicaClaims()).toBe(1)
      expect(yield* Effect.flip(place(3, before, "before"))).toEqual(new ModelReplaced({ model: "alpha" }))
    })
  )

  it.scoped("is loaded in the old one's place, once that is done, where there is no room for both", () =>
    Effect.gen(function* () {
      const { complete, loaded, place, replace } = yield* start(100)
      yield* replace
      const next = yield* Effect.fork(place(1))
      yield* TestClock.adjust(1000)
      expect(loaded()).toEqual(["alpha before"])
      yield* complete(0)
      expect(yield* Fiber.join(next)).toMatchObject({ revision: "after" })
      expect(loaded()).toEqual(["alpha after"])
    })
  )

  it.scoped("rather has an idle replica of another model leave than that it could not answer", () =>
    Effect.gen(function* () {
      const { complete, loaded, place, replace } = yield* start(200)
      yield* place(9, other)
      yield* complete(9)
      // nobody leaves right after it was loaded
      yield* TestClock.adjust(defaults.minResidency)
      yield* replace
      expect(loaded()).toEqual(["alpha after", "alpha before"])
      expect(yield* place(1)).toMatchObject({ revision: "after" })
    })
  )

  it.scoped("goes on with what the old one has begun and lost its place there, however many wait for the new one", () =>
    Effect.gen(function* () {
      const { complete, loaded, place, replace } = yield* start(200)
      yield* place(1)
      yield* replace
      yield* place(2)
      yield* place(3)
      const next = yield* Effect.fork(place(4))
      yield* TestClock.adjust(1)
      const begun = yield* Effect.fork(place(5, before, "before"))
      yield* TestClock.adjust(1)
      yield* complete(0)
      yield* complete(1)
      expect(yield* Fiber.join(begun)).toMatchObject({ revision: "before" })
      expect(loaded()).toEqual(["alpha after", "alpha before"])
      yield* complete(5)
      expect(loaded()).toEqual(["alpha after"])
      yield* complete(2)
      expect(yield* Fiber.join(next)).toMatchObject({ revision: "after" })
    })
  )

  it.scoped("waits no longer for what the old one has begun than the drain timeout", () =>
    Effect.gen(function* () {
      const { loaded, replace } = yield* start(200)
      yield* replace
      yield* TestClock.adjust(defaults.drainTimeout - 1)
      expect(loaded()).toEqual(["alpha after", "alpha before"])
      yield* TestClock.adjust(1)
      expect(loaded()).toEqual(["alpha after"])
    })
  )

  it.scoped("is served from what was loaded as long as the new files can't be", () =>
    Effect.gen(function* () {
      let broken = true
      const { complete, loaded, place, replace } = yield* start(200, ({ model }) =>
        model.revision === "after" && broken
          ? new LoadFailed({ model: model.id, reason: "no weights", file: null })
          : Effect.void
      )
      yield* complete(0)
      yield* replace
      expect(yield* place(1)).toMatchObject({ revision: "before" })
      expect(loaded()).toEqual(["alpha before"])
      broken = false
      yield* TestClock.adjust(defaults.backoffCap)
      expect(loaded()).toEqual(["alpha after", "alpha before"])
      yield* complete(1)
      expect(loaded()).toEqual(["alpha after"])
    })
  )
})
