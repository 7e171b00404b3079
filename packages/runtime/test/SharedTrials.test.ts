import { describe, expect, it } from "@effect/vitest"
import { RequestQuarantined, WorkerLost } from "@helixflow/schema/Errors"
import { ModelId, makeReplicaId, ReservationId, SessionId } from "@helixflow/schema/Ids"
import { Placement } from "@helixflow/schema/Scheduling"
import { Deferred, Effect, Exit, Fiber, Logger, LogLevel, Option, Stream } from "effect"
import * as Attempts from "../src/Attempts.ts"
import { Conversations } from "../src/Conversations.ts"
import * as Quarantine from "../src/Quarantine.ts"
import { SharedTrials } from "../src/SharedTrials.ts"
import { device, spec as model } from "./smallModel.ts"

const replica = makeReplicaId(device.id, model.id, 0)

describe("those who are in a worker", () => {
  it.effect("have had company if anybody else was there at any moment of theirs", () =>
    Effect.gen(function* () {
      const trials = new SharedTrials()
      const leave = yield* Deferred.make<void>()
      const longer = yield* Effect.fork(trials.stay(replica, (stay) => Effect.as(Deferred.await(leave), stay)))
      yield* Effect.yieldNow()
      const { accompanied } = yield* trials.stay(replica, Effect.succeed)
      expect(accompanied).toBe(true)
      const elsewhere = makeReplicaId(device.id, model.id, 1)
      expect(yield* trials.stay(elsewhere, Effect.succeed)).toEqual({ accompanied: false })
      yield* Deferred.succeed(leave, undefined)
      expect(yield* Fiber.join(longer)).toEqual({ accompanied: true })
      expect(yield* trials.stay(replica, Effect.succeed)).toEqual({ accompanied: false })
    })
  )
})

describe("a line of suspects", () => {
  it.effect("keeps others out from when it is closed until it is empty", () =>
    Effect.gen(function* () {
      const trials = new SharedTrials()
      const [first, second] = [trials.placeInLine(model.id), trials.placeInLine(model.id)]
      // closes nothing: it is not in the line
      first.close()
      expect(trials.isClosed(model.id)).toBe(false)
      first.take()
      second.take()
      expect(trials.isClosed(model.id)).toBe(false)
      yield* trials.opened(model.id)
      first.close()
      expect(trials.isClosed(model.id)).toBe(true)
      expect(trials.isClosed(ModelId.make("another"))).toBe(false)
      const other = yield* Effect.fork(trials.opened(model.id))
      first.leave()
      first.leave()
      yield* Effect.yieldNow()
      expect(Option.isNone(yield* Fiber.poll(other))).toBe(true)
      second.leave()
      yield* Fiber.join(other)
      expect(trials.isClosed(model.id)).toBe(false)
    })
  )
})

const unasked = () => Effect.dieMessage("nobody asks this here")

/** Work in the one worker that there is, where there is no room for another. */
const world = () => {
  const trials = new SharedTrials()
  const turn = Effect.unsafeMakeSemaphore(1)
  const quarantine = Quarantine.make({ millis: 60_000, entries: 10 })
  const present = new Set<Deferred.Deferred<void, WorkerLost>>()
  const crash = Effect.suspend(() => {
    const error = new WorkerLost({ replica, reason: "killed by SIGABRT", crashed: true })
    return Effect.forEach([...present], (one) => Deferred.fail(one, error), { discard: true })
  }).pipe(Effect.zipRight(Effect.never))
  /** Runs work whose n-th time in the worker is `times(n)`; it waits with its n-th place for `places(n)`. */
  const run = (name: string, times: (n: number) => Effect.Effect<void>, places: (n: number) => Effect.Effect<void>) => {
    let asked = 0
    let entered = 0
    const withReplica = Attempts.make({
      session: SessionId.make(name),
      scheduler: Effect.succeed({
        Place: ({ request }) =>
          Effect.as(
            Effect.suspend(() => places(asked++)),
            Placement.make({
              request,
              model: model.id,
              replica,
              device: device.id,
              reservation: ReservationId.make(request),
              cold: false,
              queuedMillis: 0
            })
          ),
        Complete: () => Effect.void,
        Progress: () => Stream.empty,
        Evict: unasked,
        Observe: unasked,
        Explain: unasked,
        View: unasked,
        Watch: () => Stream.die("nobody asks this here")
      }),
      replica: () => Effect.succeed(unaskedReplica),
      continuation: { attempts: 10, millis: 60_000, totalMillis: 60_000 },
      isolation: {
        alone: (_, use) => turn.withPermits(1)(use(Option.none())),
        trials,
        crashedOn: () => undefined,
        cells: Effect.succeed([])
      },
      quarantine,
      conversations: new Conversations()
    })
    return withReplica({
      model,
      name: "0",
      wait: { timeoutMillis: 60_000, caller: undefined },
      reached: () => 0,
      preemptible: false,
      subject: () => ({ name }),
      use: () =>
        Effect.gen(function* () {
          const lost = yield* Deferred.make<void, WorkerLost>()
          yield* Effect.acquireRelease(
            Effect.sync(() => present.add(lost)),
            () => Effect.sync(() => present.delete(lost))
          )
          yield* Effect.raceFirst(Deferred.await(lost), times(entered++))
        })
    })
  }
  return { run, crash, company: Effect.repeat(Effect.yieldNow(), { until: () => present.size > 1 }) }
}

const unaskedReplica = {
  Load: unasked,
  Tokenize: unasked,
  Detokenize: unasked,
  Generate: () => Stream.die("nobody asks this here"),
  Embed: unasked,
  Classify: unasked,
  Preempt: unasked,
  Drain: unasked,
  Unload: unasked,
  Status: unasked,
  Watch: () => Stream.die("nobody asks this here")
}

describe("a suspect that is tried in a shared worker", () => {
  it.live("is not to blame for what another kills that came at that very moment", () =>
    Effect.gen(function* () {
      const { company, crash, run } = world()
      const tried = yield* Deferred.make<void>()
      const atOnce = () => Effect.void
      // twice in a worker that its company kills, then tried, and killed by who had asked for a place before
      const innocent = run(
        "innocent",
        (n) =>
          n < 2
            ? Effect.never
            : n === 2
              ? Effect.zipRight(Deferred.succeed(tried, undefined), Effect.never)
              : Effect.void,
        atOnce
      )
      const killer = run("killer", (n) => Effect.zipRight(n < 2 ? company : Effect.void, crash), atOnce)
      const late = run(
        "late killer",
        (n) => Effect.zipRight(n < 1 ? company : Effect.void, crash),
        (n) => (n === 0 ? Deferred.await(tried) : Effect.void)
      )
      const ends = yield* Effect.all([Effect.exit(innocent), Effect.exit(killer), Effect.exit(late)], {
        concurrency: "unbounded"
      })
      expect(ends).toEqual([
        Exit.void,
        Exit.fail(new RequestQuarantined({ retryAfterSeconds: 60 })),
        Exit.fail(new RequestQuarantined({ retryAfterSeconds: 60 }))
      ])
    }).pipe(Logger.withMinimumLogLevel(LogLevel.None))
  )
})
