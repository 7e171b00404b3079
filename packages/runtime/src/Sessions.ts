/**
 * The sessions that clients may come back to. Each is an actor while somebody listens or it generates, and otherwise rows of the
 * database:
 *
 *     start ──> live ── unheard and written ──> passive (database only) ── retention over ──> gone
 *                ^                                  │
 *                └──────────── resume ──────────────┘
 *
 * What is said is written behind: a tick writes what is new of all sessions in a few transactions, so that no token waits for the database.
 * A server that is killed loses a tick's tokens, and a session that is resumed computes them again, the same.
 * Detached sessions are finished whether anybody comes back or not: see `SessionLeases.ts`.
 */
import type { SqlError } from "@effect/sql/SqlError"
import { SessionNotFound, type StorageUnavailable } from "@helixflow/schema/Errors"
import type { GenerationRequest } from "@helixflow/schema/Generation"
import type { SessionId } from "@helixflow/schema/Ids"
import type { SessionActor, SessionError, SessionEvent } from "@helixflow/schema/SessionActor"
import {
  Array as Arr,
  Cause,
  Clock,
  Duration,
  Effect,
  ExecutionStrategy,
  Exit,
  type Mailbox,
  Option,
  PubSub,
  Schedule,
  Scope
} from "effect"
import type { ClientOf } from "./Actor.ts"
import type { ServicesShape } from "./Services.ts"
import type { WhenUnheard } from "./SessionActor.ts"
import * as SessionLeases from "./SessionLeases.ts"
import * as SessionRecord from "./SessionRecord.ts"
import * as SessionStore from "./SessionStore.ts"
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

/** What has become of a session that is kept. */
export interface SessionNews {
  readonly session: SessionId
  readonly tenant: string
  readonly model: string
  readonly state: "begun" | "finished" | "cancelled" | "failed"
}

interface Live {
  readonly session: SessionId
  readonly keep: SessionStore.Keep
  readonly record: SessionRecord.SessionRecord
  readonly certain: number | null
  readonly scope: Scope.CloseableScope
  readonly client: ClientOf<typeof SessionActor>
  /** How many of the record's events were looked at for writing. */
  seen: number
  /** How many events are in the database; null: the session is not. */
  stored: number | null
  /** The revision of its model that it was written with. */
  revision: string | null
  /** When it was described in the database last, in milliseconds, and the bytes that it has said since. */
  describedAt: number
  undescribed: number
  readers: number
  /** The last that was told of it; null: nothing. */
  told: SessionNews["state"] | null
  /** Whether it was asked to generate here. */
  asked: boolean
}

/** A new session is written soon, so that a client that has its id finds it; what follows is written at leisure. */
const firstTick = Duration.millis(10)
const tick = Duration.millis(500)

/** While a session is read, what it says is written at every tick, and the rest of it this often: that is the greater part of the work. */
const describeEvery = Duration.toMillis("5 seconds")

const pauseAfterFailure = Duration.seconds(1)

/** How often the database is rid of what has expired. */
const sweepEvery = Duration.seconds(30)

/** Sessions that wait for a database that does not answer; more are kept by nobody. */
const mostUnwritten = 10_000

const keptOf = ({ keep, record, session }: Live): SessionStore.Kept => ({
  session,
  answer: keep.answer,
  ended: record.exit !== null
})

const stateOf = ({ exit }: SessionRecord.SessionRecord): SessionNews["state"] => {
  if (exit === null) return "begun"
  if (Exit.isSuccess(exit)) return "finished"
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  return error?._tag === "Cancelled" ? "cancelled" : "failed"
}

/** Sessions that are written in one transaction: SQLite holds up the process for as long as one takes. */
const mostTogether = 50

const isSaid = ({ _tag }: SessionEvent): boolean => _tag !== "Waiting"

export const make = Effect.fnUntraced(function* ({ host, maxBytes, retention, services }: SessionsOptions) {
  const store = yield* SessionStore.make
  const actors = yield* Scope.make()
  const live = new Map<SessionId, Live>()
  const unwritten = new Set<Live>()
  /** Those that are being written now: they are not in the database yet. */
  let writing: ReadonlySet<Live> = new Set()
  const atDatabase = yield* Effect.makeSemaphore(1)
  const anything = yield* Effect.makeLatch()
  const anyNew = yield* Effect.makeLatch()
  const opening = yield* Effect.makeSemaphore(1)
  /** Who does not keep up misses the oldest. */
  const news = yield* PubSub.sliding<SessionNews>(1_024)
  let closing = false

  const changed = (session: Live) => {
    // one that has not begun has nothing to come back to
    if (closing || session.record.prompt.length === 0) return
    unwritten.add(session)
    anything.unsafeOpen()
    if (session.stored === null) anyNew.unsafeOpen()
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
    const opened: Live = { session, keep, record, certain, scope, client, ...life }
    live.set(session, opened)
    return opened
  })

  /** Whether it is gone on with even if nobody listens. */
  const goesOn = ({ asked, keep, record }: Live) => asked && keep.detached && record.exit === null

  /** Leaves a session to the database when nothing is left to do for it here. */
  const passivate = (session: Live) =>
    Effect.suspend(() => {
      if (session.readers > 0 || goesOn(session) || unwritten.has(session) || writing.has(session)) return Effect.void
      if (live.get(session.session) === session) live.delete(session.session)
      return Scope.close(session.scope, Exit.void)
    })

  /** Counts a reader for as long as the scope lives. */
  const attend = (session: Live) =>
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

  const writeThese = (sessions: ReadonlyArray<Live>) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const leased = yield* leases.lease
      const entries = sessions.map((live) => {
        const { describedAt, keep, readers, record, revision, seen, session, stored, undescribed } = live
        const begunAnew = record.revision !== revision
        const isQuiet = readers === 0 || record.exit !== null
        return {
          session,
          keep,
          record,
          stored,
          news: record.events.slice(seen).filter(isSaid),
          begunAnew,
          describes: isQuiet || begunAnew || now - describedAt >= describeEvery,
          undescribed,
          expiresAt: now + Duration.toMillis(retention),
          lease: leased
        }
      })
      const seen = sessions.map(({ record }) => record.events.length)
      const revisions = sessions.map(({ record }) => record.revision)
      const undescribed = yield* store.write(entries)
      for (const [index, session] of sessions.entries()) {
        session.undescribed = undescribed[index] ?? 0
        if (entries[index]?.describes === true) session.describedAt = now
        session.seen = seen[index] ?? session.seen
        session.revision = revisions[index] ?? session.revision
        session.stored = (session.stored ?? 0) + (entries[index]?.news.length ?? 0)
      }
    })

  /** One that can't be written is kept by nobody, and must not keep the others from it. */
  const writeAlone = (session: Live) =>
    writeThese([session]).pipe(
      Effect.catchAllDefect((defect) =>
        Effect.logError("a session can't be written, and is not kept", Cause.die(defect)).pipe(
          Effect.annotateLogs({ session: session.session })
        )
      )
    )

  const writeSome = Effect.fnUntraced(function* (sessions: ReadonlyArray<Live>) {
    for (const session of sessions) unwritten.delete(session)
    writing = new Set(sessions)
    yield* writeThese(sessions).pipe(
      Effect.catchAllDefect(() => Effect.forEach(sessions, writeAlone, { discard: true })),
      Effect.tapErrorCause(() =>
        Effect.sync(() => {
          for (const session of sessions) unwritten.add(session)
        })
      ),
      Effect.ensuring(
        Effect.sync(() => {
          writing = new Set()
        })
      )
    )
    yield* Effect.forEach(sessions, passivate, { discard: true })
  }, atDatabase.withPermits(1))

  /** All that is new, in parts between which streams go on. */
  const write = Effect.suspend(() =>
    Effect.forEach(
      Arr.chunksOf([...unwritten], mostTogether),
      (sessions) => Effect.zipRight(writeSome(sessions), Effect.sleep(Duration.zero)),
      { discard: true }
    )
  )

  const whenUnwritable = Effect.suspend(() => {
    if (unwritten.size > mostUnwritten) unwritten.clear()
    return Effect.sleep(pauseAfterFailure)
  })

  const writer = Effect.gen(function* () {
    yield* anything.await
    yield* Effect.raceFirst(Effect.sleep(tick), anyNew.await)
    yield* Effect.sleep(firstTick)
    yield* Effect.zipRight(anything.close, anyNew.close)
    yield* Effect.uninterruptible(write).pipe(
      Effect.catchTag("SqlError", () =>
        Effect.logWarning("the database does not answer: streams go on, but what they say is not kept meanwhile").pipe(
          Effect.zipRight(whenUnwritable),
          Effect.zipRight(anything.open)
        )
      )
    )
  })

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      // what is cut off now is not cancelled: it goes on when its client comes back to the next server
      closing = true
      return write.pipe(
        Effect.zipRight(leases.release),
        Effect.ignoreLogged,
        Effect.zipRight(Scope.close(actors, Exit.void))
      )
    })
  )

  const restore = Effect.fnUntraced(function* (session: SessionId) {
    const stored = yield* store.load(session)
    return yield* opening.withPermits(1)(
      Effect.suspend((): Effect.Effect<Live, SessionNotFound> => {
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
    isAllowed: (session: Live) => boolean
  ): Effect.Effect<Live, SessionNotFound | StorageUnavailable, Scope.Scope> =>
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
  const goOn = (session: Live) => {
    session.asked = true
    return StreamMailbox.fromStream(session.client.Resume({ after: -1 }))
  }

  const unlessAway = <A>(effect: Effect.Effect<A, SqlError>, what: string) =>
    Effect.catchTag(effect, "SqlError", () => Effect.logWarning(`the database does not answer: ${what}`))

  yield* services.add("session-writer", Effect.forever(writer))
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
          yield* atDatabase.withPermits(1)(
            Effect.suspend(() => {
              unwritten.delete(found)
              live.delete(session)
              return store.remove(session)
            })
          )
        })
      )
  }
})

export type Sessions = Effect.Effect.Success<ReturnType<typeof make>>
