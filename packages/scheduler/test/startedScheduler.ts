/** The scheduler's actor as its callers have it, over a fleet in memory. */
import { RpcTest } from "@effect/rpc"
import type { Device } from "@helixflow/schema/Device"
import { type ReplicaId, ReservationId } from "@helixflow/schema/Ids"
import { MailboxLimit } from "@helixflow/schema/MailboxLimit"
import type { ModelSpec } from "@helixflow/schema/Model"
import { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import { Deferred, Effect, Layer, TestClock } from "effect"
import { Fleet } from "../src/Fleet.ts"
import * as Ledger from "../src/Ledger.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults, type SchedulerOptions } from "../src/SchedulerOptions.ts"
import { deviceId, model, request } from "./fixtures.ts"

const openMailbox = Layer.succeed(
  MailboxLimit,
  MailboxLimit.of(({ next }) => next)
)

/** A scheduler over a fleet in memory that has told it of its devices, and tells it of every change. */
export const start = Effect.fnUntraced(function* (
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
export const settle = TestClock.adjust(0)

export const claimsOf = (memory: MemoryFleet.MemoryFleet, index = 0) => Ledger.claims(memory.ledger(deviceId(index)))

export const alpha = model("alpha")
export const beta = model("beta")
