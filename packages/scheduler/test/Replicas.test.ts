/** What becomes of replicas, loads and devices while requests wait for them: the actor over a fleet in memory. */
import { describe, expect, it } from "@effect/vitest"
import { ActorUnreachable, LoadFailed } from "@helixflow/schema/Errors"
import { ReservationId } from "@helixflow/schema/Ids"
import { ReplicaStatus } from "@helixflow/schema/Model"
import { Effect, Exit, Fiber, Scope, TestClock } from "effect"
import { Fleet } from "../src/Fleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import { device, deviceId, model } from "./fixtures.ts"
import { alpha, beta, claimsOf, settle, start } from "./startedScheduler.ts"

describe("replicas", () => {
  it.scoped("another is loaded when the slots of the first are taken and it fits elsewhere", () =>
    Effect.gen(function* () {
      const twice = model("twice", { slots: 1, replicas: 2 })
      const { place } = yield* start([device(0, 150), device(1, 150)], [twice])
      expect((yield* place(1, twice)).device).toBe("local/cpu:0")
      expect((yield* place(2, twice)).device).toBe("local/cpu:1")
      const error = yield* Effect.fork(Effect.flip(place(3, twice, { timeoutMillis: 10 })))
      yield* settle
      yield* TestClock.adjust(10)
      expect(yield* Fiber.join(error)).toMatchObject({ _tag: "QueueTimeout" })
    })
  )

  it.scoped(
    "that are idle leave for a model that does not fit, those that are worth least and no more than needed",
    () =>
      Effect.gen(function* () {
        const gamma = model("gamma")
        const { complete, memory, place } = yield* start([device(0, 250)], [alpha, beta, gamma])
        yield* place(1, alpha)
        yield* TestClock.adjust(10)
        yield* place(2, beta)
        yield* TestClock.adjust(10)
        yield* complete(2)
        yield* TestClock.adjust(10)
        yield* complete(1)
        expect((yield* place(3, gamma)).replica).toBe("local/cpu:0/gamma#0")
        expect(memory.replicas().map(({ model }) => model)).toEqual(["alpha", "gamma"])
        expect(memory.ledger(deviceId(0)).free).toBe(50)
      })
  )

  it.scoped("that are busy make room for a model that has waited long enough, after finishing what they do", () =>
    Effect.gen(function* () {
      const { complete, memory, place } = yield* start([device(0, 150)], [alpha, beta])
      yield* place(1, alpha)
      const other = yield* Effect.fork(place(2, beta))
      yield* settle
      yield* TestClock.adjust(defaults.patience - 1)
      yield* place(3, alpha)
      yield* TestClock.adjust(1)
      const late = yield* Effect.fork(place(4, alpha))
      yield* settle
      expect(yield* Fiber.poll(late)).toMatchObject({ _tag: "None" })
      yield* complete(3)
      yield* settle
      expect(memory.replicas().map(({ model }) => model)).toEqual(["alpha"])
      yield* complete(1)
      expect((yield* Fiber.join(other)).replica).toBe("local/cpu:0/beta#0")
      expect(yield* Fiber.poll(late)).toMatchObject({ _tag: "None" })
      yield* complete(2)
      // it stays for as long as it took to load it, a millisecond at least
      yield* settle
      expect(yield* Fiber.poll(late)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust(1)
      expect((yield* Fiber.join(late)).replica).toBe("local/cpu:0/alpha#0")
    })
  )

  it.scoped("that were there before the scheduler are used, with the slots that are taken", () =>
    Effect.gen(function* () {
      const first = yield* Scope.make()
      const { memory, place } = yield* start([device(0, 150)], [alpha]).pipe(Scope.extend(first))
      yield* place(1, alpha)
      yield* Scope.close(first, Exit.void)
      const handlers = yield* Scheduler.make(defaults).pipe(Effect.provideService(Fleet, memory.fleet))
      yield* handlers.Observe(memory.news())
      expect((yield* handlers.View()).replicas).toMatchObject([{ state: "ready", active: 1 }])
      yield* handlers.Complete({ reservation: ReservationId.make("request-1") })
      expect((yield* handlers.View()).replicas).toMatchObject([{ state: "ready", active: 0 }])
      expect(claimsOf(memory)).toHaveLength(1)
    })
  )

  it.scoped("that die lose their placements, and are used again once they are back", () =>
    Effect.gen(function* () {
      const { memory, place, scheduler } = yield* start([device(0, 150)], [alpha])
      const { replica } = yield* place(1, alpha)
      yield* place(2, alpha)
      yield* memory.kill(replica, "failed")
      yield* settle
      expect(claimsOf(memory)).toHaveLength(1)
      const again = yield* Effect.fork(place(3, alpha, { not: [replica] }))
      yield* settle
      expect(yield* Fiber.poll(again)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust(100)
      yield* memory.revive(replica)
      expect((yield* Fiber.join(again)).replica).toBe(replica)
      expect((yield* scheduler.View()).replicas).toMatchObject([{ state: "ready", active: 1 }])
    })
  )

  it.scoped("that die while a device is asked for a slot of theirs leave no claim behind", () =>
    Effect.gen(function* () {
      let slow = false
      const { memory, place } = yield* start([device(0, 150)], [alpha], {
        onMessage: (_, message) =>
          Effect.suspend(() => (slow && message === "Reserve" ? Effect.sleep(100) : Effect.void))
      })
      const { replica } = yield* place(1, alpha)
      slow = true
      yield* Effect.forkScoped(place(2, alpha))
      yield* settle
      yield* memory.kill(replica, "failed")
      yield* TestClock.adjust(100)
      expect(claimsOf(memory).map(({ owner }) => owner)).toEqual([replica])
    })
  )

  it.scoped("that are gone for good are replaced", () =>
    Effect.gen(function* () {
      const { memory, place } = yield* start([device(0, 150)], [alpha])
      const { replica } = yield* place(1, alpha)
      yield* memory.kill(replica, "absent")
      yield* settle
      expect(yield* place(2, alpha, { not: [replica] })).toMatchObject({ replica: "local/cpu:0/alpha#0" })
      expect(memory.ledger(deviceId(0)).free).toBe(50)
      expect(claimsOf(memory)).toHaveLength(2)
    })
  )

  it.scoped("that stay failed are replaced after a while", () =>
    Effect.gen(function* () {
      const { memory, place } = yield* start([device(0, 150)], [alpha])
      const { replica } = yield* place(1, alpha)
      yield* memory.kill(replica, "failed")
      const again = yield* Effect.fork(place(2, alpha))
      yield* settle
      yield* TestClock.adjust(defaults.failedGrace)
      expect((yield* Fiber.join(again)).model).toBe("alpha")
      expect(memory.replicas()).toHaveLength(1)
      expect(claimsOf(memory)).toHaveLength(2)
    })
  )

  it.scoped("that failed keep their claim while they are restarted, though their successor begins as absent", () =>
    Effect.gen(function* () {
      const { memory, place, scheduler } = yield* start([device(0, 150)], [alpha])
      const { replica } = yield* place(1, alpha)
      yield* memory.kill(replica, "failed")
      const failed = memory.replicas()
      yield* scheduler.Observe({
        devices: [],
        replicas: failed.map((status) => new ReplicaStatus({ ...status, state: "absent" }))
      })
      const again = yield* Effect.fork(place(2, alpha))
      yield* settle
      expect(yield* Fiber.poll(again)).toMatchObject({ _tag: "None" })
      expect((yield* scheduler.View()).replicas).toMatchObject([{ replica, state: "failed" }])
      yield* memory.revive(replica)
      expect((yield* Fiber.join(again)).replica).toBe(replica)
      expect(claimsOf(memory)).toHaveLength(2)
    })
  )

  it.scoped("that stay failed make room for another model", () =>
    Effect.gen(function* () {
      const { memory, place } = yield* start([device(0, 150)], [alpha, beta])
      const { replica } = yield* place(1, alpha)
      yield* memory.kill(replica, "failed")
      const other = yield* Effect.fork(place(2, beta))
      yield* settle
      yield* TestClock.adjust(defaults.failedGrace)
      expect((yield* Fiber.join(other)).model).toBe("beta")
      expect(memory.replicas().map(({ model }) => model)).toEqual(["beta"])
    })
  )

  it.scoped("that a request blames are avoided while there is another", () =>
    Effect.gen(function* () {
      const twice = model("twice", { replicas: 2, policy: "first-fit", slots: 1 })
      const { complete, place } = yield* start([device(0, 150), device(1, 150)], [twice])
      const first = yield* place(1, twice)
      yield* place(2, twice)
      yield* complete(1)
      yield* complete(2)
      yield* TestClock.adjust(1)
      expect((yield* place(3, twice, { not: [first.replica] })).device).toBe("local/cpu:1")
    })
  )
})

describe("a load that fails", () => {
  const broken = (reason: string) => new LoadFailed({ model: "alpha", reason, file: null })

  it.scoped("fails all who wait for it, leaves nothing behind and is not tried again at once", () =>
    Effect.gen(function* () {
      let starts = 0
      let works = false
      const { memory, place } = yield* start([device(0, 150)], [alpha, beta], {
        onStart: () => Effect.suspend(() => (works ? Effect.void : Effect.fail(broken(`no weights ${++starts}`))))
      })
      const both = yield* Effect.all([Effect.flip(place(1, alpha)), Effect.flip(place(2, alpha))], {
        concurrency: "unbounded"
      })
      expect(both).toMatchObject([
        { _tag: "LoadFailed", reason: "no weights 1" },
        { _tag: "LoadFailed", reason: "no weights 1" }
      ])
      expect(claimsOf(memory)).toEqual([])
      const third = yield* Effect.fork(place(3, alpha))
      yield* settle
      expect(starts).toBe(1)
      works = true
      yield* TestClock.adjust(defaults.backoffBase)
      expect((yield* Fiber.join(third)).model).toBe("alpha")
    })
  )

  it.scoped("is told at once to a request that could not wait for the next try", () =>
    Effect.gen(function* () {
      const { place } = yield* start([device(0, 150)], [alpha], { onStart: () => Effect.fail(broken("no weights")) })
      yield* Effect.flip(place(1, alpha))
      expect(yield* Effect.flip(place(2, alpha, { timeoutMillis: 500 }))).toMatchObject({ _tag: "LoadFailed" })
    })
  )

  it.scoped("is tried on another device first", () =>
    Effect.gen(function* () {
      const { memory, place } = yield* start([device(0, 150), device(1, 160)], [alpha], {
        onStart: (start) => (start.device === deviceId(0) ? Effect.fail(broken("bad device")) : Effect.void)
      })
      expect((yield* place(1, alpha)).device).toBe("local/cpu:1")
      expect(memory.ledger(deviceId(0)).free).toBe(150)
    })
  )

  it.scoped("ends when it takes too long", () =>
    Effect.gen(function* () {
      const { memory, place } = yield* start(
        [device(0, 150)],
        [alpha],
        { onStart: () => Effect.never },
        { loadTimeout: 100 }
      )
      const waiting = yield* Effect.fork(Effect.flip(place(1, alpha)))
      yield* settle
      yield* TestClock.adjust(100)
      expect(yield* Fiber.join(waiting)).toMatchObject({ _tag: "LoadFailed", reason: "it was not ready after 100ms" })
      expect(claimsOf(memory)).toEqual([])
    })
  )

  it.scoped("because its code is wrong is a failed load too, not the end of the scheduler", () =>
    Effect.gen(function* () {
      const { place } = yield* start([device(0, 150)], [alpha, beta], {
        onStart: ({ model }) => (model.id === alpha.id ? Effect.die(new Error("a bug")) : Effect.void)
      })
      expect(yield* Effect.flip(place(1, alpha))).toMatchObject({ _tag: "LoadFailed" })
      expect((yield* place(2, beta)).model).toBe("beta")
    })
  )
})

describe("a device that refuses or cannot be reached", () => {
  it.scoped("had less memory than believed: the model waits until there is room", () =>
    Effect.gen(function* () {
      const { memory, place } = yield* start([device(0, 150)], [alpha], { tell: () => Effect.void })
      const thief = ReservationId.make("thief")
      const stolen = {
        reservation: thief,
        owner: "x",
        shareable: alpha.slotBytesOn("cpu"),
        within: null,
        ttlMillis: 1000
      }
      yield* memory.fleet.reserve(deviceId(0), { ...stolen, bytes: alpha.claimOn("cpu") })
      const waiting = yield* Effect.fork(Effect.flip(place(1, alpha, { timeoutMillis: 100 })))
      yield* settle
      yield* TestClock.adjust(100)
      expect(yield* Fiber.join(waiting)).toMatchObject({
        _tag: "QueueTimeout",
        reasons: ["needs 100 B, 50 B free"]
      })
    })
  )

  it.scoped("passes its replica over for a while, and gives back what it may have taken", () =>
    Effect.gen(function* () {
      let reachable = true
      const { memory, place } = yield* start([device(0, 150)], [alpha], {
        onMessage: (device, message) =>
          Effect.suspend(() =>
            reachable || message !== "Commit"
              ? Effect.void
              : Effect.fail(new ActorUnreachable({ actor: device, reason: "test" }))
          )
      })
      yield* place(1, alpha)
      reachable = false
      const second = yield* Effect.fork(place(2, alpha))
      yield* settle
      expect(claimsOf(memory)).toHaveLength(2)
      reachable = true
      yield* TestClock.adjust(defaults.hold)
      expect((yield* Fiber.join(second)).queuedMillis).toBe(defaults.hold)
    })
  )

  it.scoped("is told of a release as soon as it can be", () =>
    Effect.gen(function* () {
      let reachable = true
      const { complete, memory, place } = yield* start([device(0, 150)], [alpha], {
        onMessage: (device) =>
          Effect.suspend(() =>
            reachable ? Effect.void : Effect.fail(new ActorUnreachable({ actor: device, reason: "test" }))
          )
      })
      yield* place(1, alpha)
      reachable = false
      yield* complete(1)
      yield* TestClock.adjust(10_000)
      expect(claimsOf(memory)).toHaveLength(2)
      reachable = true
      yield* TestClock.adjust(10_000)
      expect(claimsOf(memory)).toHaveLength(1)
    })
  )
})
