import { describe, expect, it } from "@effect/vitest"
import { ModelId } from "@helixflow/schema/Ids"
import type { SchedulerEvent } from "@helixflow/schema/Scheduling"
import { Chunk, Deferred, Effect, Exit, Fiber, Scope, Stream, TestClock } from "effect"
import { Fleet } from "../src/Fleet.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import { device, deviceId, model, request } from "./fixtures.ts"
import { alpha, beta, claimsOf, settle, start } from "./startedScheduler.ts"

describe("Place", () => {
  it.scoped("loads a cold model and answers with a slot of its KV cache", () =>
    Effect.gen(function* () {
      const { memory, place } = yield* start([device(0, 150)], [alpha])
      const placement = yield* place(1, alpha)
      expect(placement).toMatchObject({
        request: "request-1",
        replica: "local/cpu:0/alpha#0",
        device: "local/cpu:0",
        reservation: "request-1",
        cold: true
      })
      expect(memory.ledger(deviceId(0)).free).toBe(50)
      const [replica, slot] = [...claimsOf(memory)].sort((a, b) => b.bytes - a.bytes)
      expect(replica).toMatchObject({ bytes: 100, shareable: 40, state: "resident", expiresAt: null })
      expect(slot).toMatchObject({ bytes: 20, owner: "request-1", state: "resident", within: replica?.reservation })
    })
  )

  it.scoped("uses a ready replica at once", () =>
    Effect.gen(function* () {
      const { place } = yield* start([device(0, 150)], [alpha])
      yield* place(1, alpha)
      expect(yield* place(2, alpha)).toMatchObject({ replica: "local/cpu:0/alpha#0", cold: false, queuedMillis: 0 })
    })
  )

  it.scoped("loads once for many who ask at the same time", () =>
    Effect.gen(function* () {
      let starts = 0
      const wide = model("wide", { slots: 8 })
      const { place } = yield* start([device(0, 500)], [wide], {
        onStart: () =>
          Effect.suspend(() => {
            starts += 1
            return Effect.sleep(1000)
          })
      })
      const fibers = yield* Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], (n) => Effect.fork(place(n, wide)))
      yield* settle
      yield* TestClock.adjust(1000)
      const placements = yield* Fiber.join(Fiber.all(fibers))
      expect(starts).toBe(1)
      expect(placements.map(({ queuedMillis }) => queuedMillis)).toEqual(Array(8).fill(1000))
    })
  )

  it.scoped("serves those who wait in the order they came, never more at once than there are slots", () =>
    Effect.gen(function* () {
      const { complete, place, scheduler } = yield* start([device(0, 150)], [alpha])
      yield* place(1, alpha)
      yield* place(2, alpha)
      const order: Array<number> = []
      yield* Effect.forEach([3, 4, 5], (n) =>
        place(n, alpha).pipe(
          Effect.tap(() => Effect.sync(() => order.push(n))),
          Effect.fork,
          Effect.tap(() => settle)
        )
      )
      expect((yield* scheduler.View()).waiting.map(({ request }) => request)).toEqual([
        "request-3",
        "request-4",
        "request-5"
      ])
      yield* complete(2)
      yield* settle
      expect(order).toEqual([3])
      yield* complete(1)
      yield* complete(3)
      yield* settle
      expect(order).toEqual([3, 4, 5])
      expect((yield* scheduler.View()).replicas[0]?.active).toBe(2)
    })
  )

  it.scoped("answers the same request with the place it has", () =>
    Effect.gen(function* () {
      const { memory, place } = yield* start([device(0, 150)], [alpha])
      const first = yield* place(1, alpha)
      const second = yield* place(1, alpha)
      expect(second.replica).toBe(first.replica)
      expect(claimsOf(memory)).toHaveLength(2)
    })
  )

  it.scoped("gives one place to a request that is asked for twice at the same time", () =>
    Effect.gen(function* () {
      const { memory, place } = yield* start([device(0, 150)], [alpha], { onStart: () => Effect.sleep(1000) })
      const both = yield* Effect.fork(Effect.all([place(1, alpha), place(1, alpha)], { concurrency: "unbounded" }))
      yield* settle
      yield* TestClock.adjust(1000)
      yield* Fiber.join(both)
      expect(claimsOf(memory)).toHaveLength(2)
    })
  )

  it.scoped("fails at its deadline with every reason", () =>
    Effect.gen(function* () {
      const { complete, memory, place } = yield* start([device(0, 150)], [alpha])
      yield* place(1, alpha)
      yield* place(2, alpha)
      const waiting = yield* Effect.fork(Effect.flip(place(3, alpha, { timeoutMillis: 700 })))
      yield* settle
      yield* TestClock.adjust(699)
      expect(yield* Fiber.poll(waiting)).toMatchObject({ _tag: "None" })
      yield* TestClock.adjust(1)
      expect(yield* Fiber.join(waiting)).toMatchObject({
        _tag: "QueueTimeout",
        waitedMillis: 700,
        reasons: ["all 2 slots of local/cpu:0/alpha#0 are taken", "only 1 replica may run"]
      })
      yield* complete(1)
      yield* settle
      expect(claimsOf(memory)).toHaveLength(2)
    })
  )

  it.scoped("refuses more than the queue holds", () =>
    Effect.gen(function* () {
      const { place } = yield* start([device(0, 150)], [alpha], { onStart: () => Effect.never }, { queueLimit: 2 })
      yield* Effect.forkScoped(place(1, alpha))
      yield* Effect.forkScoped(place(2, alpha))
      yield* settle
      expect(yield* Effect.flip(place(3, alpha))).toMatchObject({ _tag: "QueueFull", limit: 2, retryAfterSeconds: 1 })
    })
  )

  it.scoped("refuses a model that is not configured and one that no device can ever hold", () =>
    Effect.gen(function* () {
      const huge = model("huge", { weights: 1000 })
      const { place } = yield* start([device(0, 150), device(1, 200)], [alpha, huge])
      expect(yield* Effect.flip(place(1, beta))).toMatchObject({ _tag: "ModelNotFound", model: "beta" })
      const refused = yield* Effect.flip(place(2, huge))
      expect(refused._tag === "NoDeviceFits" && [...refused.reasons].sort()).toEqual([
        "needs 1 KiB, the whole device has 150 B",
        "needs 1 KiB, the whole device has 200 B"
      ])
    })
  )

  it.scoped("knows a model from the moment it is configured", () =>
    Effect.gen(function* () {
      const { memory, place } = yield* start([device(0, 150)], [alpha])
      memory.setModels([alpha, beta])
      expect((yield* place(1, beta)).model).toBe("beta")
    })
  )

  it.scoped("counts slots where a slot takes no memory", () =>
    Effect.gen(function* () {
      const embedding = model("embed", { kvPerToken: 0, slots: 1 })
      const { complete, place } = yield* start([device(0, 150)], [embedding])
      yield* place(1, embedding)
      const second = yield* Effect.fork(place(2, embedding))
      yield* settle
      expect(yield* Fiber.poll(second)).toMatchObject({ _tag: "None" })
      yield* complete(1)
      expect((yield* Fiber.join(second)).replica).toBe("local/cpu:0/embed#0")
    })
  )
})

describe("interrupting a request", () => {
  it.scoped("while it waits takes it out of the queue", () =>
    Effect.gen(function* () {
      const { complete, place, scheduler } = yield* start([device(0, 150)], [alpha])
      yield* place(1, alpha)
      yield* place(2, alpha)
      const waiting = yield* Effect.fork(place(3, alpha))
      yield* settle
      yield* Fiber.interrupt(waiting)
      expect((yield* scheduler.View()).waiting).toEqual([])
      yield* complete(1)
      expect((yield* scheduler.View()).replicas[0]?.active).toBe(1)
    })
  )

  it.scoped("while its device is asked gives the slot and the claim back", () =>
    Effect.gen(function* () {
      for (const message of ["Reserve", "Commit"] as const) {
        let slow = false
        const { memory, place, scheduler } = yield* start([device(0, 150)], [alpha], {
          onMessage: (_, asked) => Effect.suspend(() => (slow && asked === message ? Effect.never : Effect.void))
        })
        yield* place(1, alpha)
        slow = true
        const stuck = yield* Effect.fork(place(2, alpha))
        yield* settle
        yield* Fiber.interrupt(stuck)
        expect(claimsOf(memory)).toHaveLength(2)
        expect((yield* scheduler.View()).replicas[0]?.active).toBe(1)
      }
    })
  )

  it.scoped("does not end a load that others wait for", () =>
    Effect.gen(function* () {
      const { place } = yield* start([device(0, 150)], [alpha], { onStart: () => Effect.sleep(1000) })
      const first = yield* Effect.fork(place(1, alpha))
      const second = yield* Effect.fork(place(2, alpha))
      yield* settle
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust(1000)
      expect((yield* Fiber.join(second)).replica).toBe("local/cpu:0/alpha#0")
    })
  )
})

describe("the end of the scheduler", () => {
  it.scoped("fails those who wait and gives up the load under way", () =>
    Effect.gen(function* () {
      const memory = MemoryFleet.make([device(0, 150)], [alpha], { onStart: () => Effect.never })
      const scope = yield* Scope.make()
      const handlers = yield* Scheduler.make(defaults).pipe(
        Effect.provideService(Fleet, memory.fleet),
        Scope.extend(scope)
      )
      yield* handlers.Observe(memory.news())
      const asked = { request: request(1), model: alpha.id, not: [], timeoutMillis: 1000 }
      const waiting = yield* Effect.fork(Effect.flip(handlers.Place(asked).value))
      yield* settle
      expect(claimsOf(memory)).toHaveLength(1)
      yield* Scope.close(scope, Exit.void)
      expect(yield* Fiber.join(waiting)).toMatchObject({ _tag: "ShuttingDown" })
      expect(claimsOf(memory)).toEqual([])
      expect(yield* Effect.flip(handlers.Place(asked).value)).toMatchObject({ _tag: "ShuttingDown" })
    })
  )
})

describe("Explain", () => {
  it.scoped("says where a model would go and why not elsewhere", () =>
    Effect.gen(function* () {
      const { place, scheduler } = yield* start([device(0, 150), device(1, 40), device(2, 300)], [alpha, beta])
      yield* place(1, beta)
      const explanation = yield* scheduler.Explain({ model: alpha.id })
      expect(explanation).toMatchObject({
        policy: "best-fit",
        decision: "placed",
        chosen: "local/cpu:2",
        waiting: 0,
        summary: "alpha fits on local/cpu:2: needs 100 B, 300 B free"
      })
      expect(explanation.devices).toMatchObject([
        {
          device: "local/cpu:0",
          action: "none",
          score: null,
          reasons: [{ _tag: "InsufficientMemory", needed: 100, free: 50 }],
          waitingHelps: true
        },
        {
          device: "local/cpu:1",
          action: "none",
          reasons: [{ _tag: "LargerThanDevice", needed: 100, total: 40 }],
          waitingHelps: false
        },
        { device: "local/cpu:2", action: "load", score: 200, reasons: [], waitingHelps: true }
      ])
      expect((yield* scheduler.Explain({ model: beta.id })).summary).toBe(
        "beta ready on local/cpu:0: 1 of 2 slots of local/cpu:0/beta#0 taken"
      )
      expect(yield* Effect.flip(scheduler.Explain({ model: ModelId.make("none") }))).toMatchObject({
        _tag: "ModelNotFound"
      })
    })
  )
})

describe("Watch", () => {
  it.scoped("tells what happened, in order", () =>
    Effect.gen(function* () {
      const { complete, place, scheduler } = yield* start([device(0, 150)], [alpha])
      const events = yield* Effect.fork(Stream.runCollect(Stream.take(scheduler.Watch(), 6)))
      yield* settle
      yield* place(1, alpha)
      yield* complete(1)
      const tags = Chunk.toReadonlyArray(yield* Fiber.join(events)).map((event: SchedulerEvent) => event._tag)
      expect(tags).toEqual(["Arrived", "Queued", "LoadStarted", "LoadEnded", "Placed", "Completed"])
    })
  )

  it.scoped("tells who was too slow how many events it has missed", () =>
    Effect.gen(function* () {
      const { place, scheduler } = yield* start([device(0, 150)], [alpha])
      const gate = yield* Deferred.make<void>()
      const seen: Array<SchedulerEvent> = []
      const watching = yield* scheduler.Watch().pipe(
        Stream.takeUntil((event) => event._tag === "Placed"),
        Stream.runForEach((event) => {
          seen.push(event)
          return Deferred.await(gate)
        }),
        Effect.fork
      )
      yield* settle
      const refused = 6_000
      for (let n = 0; n < refused; n++) yield* Effect.flip(place(n, model("none")))
      yield* place("last", alpha)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(watching)
      const lost = seen.reduce((sum, event) => sum + (event._tag === "Lost" ? event.count : 0), 0)
      expect(lost).toBeGreaterThan(0)
      const told = seen.filter(({ _tag }) => _tag !== "Lost").length
      // arrived and rejected; and the last arrived, queued, was loaded for and placed
      expect(told + lost).toBe(2 * refused + 5)
    })
  )
})
