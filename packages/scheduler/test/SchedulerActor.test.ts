import { RpcTest } from "@effect/rpc"
import { describe, expect, it } from "@effect/vitest"
import type { Device } from "@helixflow/schema/Device"
import { ActorUnreachable, LoadFailed } from "@helixflow/schema/Errors"
import { ModelId, type ReplicaId, ReservationId } from "@helixflow/schema/Ids"
import { MailboxLimit } from "@helixflow/schema/MailboxLimit"
import { type ModelSpec, ReplicaStatus } from "@helixflow/schema/Model"
import { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import type { SchedulerEvent } from "@helixflow/schema/Scheduling"
import { Chunk, Deferred, Effect, Exit, Fiber, Layer, Scope, Stream, TestClock } from "effect"
import { Fleet } from "../src/Fleet.ts"
import * as Ledger from "../src/Ledger.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults, type SchedulerOptions } from "../src/SchedulerOptions.ts"
import { device, deviceId, model, request } from "./fixtures.ts"

const openMailbox = Layer.succeed(
  MailboxLimit,
  MailboxLimit.of(({ next }) => next)
)

/** A scheduler over a fleet in memory that has told it of its devices, and tells it of every change. */
const start = Effect.fnUntraced(function* (
  devices: ReadonlyArray<Device>,
  models: ReadonlyArray<ModelSpec>,
  fleetOptions: MemoryFleet.MemoryFleetOptions = {},
  options: Partial<SchedulerOptions> = {}
) {
  const ready = yield* Deferred.make<Scheduler.Handlers>()
  const memory = MemoryFleet.make(devices, models, {
    tell: (news) => Effect.flatMap(Deferred.await(ready), (handlers) => handlers.Observe(news)),
    ...fleetOptions
  })
  const handlers = yield* Scheduler.make({ ...defaults, ...options }).pipe(Effect.provideService(Fleet, memory.fleet))
  yield* Deferred.succeed(ready, handlers)
  const context = yield* Layer.build(Layer.merge(SchedulerActor.toLayer(Effect.succeed(handlers)), openMailbox))
  const scheduler = yield* RpcTest.makeClient(SchedulerActor).pipe(Effect.provide(context))
  yield* scheduler.Observe(memory.news())
  const place = (
    name: string | number,
    of: ModelSpec,
    more: { readonly not?: ReadonlyArray<ReplicaId>; readonly timeoutMillis?: number } = {}
  ) =>
    scheduler.Place({
      request: request(name),
      model: of.id,
      not: more.not ?? [],
      timeoutMillis: more.timeoutMillis ?? 60_000
    })
  const complete = (name: string | number) => scheduler.Complete({ reservation: ReservationId.make(request(name)) })
  return { scheduler, memory, place, complete }
})

/** Lets fibers run as far as they can without time. */
const settle = TestClock.adjust(0)

const claimsOf = (memory: MemoryFleet.MemoryFleet, index = 0) => Ledger.claims(memory.ledger(deviceId(index)))

const alpha = model("alpha")
const beta = model("beta")

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
      const stolen = { reservation: thief, owner: "x", shareable: alpha.slotBytes, within: null, ttlMillis: 1000 }
      yield* memory.fleet.reserve(deviceId(0), { ...stolen, bytes: alpha.claim })
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
