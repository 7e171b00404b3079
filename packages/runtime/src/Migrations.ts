/**
 * The database's schema as steps, each in a file of its own and run once per database, in the order of their numbers. A step that has
 * been released is never changed: a new one follows it.
 *
 * Nodes that start together take turns, so that each step runs once: PostgreSQL locks for the transaction; SQLite has one writer, which
 * a transaction is from its beginning.
 */
import * as Migrator from "@effect/sql/Migrator"
import * as SqlClient from "@effect/sql/SqlClient"
import { Effect } from "effect"
import sessions from "./migrations/0001_sessions.ts"
import learnedMemory from "./migrations/0002_learned_memory.ts"
import apiKeys from "./migrations/0003_api_keys.ts"
import sessionGroups from "./migrations/0004_session_groups.ts"
import sessionRevision from "./migrations/0005_session_revision.ts"
import forecast from "./migrations/0006_forecast.ts"
import sessionLeases from "./migrations/0007_session_leases.ts"

const steps = {
  "0001_sessions": sessions,
  "0002_learned_memory": learnedMemory,
  "0003_api_keys": apiKeys,
  "0004_session_groups": sessionGroups,
  "0005_session_revision": sessionRevision,
  "0006_forecast": forecast,
  "0007_session_leases": sessionLeases
}

const table = "helixflow_migrations"

/** Any number that nothing else in the database locks. */
const lockId = 7_164_911

const migrate = Migrator.make({})

export const run = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const makeTable = sql`
    CREATE TABLE IF NOT EXISTS ${sql(table)} (
      migration_id bigint PRIMARY KEY,
      name text NOT NULL,
      created_at text NOT NULL DEFAULT (cast(current_timestamp AS text))
    )`
  const lock = sql.onDialectOrElse({
    pg: () => Effect.asVoid(sql`SELECT pg_advisory_xact_lock(${lockId})`),
    orElse: () => Effect.void
  })
  yield* lock.pipe(
    Effect.zipRight(makeTable),
    Effect.zipRight(migrate({ loader: Migrator.fromRecord(steps), table })),
    sql.withTransaction
  )
})
