import { describe, expect, it } from "@effect/vitest"
import { ReservationId } from "@helixflow/schema/Ids"
import { Deferred, Effect, Fiber, Random, TestClock } from "effect"
import { Fleet } from "../src/Fleet.ts"
import * as Ledger from "../src/Ledger.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { device, model, request } from "./fixtures.ts"

const kills = 1_000
const devices = [device(0, 220), device(1, 330)]
const models = [
  model("a", { replicas: 2 }),
  model("b", { policy: "least-loaded" }),
  model("c", { slots: 4, context: 10 })
]

describe("after 1,000 random kills of workers and clients", () => {
  it.scoped(
    "the ledgers are back at exactly zero",
    () =>
      Effect.gen(function* () {
        const random = Random.make("kills")
        const below = (n: number) => random.nextIntBetween(0, n)
        const ready = yield* Deferred.make<Scheduler.Handlers>()
        const memory = MemoryFleet.make(devices, models, {
          onStart: () => Effect.sleep("20 millis"),
          tell: (news) =>
            Effect.flatMap(Deferred.await(ready), (handlers) => handlers.Observe(news)).pipe(Effect.forkDaemon)
        })
        const scheduler = yield* Scheduler.make().pipe(Effect.provideService(Fleet, memory.fleet))
        yield* Deferred.succeed(ready, scheduler)
        yield* scheduler.Observe(memory.news())

        /** Clients that hold a place until they leave or are killed: then nobody says `Complete` but their finalizer. */
        const clients: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
        let asked = 0
        const client = Effect.gen(function* () {
          const id = request(asked++)
          const spec = models[yield* below(models.length)]
          if (spec === undefined) return
          const place = scheduler.Place({ request: id, model: spec.id, not: [], timeoutMillis: 2_000 }).value
          yield* Effect.acquireUseRelease(
            Effect.interruptible(place),
            () => Effect.sleep("300 millis"),
            () => scheduler.Complete({ reservation: ReservationId.make(id) })
          ).pipe(
            Effect.onInterrupt(() => scheduler.Complete({ reservation: ReservationId.make(id) })),
            Effect.ignore
          )
        })

        let workersKilled = 0
        let clientsKilled = 0
        while (workersKilled + clientsKilled < kills) {
          while (clients.length < 12) clients.push(yield* Effect.fork(client))
          yield* TestClock.adjust(yield* below(40))
          for (const { replica, state } of memory.replicas()) {
            if (state === "failed" && (yield* below(3)) === 0) yield* memory.revive(replica)
          }
          for (let killed = yield* below(4); killed > 0 && clients.length > 0; killed--) {
            const [victim] = clients.splice(yield* below(clients.length), 1)
            if (victim === undefined) continue
            yield* Fiber.interrupt(victim)
            clientsKilled += 1
          }
          const replicas = memory.replicas().filter(({ state }) => state === "ready")
          const replica = replicas[yield* below(Math.max(1, replicas.length))]
          if (replica !== undefined) {
            yield* memory.kill(replica.replica, (yield* below(2)) === 0 ? "absent" : "failed")
            workersKilled += 1
          }
        }
        expect(workersKilled).toBeGreaterThan(100)

        yield* Effect.forEach(clients, Fiber.interrupt)
        yield* TestClock.adjust("1 minute")
        // what a failed one says next counts as its successor's first word: let it come back, then end all
        for (const { replica } of memory.replicas()) yield* memory.revive(replica)
        yield* TestClock.adjust("1 second")
        for (const { replica } of memory.replicas()) yield* memory.kill(replica, "absent")
        yield* TestClock.adjust("1 minute")
        for (const { id, total } of devices) {
          const { charged, free, pending } = memory.ledger(id)
          expect({ charged, pending, free, claims: Ledger.claims(memory.ledger(id)) }).toEqual({
            charged: 0,
            pending: 0,
            free: total,
            claims: []
          })
        }
        const view = yield* scheduler.View()
        expect([view.replicas, view.waiting]).toEqual([[], []])
      }),
    60_000
  )
})
