/** Streams that can be resumed: what was asked, and what has been said so far. */
import * as SqlClient from "@effect/sql/SqlClient"
import { Effect } from "effect"

export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    CREATE TABLE sessions (
      id text PRIMARY KEY,
      tenant text NOT NULL,
      answer text NOT NULL,
      request text NOT NULL,
      prompt bytea NOT NULL,
      detached bigint NOT NULL,
      failure text,
      bytes bigint NOT NULL,
      created_at bigint NOT NULL,
      expires_at bigint NOT NULL
    )`
  yield* sql`CREATE INDEX sessions_expires_at ON sessions (expires_at)`
  yield* sql`
    CREATE TABLE session_events (
      session text NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
      seq bigint NOT NULL,
      events text NOT NULL,
      PRIMARY KEY (session, seq)
    )`
})
