/** A server's sessions on the paced model, and clients that read them. */
import * as SqlClient from "@effect/sql/SqlClient"
import { SessionId } from "@helixflow/schema/Ids"
import type { SessionEvent } from "@helixflow/schema/SessionActor"
import { Chunk, Duration, Effect, Exit, Layer, Logger, Mailbox, Option, Scope, Stream, TestClock } from "effect"
import { Services } from "../src/Services.ts"
import type { Keep } from "../src/SessionStore.ts"
import * as SessionStore from "../src/SessionStore.ts"
import * as Sessions from "../src/Sessions.ts"
import * as PacedModel from "./pacedModel.ts"

const { requestOf } = PacedModel

/** A server on the database at hand. `stop` ends it in order; `die` as a power cut does: nothing is said any more. */
export const server = ({ maxBytes = 2 ** 30, retention = Duration.minutes(10) } = {}) =>
  Effect.gen(function* () {
    const model = yield* PacedModel.make
    const own = yield* Scope.fork(yield* Effect.scope, { _tag: "Sequential" })
    const running = yield* Scope.fork(yield* Effect.scope, { _tag: "Sequential" })
    const services = yield* Layer.buildWithScope(Layer.fresh(Services.layerAlone), running)
    const sessions = yield* Effect.gen(function* () {
      return yield* Sessions.make({ host: model.host, retention, maxBytes, services: yield* Services })
    }).pipe(Effect.provide(services), Scope.extend(own))
    return {
      ...model,
      sessions,
      stop: Scope.close(own, Exit.void),
      die: Effect.zipRight(model.allow(0), Scope.close(running, Exit.void))
    }
  })

export type Server = Effect.Effect.Success<ReturnType<typeof server>>

/** Lets the clock and the database go on. */
export const tick = (duration: Duration.DurationInput) =>
  TestClock.adjust(duration).pipe(
    Effect.zipRight(Effect.promise(() => new Promise(setImmediate))),
    // the database takes real time, so that of the test must not run away from it: what is done at a time takes a few questions
    Effect.zipRight(
      Effect.repeatN(
        Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT 1`),
        3
      )
    )
  )

/** Lets them go on until something is so. */
export const until = <E, R>(isSo: Effect.Effect<boolean, E, R>) =>
  Effect.repeat(Effect.zipRight(tick("100 millis"), isSo), { until: (so) => so })

/** So much time passes, and what it brings about is done. */
export const elapse = (duration: Duration.DurationInput) =>
  Effect.suspend(() => {
    const millis = Duration.toMillis(duration)
    const step = Math.min(1_000, millis / 10)
    return Effect.repeatN(tick(step), Math.ceil(millis / step) - 1)
  })

let names = 0
export const fresh = () => SessionId.make(`session-${++names}`)

export const keepFor = (tenant: string, more: Partial<Keep> = {}): Keep => ({
  tenant,
  answer: "{}",
  detached: false,
  ...more
})
export const mine = keepFor("me")
export const detached = keepFor("me", { detached: true })

export const collect = <E>(events: Mailbox.ReadonlyMailbox<SessionEvent, E>) =>
  Effect.map(Stream.runCollect(Mailbox.toStream(events)), Chunk.toReadonlyArray)

/** A client that reads to the end. */
export const readAll = ({ sessions }: Server, session: SessionId, keep: Keep, request: ReturnType<typeof requestOf>) =>
  Effect.scoped(Effect.flatMap(sessions.start(session, keep, request), collect))

/** A client that hangs up after so many tokens of each choice. */
export const readSome = (
  { allow, sessions }: Server,
  session: SessionId,
  keep: Keep,
  request: ReturnType<typeof requestOf>,
  tokens: number
) =>
  Effect.scoped(
    Effect.gen(function* () {
      yield* allow(tokens)
      const events = yield* sessions.start(session, keep, request)
      const some = yield* Stream.runCollect(Stream.take(Mailbox.toStream(events), 1 + tokens * request.n))
      return Chunk.toReadonlyArray(some)
    })
  )

export const resumeAll = ({ sessions }: Server, session: SessionId, tenant = "me") =>
  Effect.scoped(Effect.flatMap(sessions.resume(session, tenant), ({ events }) => collect(events)))

/** What was said, without the session's name; of several choices each by itself, since they interleave as they may. */
export const said = (events: ReadonlyArray<SessionEvent>) => {
  const choices = new Map<number, string>()
  for (const event of events) {
    if (event._tag === "Delta") choices.set(event.choice, (choices.get(event.choice) ?? "") + event.text)
  }
  const last = events.at(-1)
  return { choices: Object.fromEntries(choices), usage: last?._tag === "Completed" ? { ...last.usage } : null }
}

/** So many tokens of the session are in the database: whoever has it next goes on after them. A server reads what it has itself first. */
export const isWritten = (session: SessionId, tokens: number) =>
  Effect.flatMap(SessionStore.make, ({ load }) => load(session)).pipe(
    Effect.map(
      Option.exists(({ record }) => record.events.slice(0).filter(({ _tag }) => _tag === "Delta").length >= tokens)
    )
  )

export const quiet = Logger.remove(Logger.defaultLogger)
