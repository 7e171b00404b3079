/**
 * Sessions in the database, for their clients to come back to: what was asked as one row, what was said as a row per flush.
 * Times are milliseconds since 1970.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { EngineFailed, StorageUnavailable } from "@helixflow/schema/Errors"
import { GenerationRequest } from "@helixflow/schema/Generation"
import { type SessionId, TokenId } from "@helixflow/schema/Ids"
import { SessionError, SessionEvent } from "@helixflow/schema/SessionActor"
import { Array as Arr, Cause, Clock, Effect, Exit, Option, Schema } from "effect"
import { EventLog } from "./EventLog.ts"
import type { SessionRecord } from "./SessionRecord.ts"

/** Whose a session is, and how its answer is written: data that the runtime does not read. */
export interface Keep {
  /** Who may come back to it. */
  readonly tenant: string
  /** What its reader needs to write the answer again. */
  readonly answer: string
  /** Whether it is finished even if nobody listens. */
  readonly detached: boolean
  /** The connection that it was begun on, if that has a name. */
  readonly connection?: string | undefined
}

/** A session as it is known without its events. */
export interface Kept {
  readonly session: SessionId
  readonly answer: string
  readonly ended: boolean
}

export interface Stored {
  readonly keep: Keep
  readonly record: SessionRecord
}

/** What is to be written of one session. */
export interface Entry {
  readonly session: SessionId
  readonly keep: Keep
  readonly record: SessionRecord
  /** How many of its events are stored already; null: nothing of it is. */
  readonly stored: number | null
  /** The events after those. */
  readonly news: ReadonlyArray<SessionEvent>
  /** Its prompt is another than the one that is stored: it was begun anew, with another revision of its model. */
  readonly begunAnew: boolean
  /** Whether more of it is written than what it said: how it stands, how large it is, when it expires. */
  readonly describes: boolean
  /** Bytes of what it said that it was not described with. */
  readonly undescribed: number
  readonly expiresAt: number
  /** Who writes, and until when it would finish the session if that is detached. */
  readonly lease: Lease
}

/** Of detached sessions that have not ended: the server that finishes them, by a name that no other has, and until when it surely does. */
export interface Lease {
  readonly owner: string
  readonly until: number
}

const StoredRequest = Schema.parseJson(GenerationRequest)
const StoredEvents = Schema.parseJson(Schema.Array(SessionEvent))
const StoredError = Schema.parseJson(SessionError)

const encodeRequest = Schema.encodeSync(StoredRequest)
const encodeError = Schema.encodeSync(StoredError)
const decodeRequest = Schema.decode(StoredRequest)
const decodeEvents = Schema.decode(StoredEvents)
const decodeError = Schema.decode(StoredError)

/** The prompt is stored once, as token ids: it goes on with these even if the model's template has changed meanwhile. */
const requestText = (request: GenerationRequest): string =>
  encodeRequest(
    new GenerationRequest({ ...request, prompt: { _tag: "Tokens", tokens: [] } }, { disableValidation: true })
  )

const packTokens = (tokens: ReadonlyArray<TokenId>): Buffer => {
  const bytes = Buffer.alloc(tokens.length * 4)
  for (const [index, token] of tokens.entries()) bytes.writeUInt32LE(token, index * 4)
  return bytes
}

const unpackTokens = (bytes: Buffer): ReadonlyArray<TokenId> =>
  Array.from({ length: bytes.length / 4 }, (_, index) => TokenId.make(bytes.readUInt32LE(index * 4)))

/** How a session ended: null while it may go on, "" when it has finished, else its error. A defect is none of its clients' business. */
const failureText = ({ exit }: SessionRecord): string | null => {
  if (exit === null) return null
  if (Exit.isSuccess(exit)) return ""
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  return error === undefined ? encodeError(defect) : encodeError(error)
}

const defect = new EngineFailed({ request: "", reason: "an internal error" })

/** Rows of one statement; SQLite takes 32,766 values. */
const batch = 500

const inBatches = <A, E>(rows: ReadonlyArray<A>, write: (rows: ReadonlyArray<A>) => Effect.Effect<unknown, E>) =>
  Effect.forEach(Arr.chunksOf(rows, batch), write, { discard: true })

/** What a driver says of a statement may quote what was stored, so it is not passed on. */
const unavailable = (_: SqlError) => new StorageUnavailable({ reason: "The database does not answer." })

const exitOf = (failure: string | null, events: ReadonlyArray<SessionEvent>) => {
  if (failure === null || (failure === "" && events.at(-1)?._tag !== "Completed")) return Effect.succeed(null)
  return failure === "" ? Effect.succeed(Exit.void) : Effect.map(decodeError(failure), Exit.fail)
}

interface SessionRow {
  readonly tenant: string
  readonly answer: string
  readonly detached: number
  readonly connection: string | null
  readonly request: string
  readonly prompt: Buffer
  readonly revision: string | null
  readonly failure: string | null
}

export const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const presentOf = (sessions: ReadonlyArray<SessionId>) =>
    Effect.map(
      Effect.forEach(
        Arr.chunksOf(sessions, batch),
        (some) => sql<{ readonly id: SessionId }>`SELECT id FROM sessions WHERE ${sql.in("id", some)}`
      ),
      (rows) => new Set(rows.flat().map(({ id }) => id))
    )

  /** Writes what is new of these sessions, all or nothing. Gives how many bytes each is not described with. */
  const write = (entries: ReadonlyArray<Entry>): Effect.Effect<ReadonlyArray<number>, SqlError> =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const present = yield* presentOf(entries.flatMap(({ session, stored }) => (stored === null ? [] : [session])))
      const sessions: Array<Record<string, unknown>> = []
      const said: Array<{ session: SessionId; seq: number; events: string }> = []
      const left: Array<number> = []
      for (const entry of entries) {
        const { begunAnew, expiresAt, keep, lease, news, record, session, stored } = entry
        const { prompt, request } = record
        const index = left.push(0) - 1
        if (request === null) continue
        // one that was removed for want of room meanwhile is written anew
        const isNew = !present.has(session)
        const added = isNew ? record.events.slice(0).filter(({ _tag }) => _tag !== "Waiting") : news
        const events = added.length === 0 ? "" : JSON.stringify(added)
        if (events !== "") said.push({ session, seq: isNew ? 0 : (stored ?? 0), events })
        if (!isNew && !entry.describes) {
          left[index] = entry.undescribed + events.length
          continue
        }
        sessions.push({
          id: session,
          tenant: keep.tenant,
          answer: keep.answer,
          detached: keep.detached ? 1 : 0,
          connection: keep.connection ?? null,
          // what was written once stays
          request: isNew ? requestText(request) : "",
          prompt: isNew || begunAnew ? packTokens(prompt) : Buffer.alloc(0),
          revision: record.revision,
          failure: failureText(record),
          bytes: events.length + (isNew ? prompt.length * 4 + keep.answer.length : entry.undescribed),
          created_at: now,
          expires_at: expiresAt,
          owner: lease.owner,
          leased_until: lease.until
        })
      }
      yield* inBatches(
        sessions,
        (rows) => sql`
          INSERT INTO sessions ${sql.insert(rows)}
          ON CONFLICT (id) DO UPDATE SET
            prompt = CASE WHEN length(excluded.prompt) > 0 THEN excluded.prompt ELSE sessions.prompt END,
            revision = excluded.revision, failure = excluded.failure, bytes = sessions.bytes + excluded.bytes, expires_at = excluded.expires_at,
            owner = excluded.owner, leased_until = excluded.leased_until`
      )
      // whoever went on with the same session elsewhere has written the same
      yield* inBatches(said, (rows) => sql`INSERT INTO session_events ${sql.insert(rows)} ON CONFLICT DO NOTHING`)
      return left
    }).pipe(sql.withTransaction)

  const load = (session: SessionId): Effect.Effect<Option.Option<Stored>, StorageUnavailable> =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const [row] = yield* sql<SessionRow>`
        SELECT tenant, answer, detached, connection, request, prompt, revision, failure FROM sessions
        WHERE id = ${session} AND expires_at > ${now} AND request <> ''`
      if (row === undefined) return Option.none()
      const batches = yield* sql<{ readonly seq: number; readonly events: string }>`
        SELECT seq, events FROM session_events WHERE session = ${session} ORDER BY seq`
      const events: Array<SessionEvent> = []
      for (const said of batches) {
        // where two have written, theirs may not fit together: what is missing is computed again
        if (said.seq === events.length) events.push(...(yield* decodeEvents(said.events)))
      }
      const prompt = unpackTokens(row.prompt)
      const request = yield* decodeRequest(row.request)
      const record: SessionRecord = {
        request: new GenerationRequest({ ...request, prompt: { _tag: "Tokens", tokens: prompt } }),
        prompt,
        revision: row.revision,
        events: new EventLog(events),
        exit: yield* exitOf(row.failure, events)
      }
      const { answer, connection, detached, tenant } = row
      const keep: Keep = { tenant, answer, detached: detached === 1, connection: connection ?? undefined }
      return Option.some({ keep, record })
    }).pipe(Effect.catchTags({ SqlError: unavailable, ParseError: (error) => Effect.die(error) }))

  /** The tenant's sessions that were begun on a connection. */
  const onConnection = (connection: string, tenant: string): Effect.Effect<ReadonlyArray<Kept>, StorageUnavailable> =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const rows = yield* sql<{ readonly id: SessionId; readonly answer: string; readonly failure: string | null }>`
        SELECT id, answer, failure FROM sessions
        WHERE connection = ${connection} AND tenant = ${tenant} AND expires_at > ${now} AND request <> ''`
      return rows.map(({ answer, failure, id }) => ({ session: id, answer, ended: failure !== null }))
    }).pipe(Effect.mapError(unavailable))

  const remove = (session: SessionId): Effect.Effect<void, StorageUnavailable> =>
    Effect.mapError(Effect.asVoid(sql`DELETE FROM sessions WHERE id = ${session}`), unavailable)

  /** Removes what has expired, and of the rest the sessions that would expire first until `maxBytes` are left. */
  const sweep = (maxBytes: number): Effect.Effect<void, SqlError> =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      yield* sql`DELETE FROM sessions WHERE expires_at <= ${now}`
      yield* sql`
        DELETE FROM sessions WHERE id IN (
          SELECT id FROM (
            SELECT id, sum(bytes) OVER (ORDER BY expires_at DESC, id) AS kept FROM sessions
          ) AS newest WHERE kept > ${maxBytes}
        )`
    })

  /** Takes over detached sessions that nobody finishes, the oldest first and at most so many. */
  const claim = ({ owner, until }: Lease, most: number): Effect.Effect<ReadonlyArray<SessionId>, SqlError> =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const unfinished = sql`detached = 1 AND failure IS NULL AND leased_until <= ${now} AND expires_at > ${now}`
      // said twice: of two servers that choose the same at once, the second finds it leased
      const claimed = yield* sql<{ readonly id: SessionId }>`
        UPDATE sessions SET owner = ${owner}, leased_until = ${until}
        WHERE id IN (SELECT id FROM sessions WHERE ${unfinished} ORDER BY created_at, id LIMIT ${most}) AND ${unfinished}
        RETURNING id`
      return claimed.map(({ id }) => id)
    })

  /** Says that these are being finished still. */
  const renew = (sessions: ReadonlyArray<SessionId>, { owner, until }: Lease): Effect.Effect<void, SqlError> =>
    inBatches(
      sessions,
      (some) =>
        sql`UPDATE sessions SET leased_until = ${until}, owner = ${owner} WHERE ${sql.in("id", some)} AND failure IS NULL`
    )

  /** Leaves all that it has not finished to others. */
  const release = (owner: string): Effect.Effect<void, SqlError> =>
    Effect.asVoid(sql`UPDATE sessions SET leased_until = 0 WHERE owner = ${owner} AND failure IS NULL`)

  /** Ends a session that can't be gone on with. */
  const abandon = (session: SessionId): Effect.Effect<void, SqlError> =>
    Effect.asVoid(sql`UPDATE sessions SET failure = ${encodeError(defect)} WHERE id = ${session} AND failure IS NULL`)

  return { write, load, onConnection, remove, sweep, claim, renew, release, abandon }
})

export type SessionStore = Effect.Effect.Success<typeof make>
