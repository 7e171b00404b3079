import { describe, expect, it } from "@effect/vitest"
import { LoadFailed } from "@helixflow/schema/Errors"
import { Bytes, ReservationId } from "@helixflow/schema/Ids"
import { unknownShortage } from "@helixflow/schema/MemoryShortage"
import { Effect, TestClock } from "effect"
import { Fleet } from "../src/Fleet.ts"
import * as Ledger from "../src/Ledger.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import { device, deviceId, model, request } from "./fixtures.ts"

// each claims 100 bytes
const alpha = model("alpha")
const others = [model("one"), model("two"), model("three")]

/** A device of 300 bytes, which the three others have filled and left; `alpha` takes `needed` bytes, however much is claimed for it. */
const start = (needed: number) =>
  Effect.gen(function* () {
    const claimed: Array<number> = []
    const memory = MemoryFleet.make([device(0, 300)], [alpha, ...others], {
      onStart: ({ model }) => {
        if (model.id !== alpha.id) return Effect.void
        claimed.push(model.claimOn("cpu"))
        return model.claimOn("cpu") >= needed
          ? Effect.void
          : new LoadFailed({
              model: model.id,
              reason: "bad allocation",
              file: null,
              memory: { ...unknownShortage, needed: Bytes.make(model.claimOn("cpu") + 10) }
            })
      }
    })
    const handlers = yield* Scheduler.make(defaults).pipe(Effect.provideService(Fleet, memory.fleet))
    yield* handlers.Observe(memory.news())
    const place = (name: string, of = alpha) =>
      handlers.Place({ request: request(name), model: of.id, not: [], timeoutMillis: 60_000 }).value
    const complete = (name: string) => handlers.Complete({ reservation: ReservationId.make(request(name)) })
    for (const other of others) {
      yield* place(other.id, other)
      yield* complete(other.id)
      yield* TestClock.adjust(defaults.minResidency)
    }
    return {
      place,
      complete,
      claimed,
      evict: handlers.Evict({ model: alpha.id, timeoutMillis: 1_000 }).value,
      models: () => memory.replicas().map(({ model }) => String(model)),
      claims: () =>
        Ledger.claims(memory.ledger(deviceId(0)))
          .filter(({ within }) => within === null)
          .map(({ bytes }) => Number(bytes))
    }
  })

describe("a load that memory was not enough for", () => {
  it.scoped("is tried once more with a larger claim, for which just enough others leave", () =>
    Effect.gen(function* () {
      const { claimed, claims, models, place } = yield* start(125)
      expect(yield* place("a")).toMatchObject({ model: "alpha", cold: true })
      expect(claimed).toEqual([100, 125])
      expect(models()).toEqual(["three", "alpha"])
      expect(claims().sort()).toEqual([100, 125])
    })
  )

  it.scoped("is refused with the figures when that was not enough either", () =>
    Effect.gen(function* () {
      const { claimed, claims, place } = yield* start(1_000)
      const error = yield* Effect.flip(place("a"))
      expect(error).toMatchObject({ _tag: "LoadFailed", memory: { needed: 135, claimed: 125, free: 75 } })
      expect(error.message).toContain("it needs at least 135 bytes, 125 were claimed for it, 75 were free besides")
      expect(claimed).toEqual([100, 125])
      expect(claims()).toEqual([100])
    })
  )

  it.scoped("begins again with what is configured, once another load has succeeded", () =>
    Effect.gen(function* () {
      const { claimed, complete, evict, place } = yield* start(125)
      yield* place("a")
      yield* complete("a")
      yield* evict
      yield* place("b")
      expect(claimed).toEqual([100, 125, 100, 125])
    })
  )
})

it.scoped("a claim is raised to what the largest device has, and no further", () =>
  Effect.gen(function* () {
    const large = model("large", { weights: 240 })
    const claimed: Array<number> = []
    const memory = MemoryFleet.make([device(0, 300)], [large], {
      onStart: ({ model }) => {
        claimed.push(model.claimOn("cpu"))
        return new LoadFailed({ model: model.id, reason: "killed", file: null, memory: unknownShortage })
      }
    })
    const handlers = yield* Scheduler.make(defaults).pipe(Effect.provideService(Fleet, memory.fleet))
    yield* handlers.Observe(memory.news())
    const place = handlers.Place({ request: request(0), model: large.id, not: [], timeoutMillis: 1_000 }).value
    expect(yield* Effect.flip(place)).toMatchObject({ _tag: "LoadFailed", memory: { claimed: 300, free: 0 } })
    expect(claimed).toEqual([280, 300])
  })
)
