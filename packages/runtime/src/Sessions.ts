/**
 * The sessions that clients may come back to. Each is an actor while somebody listens or it generates, and otherwise rows of the
 * database:
 *
 *     start ──> live ── unheard and written ──> passive (database only) ── retention over ──> gone
 *                ^                                  │
 *                └──────────── resume ──────────────┘
 *
 * What is said is written behind (`SessionWriter.ts`). A server that is killed loses a tick's tokens, and a session that is resumed
 * computes them again, the same.
 * Detached sessions are finished whether anybody comes back or not: see `SessionLeases.ts`.
 */
import type { SqlError } from "@effect/sql/SqlError"
import { SessionNotFound, type StorageUnavailable } from "@helixflow/schema/Errors"
import type { GenerationRequest } from "@helixflow/schema/Generation"
import type { SessionId } from "@helixflow/schema/Ids"
import type { SessionActor, SessionError, SessionEvent } from "@helixflow/schema/SessionActor"
import { Duration, Effect, ExecutionStrategy, Exit, type Mailbox, Option, PubSub, Schedule, Scope } from "effect"
import type { ClientOf } from "./Actor.ts"
import { goesOn, keptOf, type LiveSession, type SessionNews, stateOf } from "./LiveSession.ts"
import type { ServicesShape } from "./Services.ts"
import type { WhenUnheard } from "./SessionActor.ts"
import * as SessionLeases from "./SessionLeases.ts"
import * as SessionRecord from "./SessionRecord.ts"
import * as SessionStore from "./SessionStore.ts"
import * as SessionWriter from "./SessionWriter.ts"
import * as StreamMailbox from "./StreamMailbox.ts"

export interface HostedSession {
  readonly record: SessionRecord.SessionRecord
  readonly changed: () => void
  readonly whenUnheard: WhenUnheard
}

export interface SessionsOptions {
  /** Starts the actor of a session in the current scope. */
  readonly host: (
    session: SessionId,
    options: HostedSession
  ) => Effect.Effect<ClientOf<typeof SessionActor>, never, Scope.Scope>
  /** How long a session is kept after it was last changed. */
  readonly retention: Duration.Duration
  /** Most bytes of prompts and answers in the database. */
  readonly maxBytes: number
  readonly services: ServicesShape
}

type Events = Mailbox.ReadonlyMailbox<SessionEvent, SessionError>

export interface ResumedSession {
  readonly keep: SessionStore.Keep
  /** All from the first. */
  readonly events: Events
  /** How many of them are as they were, the others being computed again; null: all are. */
  readonly certain: number | null
  readonly record: SessionRecord.SessionRecord
  /** Whether it had ended before. */
  readonly ended: boolean
}

/** How often the database is rid of what has expired. */
const sweepEvery = Duration.seconds(30)

export const make = Effect.fnUntraced(function* ({ host, maxBytes, retention, services }: SessionsOptions) {
  const store = yield* SessionStore.make
  const actors = yield* Scope.make()
  const live = new Map<SessionId, LiveSession>()
  const opening = yield* Effect.makeSemaphore(1)
  /** Who does not keep up misses the oldest. */
  const news = yield* PubSub.sliding<SessionNews>(1_024)
  let closing = false

  const changed = (session: LiveSession) => {
    // one that has not begun has nothing to come back to
    if (closing || session.record.prompt.length === 0) return
    writer.note(session)
    const state = stateOf(session.record)
    if (session.told === state) return
    session.told = state
    const { keep, record } = session
    news.unsafeOffer({ session: session.session, tenant: keep.tenant, model: record.request?.model ?? "", state })
  }

  const open = Effect.fnUntraced(function* (
    session: SessionId,
    keep: SessionStore.Keep,
    record: SessionRecord.SessionRecord,
    stored: number | null
  ) {
    const scope = yield* Scope.fork(actors, ExecutionStrategy.sequential)
    const certain = stored === null || record.exit !== null ? null : stored
    const seen = record.events.length
    const client = yield* Scope.extend(
      host(session, {
        record,
        changed: () => changed(opened),
        whenUnheard: keep.detached ? "continue" : "rest"
      }),
      scope
    )
    const { revision } = record
    const told = stored === null ? null : stateOf(record)
    const life = { seen, stored, revision, describedAt: 0, undescribed: 0, told, readers: 0, asked: false }
    const opened: LiveSession = { session, keep, record, certain, scope, client, ...life }
    live.set(session, opened)
    return opened
  })

  /** Leaves a session to the database when nothing is left to do for it here. */
  const passivate = (session: LiveSession): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (session.readers > 0 || goesOn(session) || writer.owes(session)) return Effect.void
      if (live.get(session.session) === session) live.delete(session.session)
      return Scope.close(session.scope, Exit.void)
    })

  /** Counts a reader for as long as the scope lives. */
  const attend = (session: LiveSession) =>
    Effect.flatMap(Effect.scope, (scope) => {
      session.readers++
      return Scope.addFinalizer(
        scope,
        Effect.suspend(() => {
          session.readers--
          return passivate(session)
        })
      )
    })

  const leases = yield* SessionLeases.make({
    store,
    held: () => [...live.values()].filter((one) => one.stored !== null && goesOn(one)).map(({ session }) => session),
    finish: (session) =>
      findWhere(session, () => true).pipe(
        Effect.flatMap(goOn),
        Effect.flatMap((events) => Effect.ignore(StreamMailbox.forEachBatch(events, () => Effect.void))),
        Effect.scoped
      )
  })

  const writer = yield* SessionWriter.make({ store, lease: leases.lease, retention, written: passivate })

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      // what is cut off now is not cancelled: it goes on when its client comes back to the next server
      closing = true
      return writer.write.pipe(
        Effect.zipRight(leases.release),
        Effect.ignoreLogged,
        Effect.zipRight(Scope.close(actors, Exit.void))
      )
    })
  )

  const restore = Effect.fnUntraced(function* (session: SessionId) {
    const stored = yield* store.load(session)
    return yield* opening.withPermits(1)(
      Effect.suspend((): Effect.Effect<LiveSession, SessionNotFound> => {
        const meanwhile = live.get(session)
        if (meanwhile !== undefined) return Effect.succeed(meanwhile)
        if (Option.isNone(stored)) return Effect.fail(new SessionNotFound({ session }))
        const { keep, record } = stored.value
        return open(session, keep, record, record.events.length)
      })
    )
  })

  /** The session, if it may be found. Attended as long as the scope lives. */
  const findWhere = (
    session: SessionId,
    isAllowed: (session: LiveSession) => boolean
  ): Effect.Effect<LiveSession, SessionNotFound | StorageUnavailable, Scope.Scope> =>
    Effect.suspend(() => {
      const present = live.get(session)
      return present === undefined ? restore(session) : Effect.succeed(present)
    }).pipe(
      Effect.filterOrElse(isAllowed, (found) => Effect.zipRight(passivate(found), new SessionNotFound({ session }))),
      Effect.tap(attend),
      Effect.uninterruptible
    )

  /** Of other tenants' sessions there is not even a trace. */
  const find = (session: SessionId, tenant: string) => findWhere(session, ({ keep }) => keep.tenant === tenant)

  /** All it says, past and to come: it goes on if it rested. */
  const goOn = (session: LiveSession) => {
    session.asked = true
    return StreamMailbox.fromStream(session.client.Resume({ after: -1 }))
  }

  const unlessAway = <A>(effect: Effect.Effect<A, SqlError>, what: string) =>
    Effect.catchTag(effect, "SqlError", () => Effect.logWarning(`the database does not answer: ${what}`))

  yield* services.add("session-writer", Effect.forever(writer.run))
  yield* services.add(
    "session-sweep",
    Effect.repeat(unlessAway(store.sweep(maxBytes), "old sessions are not removed"), Schedule.spaced(sweepEvery))
  )
  yield* services.add(
    "session-leases",
    Effect.repeat(
      unlessAway(leases.keep, "what other servers have left unfinished is not gone on with"),
      Schedule.spaced(SessionLeases.leaseEvery)
    )
  )

  return {
    /** What becomes of sessions from now on, on this node. */
    news,

    /** Starts a session that is kept. When its reader leaves it rests, unless it is detached. */
    start: (
      session: SessionId,
      keep: SessionStore.Keep,
      request: GenerationRequest
    ): Effect.Effect<Events, never, Scope.Scope> =>
      open(session, keep, SessionRecord.make(), null).pipe(
        Effect.tap(attend),
        Effect.uninterruptible,
        Effect.flatMap((session) => {
          session.asked = true
          return StreamMailbox.fromStream(session.client.Ask(request))
        })
      ),

    /** All events of a session, past and to come: it goes on if it rested. */
    resume: (
      session: SessionId,
      tenant: string
    ): Effect.Effect<ResumedSession, SessionNotFound | StorageUnavailable, Scope.Scope> =>
      Effect.gen(function* () {
        const found = yield* find(session, tenant)
        const { certain, keep, record } = found
        const ended = record.exit !== null
        return { keep, certain, record, ended, events: yield* goOn(found) }
      }),

    /** What there is of a session now. */
    read: (
      session: SessionId,
      tenant: string
    ): Effect.Effect<SessionStore.Stored, SessionNotFound | StorageUnavailable> =>
      Effect.scoped(Effect.map(find(session, tenant), ({ keep, record }) => ({ keep, record }))),

    /** What is known of a session without its events. */
    describe: (
      session: SessionId,
      tenant: string
    ): Effect.Effect<SessionStore.Kept, SessionNotFound | StorageUnavailable> =>
      Effect.scoped(Effect.map(find(session, tenant), keptOf)),

    /** The sessions that were begun on a connection. */
    onConnection: (
      connection: string,
      tenant: string
    ): Effect.Effect<ReadonlyArray<SessionStore.Kept>, StorageUnavailable> =>
      Effect.map(store.onConnection(connection, tenant), (stored) => {
        const present = [...live.values()].filter(
          ({ keep }) => keep.connection === connection && keep.tenant === tenant
        )
        // those that live here are further than what was written of them
        return [...stored.filter(({ session }) => !live.has(session)), ...present.map(keptOf)]
      }),

    /** Ends its generation; its readers are told. One that has ended stays as it is. */
    cancel: (session: SessionId, tenant: string) =>
      Effect.scoped(Effect.flatMap(find(session, tenant), ({ client }) => Effect.orDie(client.Cancel()))),

    /** Cancels it and removes all that is known of it. */
    remove: (session: SessionId, tenant: string) =>
      Effect.scoped(
        Effect.gen(function* () {
          const found = yield* find(session, tenant)
          yield* Effect.orDie(found.client.Cancel())
          // what is being written of it is there before it is removed
          yield* writer.without(
            found,
            Effect.suspend(() => {
              live.delete(session)
              return store.remove(session)
            })
          )
        })
      )
  }
})

export type Sessions = Effect.Effect.Success<ReturnType<typeof make>>
