/** Sessions that clients come back to, in each database: their actors, their rows, and servers that come and go. */
import * as SqlClient from "@effect/sql/SqlClient"
import { expect, it } from "@effect/vitest"
import { Cancelled, EngineFailed, SessionNotFound } from "@helixflow/schema/Errors"
import type { SessionId } from "@helixflow/schema/Ids"
import { Clock, Duration, Effect, Exit, Fiber, Layer, Mailbox, Scope, Stream } from "effect"
import { onEachDatabase } from "./databases.ts"
import * as PacedModel from "./pacedModel.ts"
import {
  detached,
  elapse,
  fresh,
  isWritten,
  keepFor,
  mine,
  quiet,
  readAll,
  readSome,
  resumeAll,
  type Server,
  said,
  server,
  until
} from "./sessionsServer.ts"

const { requestOf } = PacedModel

onEachDatabase("a session", (database) => {
  it.layer(Layer.merge(database, quiet))((it) => {
    const undisturbed = (request: ReturnType<typeof requestOf>) =>
      Effect.scoped(Effect.flatMap(server(), (one) => Effect.map(readAll(one, fresh(), mine, request), said)))

    it.scoped("is left to the database when its reader has gone, and read from there as it was", () =>
      Effect.gen(function* () {
        const one = yield* server()
        const session = fresh()
        const events = yield* readAll(one, session, mine, requestOf("a question"))
        yield* until(Effect.sync(() => one.actors() === 0))
        expect(yield* resumeAll(one, session)).toEqual(events)
        const other = yield* server()
        expect(yield* resumeAll(other, session)).toEqual(events)
        expect((yield* other.sessions.read(session, "me")).record.exit).toEqual(Exit.void)
        expect(one.actors() + other.actors()).toBe(0)
      })
    )

    it.scoped("rests while nobody listens, and goes on where it was, here or on another server", () =>
      Effect.gen(function* () {
        const request = requestOf("another question", { n: 3 })
        const wanted = yield* undisturbed(request)
        const one = yield* server()
        const session = fresh()
        yield* readSome(one, session, mine, request, 5)
        yield* until(Effect.sync(() => one.actors() === 0))
        yield* one.allow(Number.POSITIVE_INFINITY)
        yield* elapse("1 minute")
        const { record } = yield* one.sessions.read(session, "me")
        expect(record.exit).toBe(null)
        const other = yield* server()
        expect(said(yield* resumeAll(other, session))).toEqual(wanted)
        expect(said(yield* resumeAll(one, session))).toEqual(wanted)
      })
    )

    it.scoped("knows after it was restored what of its prompt was known at first", () =>
      Effect.gen(function* () {
        const one = yield* server()
        const session = fresh()
        const request = requestOf("what is known")
        yield* readSome(one, session, mine, request, 3)
        yield* until(isWritten(session, 3))
        yield* one.stop
        const { usage } = said(yield* resumeAll(yield* server(), session))
        expect(usage?.cachedTokens).toBe(PacedModel.cachedTokens)
      })
    )

    it.scoped("says the same to all who watch it, and rests only when the last has gone", () =>
      Effect.gen(function* () {
        const request = requestOf("for two")
        const wanted = yield* undisturbed(request)
        const one = yield* server()
        const session = fresh()
        yield* one.allow(4)
        const watching = yield* Scope.make()
        const first = yield* Scope.extend(one.sessions.start(session, mine, request), watching)
        const second = yield* Effect.fork(resumeAll(one, session))
        yield* Stream.runDrain(Stream.take(Mailbox.toStream(first), 5))
        yield* Scope.close(watching, Exit.void)
        yield* one.allow(Number.POSITIVE_INFINITY)
        expect(said(yield* Fiber.join(second))).toEqual(wanted)
        expect(one.begun()).toBe(1)
      })
    )

    it.scoped("is not there for other tenants, who can do nothing to it", () =>
      Effect.gen(function* () {
        const one = yield* server()
        const session = fresh()
        yield* readSome(one, session, mine, requestOf("mine"), 5)
        for (const passive of [false, true]) {
          if (passive) yield* until(Effect.sync(() => one.actors() === 0))
          const { cancel, read, remove } = one.sessions
          const attempts = [
            read(session, "you"),
            cancel(session, "you"),
            remove(session, "you"),
            resumeAll(one, session, "you")
          ]
          for (const attempt of attempts) {
            expect(yield* Effect.flip(attempt)).toEqual(new SessionNotFound({ session }))
            expect(one.actors()).toBe(passive ? 0 : 1)
          }
        }
        yield* one.allow(Number.POSITIVE_INFINITY)
        expect(said(yield* resumeAll(one, session))).toEqual(yield* undisturbed(requestOf("mine")))
      })
    )

    it.scoped("is cancelled by its id, whether it runs or rests, and stays what it was until then", () =>
      Effect.gen(function* () {
        const one = yield* server()
        const session = fresh()
        yield* one.allow(4)
        const reader = yield* Effect.fork(readAll(one, session, detached, requestOf("too long")))
        yield* until(isWritten(session, 4))
        yield* one.sessions.cancel(session, "me")
        expect(yield* Effect.flip(Fiber.join(reader))).toEqual(new Cancelled())
        const resting = fresh()
        yield* readSome(one, resting, mine, requestOf("too long"), 4)
        yield* until(Effect.sync(() => one.actors() === 0))
        yield* one.sessions.cancel(resting, "me")
        yield* until(Effect.sync(() => one.actors() === 0))
        yield* one.stop
        const other = yield* server()
        yield* elapse("1 minute")
        expect(other.begun()).toBe(0)
        for (const cancelled of [session, resting]) {
          const { record } = yield* other.sessions.read(cancelled, "me")
          expect(record.exit).toEqual(Exit.fail(new Cancelled()))
          expect(record.events).toHaveLength(5)
        }
      })
    )

    it.scoped("is gone when it is removed", () =>
      Effect.gen(function* () {
        const one = yield* server()
        const session = fresh()
        yield* readSome(one, session, mine, requestOf("gone"), 4)
        yield* until(isWritten(session, 4))
        yield* one.sessions.remove(session, "me")
        yield* elapse("2 seconds")
        expect(yield* Effect.flip(one.sessions.read(session, "me"))).toEqual(new SessionNotFound({ session }))
        expect(one.actors()).toBe(0)
      })
    )

    it.scoped("is forgotten when its time is over, which begins anew with every change", () =>
      Effect.gen(function* () {
        const one = yield* server({ retention: Duration.minutes(2) })
        const session = fresh()
        yield* readSome(one, session, mine, requestOf("old"), 4)
        yield* until(Effect.sync(() => one.actors() === 0))
        yield* elapse("100 seconds")
        yield* one.allow(Number.POSITIVE_INFINITY)
        yield* resumeAll(one, session)
        yield* elapse("100 seconds")
        yield* one.sessions.read(session, "me")
        yield* elapse("1 minute")
        expect(yield* Effect.flip(one.sessions.read(session, "me"))).toEqual(new SessionNotFound({ session }))
        const sql = yield* SqlClient.SqlClient
        expect(yield* sql`SELECT * FROM session_events WHERE session = ${session}`).toEqual([])
      })
    )

    it.scoped("is known to be as large as what it has said, at the latest when it has ended", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const one = yield* server()
        const session = fresh()
        const { answer } = mine
        /** What the session is said to have in the database, and what it has there. */
        const sizes = Effect.gen(function* () {
          const [row] = yield* sql<{ bytes: number }>`SELECT bytes FROM sessions WHERE id = ${session}`
          const rows = yield* sql<{ events: string }>`SELECT events FROM session_events WHERE session = ${session}`
          const events = rows.reduce((sum, { events }) => sum + events.length, 0)
          return { told: row?.bytes, is: events + 4 * "large".length + answer.length, rows: rows.length }
        })
        yield* one.allow(2)
        const reader = yield* Effect.fork(readAll(one, session, mine, requestOf("large")))
        // the first write tells all, those that follow soon only what was said
        for (const tokens of [2, 4, 6]) {
          yield* one.allow(tokens)
          yield* until(Effect.map(sizes, ({ rows }) => rows >= tokens / 2))
        }
        const before = yield* sizes
        expect(before.told).toBeLessThan(before.is)
        yield* one.allow(Number.POSITIVE_INFINITY)
        yield* Fiber.join(reader)
        yield* until(Effect.sync(() => one.actors() === 0))
        const after = yield* sizes
        expect(after.told).toBe(after.is)
      })
    )

    it.scoped("makes room for newer ones when there are too many bytes of them", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`DELETE FROM sessions`
        const one = yield* server({ maxBytes: 8_000 })
        const all = Array.from({ length: 6 }, fresh)
        for (const session of all) {
          yield* readAll(one, session, mine, requestOf(`a question of many ${session}`))
          yield* until(Effect.sync(() => one.actors() === 0))
          yield* elapse("1 second")
        }
        yield* elapse("31 seconds")
        const left = yield* sql<{ id: string; bytes: number }>`SELECT id, bytes FROM sessions ORDER BY created_at`
        expect(left.length).toBeGreaterThan(0)
        expect(left.length).toBeLessThan(6)
        expect(left.map(({ id }) => id)).toEqual(all.slice(-left.length))
        expect(left.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(8_000)
      })
    )

    it.scoped("is found by the connection that it was begun on", () =>
      Effect.gen(function* () {
        const one = yield* server()
        const connection = `ws_${fresh()}`
        const [first, second] = [fresh(), fresh()]
        yield* readAll(one, first, keepFor("me", { connection }), requestOf("one"))
        yield* elapse("2 seconds")
        yield* readSome(one, second, keepFor("me", { connection }), requestOf("two"), 2)
        const found = yield* one.sessions.onConnection(connection, "me")
        expect(found.map(({ ended, session }) => [session, ended]).sort()).toEqual(
          [
            [first, true],
            [second, false]
          ].sort()
        )
        expect(yield* one.sessions.onConnection(connection, "you")).toEqual([])
      })
    )

    it.scoped("streams on while the database is away, and is written when it is back", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const one = yield* server()
        const session = fresh()
        yield* readSome(one, session, detached, requestOf("without a database"), 2)
        yield* until(isWritten(session, 2))
        yield* sql`ALTER TABLE sessions RENAME TO away`
        yield* one.allow(Number.POSITIVE_INFINITY)
        const wanted = yield* resumeAll(one, session)
        yield* elapse("5 seconds")
        expect(one.actors()).toBe(1)
        yield* sql`ALTER TABLE away RENAME TO sessions`
        yield* until(Effect.sync(() => one.actors() === 0))
        expect(yield* resumeAll(yield* server(), session)).toEqual(wanted)
      })
    )

    it.scoped("that can't be written keeps no other from it", () =>
      Effect.gen(function* () {
        const one = yield* server()
        const [bad, good] = [fresh(), fresh()]
        const [, wanted] = yield* Effect.all(
          [
            readAll(one, bad, detached, requestOf(PacedModel.unwritable)),
            readAll(one, good, detached, requestOf("a good one"))
          ],
          { concurrency: "unbounded" }
        )
        yield* until(Effect.sync(() => one.actors() === 0))
        const other = yield* server()
        expect(yield* resumeAll(other, good)).toEqual(wanted)
        expect(yield* Effect.flip(other.sessions.read(bad, "me"))).toEqual(new SessionNotFound({ session: bad }))
      })
    )
  })
})

onEachDatabase("a session that is finished unheard", (database) => {
  it.layer(Layer.merge(database, quiet))((it) => {
    const request = requestOf("to the end")

    /** Begun on a server, and written so far. */
    const begunOn = (one: Server, keep = detached) =>
      Effect.gen(function* () {
        const session = fresh()
        yield* readSome(one, session, keep, request, 5)
        yield* until(isWritten(session, 5))
        return session
      })

    const isFinished = (one: Server, session: SessionId) =>
      Effect.map(one.sessions.read(session, "me"), ({ record }) => record.exit !== null)

    it.scoped("goes on when its client hangs up", () =>
      Effect.gen(function* () {
        const one = yield* server()
        const session = yield* begunOn(one)
        yield* one.allow(Number.POSITIVE_INFINITY)
        yield* until(Effect.sync(() => one.actors() === 0))
        // before anybody reads it, which is an actor of its own
        expect(one.begun()).toBe(1)
        expect(yield* isFinished(one, session)).toBe(true)
      })
    )

    it.scoped("is finished by the next server, once its own is gone, the same; others rest", () =>
      Effect.gen(function* () {
        const wanted = said(yield* readAll(yield* server(), fresh(), mine, request))
        const dead = yield* server()
        const session = yield* begunOn(dead)
        const resting = yield* begunOn(dead, mine)
        yield* dead.die
        const next = yield* server()
        yield* until(isFinished(next, session))
        expect(said([...(yield* next.sessions.read(session, "me")).record.events])).toEqual(wanted)
        yield* elapse("1 minute")
        expect(yield* isFinished(next, resting)).toBe(false)
        expect(next.actors()).toBe(0)
      })
    )

    it.scoped("is left to its own server as long as that lives", () =>
      Effect.gen(function* () {
        const slow = yield* server()
        const session = yield* begunOn(slow)
        const other = yield* server()
        yield* elapse("2 minutes")
        expect(other.begun()).toBe(0)
        yield* slow.allow(Number.POSITIVE_INFINITY)
        yield* until(isFinished(slow, session))
      })
    )

    it.scoped("is taken over at once from a server that ends in order", () =>
      Effect.gen(function* () {
        const one = yield* server()
        const session = yield* begunOn(one)
        yield* one.stop
        const next = yield* server()
        const began = yield* Clock.currentTimeMillis
        yield* until(isFinished(next, session))
        // long before the lease of one that died would have run out
        expect((yield* Clock.currentTimeMillis) - began).toBeLessThan(5_000)
      })
    )

    it.scoped("is finished by one of several, a few at a time", () =>
      Effect.gen(function* () {
        const dead = yield* server()
        const all = yield* Effect.replicateEffect(begunOn(dead), 12)
        yield* dead.die
        const next = yield* Effect.replicateEffect(server(), 2)
        yield* Effect.forEach(next, ({ allow }) => allow(6))
        yield* until(Effect.sync(() => next.reduce((sum, one) => sum + one.actors(), 0) >= 12))
        yield* elapse("20 seconds")
        for (const one of next) expect(one.actors()).toBeLessThanOrEqual(8)
        expect(next.reduce((sum, one) => sum + one.actors(), 0)).toBe(12)
        yield* Effect.forEach(next, ({ allow }) => allow(Number.POSITIVE_INFINITY))
        const [one] = next
        if (one === undefined) return
        for (const session of all) yield* until(isFinished(one, session))
      })
    )

    it.scoped("ends with an error where it can't be read any more, and is not tried for ever", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const dead = yield* server()
        const session = yield* begunOn(dead)
        yield* dead.die
        yield* sql`UPDATE sessions SET request = ${"{}"} WHERE id = ${session}`
        yield* server()
        const failure = Effect.map(
          sql<{ failure: string | null }>`SELECT failure FROM sessions WHERE id = ${session}`,
          ([row]) => row?.failure ?? null
        )
        yield* until(Effect.map(failure, (text) => text !== null))
        expect(JSON.parse((yield* failure) ?? "{}")).toMatchObject({
          _tag: new EngineFailed({ request: "", reason: "" })._tag
        })
      })
    )
  })
})
