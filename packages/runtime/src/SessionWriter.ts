/**
 * Writes what sessions say behind them: a tick writes what is new of all in a few transactions, so that no token waits for the database.
 * Where that does not answer, streams go on, and what they said is written once it does.
 */
import type { SqlError } from "@effect/sql/SqlError"
import type { SessionEvent } from "@helixflow/schema/SessionActor"
import { Array as Arr, Cause, Clock, Duration, Effect } from "effect"
import type { LiveSession } from "./LiveSession.ts"
import type { Lease, SessionStore } from "./SessionStore.ts"

export interface SessionWriter {
  /** There is something new of the session. */
  readonly note: (session: LiveSession) => void
  /** Whether something of it is not in the database yet. */
  readonly owes: (session: LiveSession) => boolean
  /** All that is new. */
  readonly write: Effect.Effect<void, SqlError>
  /** Waits for what is new, and writes it. */
  readonly run: Effect.Effect<void>
  /** Writes no more of the session, and does this when what is being written of it is there. */
  readonly without: <A, E>(session: LiveSession, use: Effect.Effect<A, E>) => Effect.Effect<A, E>
}

export interface SessionWriterOptions {
  readonly store: SessionStore
  readonly lease: Effect.Effect<Lease>
  /** How long a session is kept after it was last changed. */
  readonly retention: Duration.Duration
  /** Is told of sessions of which all is written. */
  readonly written: (session: LiveSession) => Effect.Effect<void>
}

/** A new session is written soon, so that a client that has its id finds it; what follows is written at leisure. */
const firstTick = Duration.millis(10)
const tick = Duration.seconds(1)

/** While a session is read, what it says is written at every tick, and the rest of it this often: that is the greater part of the work. */
const describeEvery = Duration.toMillis("5 seconds")

const pauseAfterFailure = Duration.seconds(1)

/** Sessions that wait for a database that does not answer; more are kept by nobody. */
const mostUnwritten = 10_000

/** Sessions that are written in one transaction: what else is asked of SQLite waits for as long as one takes. */
const mostTogether = 50

const isSaid = ({ _tag }: SessionEvent): boolean => _tag !== "Waiting"

export const make = Effect.fnUntraced(function* ({ lease, retention, store, written }: SessionWriterOptions) {
  const unwritten = new Set<LiveSession>()
  /** Those that are being written now: they are not in the database yet. */
  let writing: ReadonlySet<LiveSession> = new Set()
  const atDatabase = yield* Effect.makeSemaphore(1)
  const anything = yield* Effect.makeLatch()
  const anyNew = yield* Effect.makeLatch()

  const writeThese = (sessions: ReadonlyArray<LiveSession>) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const leased = yield* lease
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
  const writeAlone = (session: LiveSession) =>
    writeThese([session]).pipe(
      Effect.catchAllDefect((defect) =>
        Effect.logError("a session can't be written, and is not kept", Cause.die(defect)).pipe(
          Effect.annotateLogs({ session: session.session })
        )
      )
    )

  const writeSome = Effect.fnUntraced(function* (sessions: ReadonlyArray<LiveSession>) {
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
    yield* Effect.forEach(sessions, written, { discard: true })
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

  const run = Effect.gen(function* () {
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

  const writer: SessionWriter = {
    note: (session) => {
      unwritten.add(session)
      anything.unsafeOpen()
      if (session.stored === null) anyNew.unsafeOpen()
    },
    owes: (session) => unwritten.has(session) || writing.has(session),
    write,
    run,
    without: (session, use) =>
      atDatabase.withPermits(1)(
        Effect.suspend(() => {
          unwritten.delete(session)
          return use
        })
      )
  }
  return writer
})
