import { afterAll, describe, expect, it } from "@effect/vitest"
import { anonymous, Caller } from "@helixflow/schema/Caller"
import { Device } from "@helixflow/schema/Device"
import { ActorUnreachable, LoadFailed } from "@helixflow/schema/Errors"
import { type RequestId, ReservationId } from "@helixflow/schema/Ids"
import { partsOf } from "@helixflow/schema/Model"
import type { SchedulerEvent } from "@helixflow/schema/Scheduling"
import { Clock, Deferred, Effect, Exit, Fiber, Random, Ref, Stream, TestClock } from "effect"
import { Fleet } from "../src/Fleet.ts"
import * as Ledger from "../src/Ledger.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import { device, model, request } from "./fixtures.ts"

/**
 * A fleet where everything goes wrong now and then: devices out of reach, slow messages, loads that fail or hang, workers that die
 * and come back, strangers that take memory, clients that leave at any moment. Everything random is drawn from one seed, and time is the test's.
 */
const steps = 120
const devices = [device(0, 220), device(1, 120), device(2, 310)].map((one) => new Device({ ...one, name: "alike" }))
const models = [
  model("a", { replicas: 2, slots: 2 }),
  model("b", { policy: "least-loaded", slots: 1 }),
  model("c", { policy: "round-robin", replicas: 3, slots: 3, weights: 40 }),
  model("d", { policy: "first-fit", kvPerToken: 0, slots: 4, weights: 110 }),
  model("e", { weights: 140, placing: { split: 2 } })
]

const tenants = ["one", "two", "three"].map((tenant) => new Caller({ ...anonymous, tenant }))

const simulate = Effect.fnUntraced(function* (seed: number) {
  const random = Random.make(seed)
  const below = (n: number) => random.nextIntBetween(0, n)
  const chance = (percent: number) => Effect.map(below(100), (drawn) => drawn < percent)
  const calm = yield* Ref.make(false)
  const trouble = (percent: number) =>
    Effect.flatMap(Ref.get(calm), (quiet) => (quiet ? Effect.succeed(false) : chance(percent)))
  const pause = Effect.flatMap(below(40), (millis) => Effect.sleep(millis))

  /** What tells those who have a place that they are preempted. */
  const holders = new Map<RequestId, Deferred.Deferred<void>>()
  const ready = yield* Deferred.make<Scheduler.Handlers>()
  const memory = MemoryFleet.make(devices, models, {
    onMessage: (actor) =>
      Effect.gen(function* () {
        if (yield* trouble(30)) yield* pause
        if (yield* trouble(5)) yield* new ActorUnreachable({ actor, reason: "simulated" })
      }),
    onStart: ({ model }) =>
      Effect.gen(function* () {
        yield* pause
        if (yield* trouble(10)) yield* Effect.never
        if (yield* trouble(15)) yield* new LoadFailed({ model: model.id, reason: "simulated", file: null })
      }),
    onStop: () => pause,
    onPreempt: (_, name) =>
      Effect.gen(function* () {
        if (yield* trouble(30)) yield* pause
        const holder = holders.get(name)
        if (holder === undefined || (yield* trouble(20))) return false
        return yield* Deferred.succeed(holder, undefined)
      }),
    // news is late, and now and then it overtakes older news
    tell: (news) =>
      Effect.zipRight(
        pause,
        Effect.flatMap(Deferred.await(ready), (handlers) => handlers.Observe(news))
      ).pipe(Effect.forkDaemon)
  })
  const options = { ...defaults, loadTimeout: 300, reservationTtl: 2000, backoffCap: 4000, quantum: 60 }
  const scheduler = yield* Scheduler.make(options).pipe(Effect.provideService(Fleet, memory.fleet))
  yield* Deferred.succeed(ready, scheduler)
  yield* scheduler.Observe(memory.news())

  const watched: Array<SchedulerEvent> = []
  yield* Effect.forkScoped(
    Stream.runForEach(scheduler.Watch().value, (event) => Effect.sync(() => watched.push(event)))
  )

  const check = Effect.gen(function* () {
    for (const { id } of devices) {
      const claims = Ledger.claims(memory.ledger(id))
      const top = claims.filter((claim) => claim.within === null)
      expect(top.reduce((sum, claim) => sum + claim.bytes, 0)).toBeLessThanOrEqual(memory.ledger(id).device.total)
      for (const parent of top) {
        const spec = models.find(({ id }) => parent.owner.includes(`/${id}#`))
        const slots = claims.filter((claim) => claim.within === parent.reservation)
        expect(slots.length).toBeLessThanOrEqual(spec?.slots ?? 0)
      }
    }
    // all parts of a replica that is there are claimed, or it is not there
    for (const status of memory.replicas()) {
      const owners = partsOf(status).map(
        ({ device, reservation }) => Ledger.claim(memory.ledger(device), reservation)?.owner
      )
      expect(new Set(owners)).toEqual(new Set([status.replica]))
    }
    for (const replica of (yield* scheduler.View()).replicas) {
      const spec = models.find(({ id }) => id === replica.model)
      expect(replica.active).toBeLessThanOrEqual(spec?.slots ?? 0)
    }
  })

  const late: Array<string> = []
  const client = (n: number) =>
    Effect.gen(function* () {
      const spec = models[yield* below(models.length)]
      if (spec === undefined) return
      const timeoutMillis = 50 + (yield* below(8000))
      const leaves = yield* chance(25)
      const patience = yield* below(1500)
      const holds = yield* below(600)
      const reservation = ReservationId.make(request(n))
      const own = { model: spec.id, not: [], caller: tenants[yield* below(tenants.length)], preemptible: true }
      const place = scheduler.Place({ ...own, request: request(n), timeoutMillis }).value
      const clock = yield* Clock.currentTimeMillis
      const placed = yield* Effect.fork(place)
      if (leaves) {
        yield* Effect.sleep(patience)
        yield* Fiber.interrupt(placed)
        return yield* scheduler.Complete({ reservation })
      }
      const exit = yield* Fiber.await(placed)
      const waited = (yield* Clock.currentTimeMillis) - clock
      // one message to a device may be under way when the deadline comes
      if (waited > timeoutMillis + 200) late.push(`request ${n} waited ${waited} of ${timeoutMillis} ms`)
      if (Exit.isFailure(exit)) return
      let left = holds
      let name = request(n)
      for (;;) {
        const began = yield* Clock.currentTimeMillis
        const preempted = yield* Deferred.make<void>()
        holders.set(name, preempted)
        const isDone = yield* Effect.raceFirst(
          Effect.as(Effect.sleep(left), true),
          Effect.as(Deferred.await(preempted), false)
        )
        holders.delete(name)
        yield* scheduler.Complete({ reservation: ReservationId.make(name), served: { input: 1, output: 1 } })
        if (isDone) return
        left = Math.max(0, left - ((yield* Clock.currentTimeMillis) - began))
        const resumes = name
        name = request(`${n}+${left}`)
        const again = yield* Effect.exit(
          scheduler.Place({ ...own, request: name, timeoutMillis: 1_000_000, resumes }).value
        )
        // a load of its model may have failed everywhere meanwhile
        if (Exit.isFailure(again)) return
      }
    })

  const clients: Array<Fiber.RuntimeFiber<void>> = []
  for (let step = 0; step < steps; step++) {
    if (yield* chance(70)) clients.push(yield* Effect.fork(client(step)))
    if (yield* chance(6)) {
      const replicas = memory.replicas().filter(({ state }) => state === "ready")
      const victim = replicas[yield* below(Math.max(1, replicas.length))]
      if (victim !== undefined) yield* memory.kill(victim.replica, (yield* chance(50)) ? "absent" : "failed")
    }
    if (yield* chance(8)) {
      const at = devices[yield* below(devices.length)]
      if (at !== undefined) yield* memory.crowd(at.id, yield* below(at.total))
    }
    if (yield* chance(5)) {
      for (const { replica, state } of memory.replicas()) if (state === "failed") yield* memory.revive(replica)
    }
    yield* TestClock.adjust(yield* below(60))
    yield* check
  }

  // The trouble ends; whoever waits is answered, and everything is given back.
  yield* Ref.set(calm, true)
  for (const { id, total } of devices) yield* memory.crowd(id, total)
  yield* TestClock.adjust(60_000)
  yield* TestClock.adjust(60_000)
  const unfinished = (yield* Effect.forEach(clients, Fiber.poll)).filter((exit) => exit._tag === "None").length
  const view = yield* scheduler.View()
  const leaked = devices.flatMap(({ id }) => Ledger.claims(memory.ledger(id)).filter((claim) => claim.within !== null))
  const owners = devices.flatMap(({ id }) => Ledger.claims(memory.ledger(id)).map(({ owner }) => owner))
  expect({
    unfinished,
    leaked,
    late,
    waiting: view.waiting,
    active: view.replicas.filter(({ active }) => active > 0),
    loading: view.replicas.filter(({ state }) => state === "loading" || state === "draining"),
    // every claim is a replica that is there
    claimed: owners.sort()
  }).toEqual({
    unfinished: 0,
    leaked: [],
    late: [],
    waiting: [],
    active: [],
    loading: [],
    claimed: memory
      .replicas()
      .flatMap((status) => partsOf(status).map(() => status.replica))
      .sort()
  })

  // It still works: each model can be placed.
  for (const [index, spec] of models.entries()) {
    const place = scheduler.Place({ request: request(`last-${index}`), model: spec.id, not: [], timeoutMillis: 60_000 })
    const placed = yield* Effect.fork(place.value)
    yield* TestClock.adjust(30_000)
    expect(Exit.isSuccess(yield* Fiber.await(placed))).toBe(true)
    yield* scheduler.Complete({ reservation: ReservationId.make(request(`last-${index}`)) })
  }
  return watched
})

let preempted = 0
afterAll(() => expect(preempted).toBeGreaterThan(0))

describe.concurrent("a scheduler in a fleet where everything goes wrong", () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    it.scoped(
      `never over-commits, leaks nothing and answers everybody (seed ${seed})`,
      () =>
        Effect.tap(simulate(seed), (events) => {
          preempted += events.filter(({ _tag }) => _tag === "Preempted").length
        }),
      60_000
    )
  }
})
