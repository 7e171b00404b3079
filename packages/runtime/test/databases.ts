/** The databases that everything stored must work on, each empty and a test file's own. */
import { randomBytes } from "node:crypto"
import * as os from "node:os"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import type { StorageUnavailable } from "@helixflow/schema/Errors"
import { Context, Effect, Layer, Redacted } from "effect"
import { describe } from "vitest"
import * as Storage from "../src/Storage.ts"

type Database = Layer.Layer<SqlClient.SqlClient, StorageUnavailable>

const env = (name: string, fallback: string) => encodeURIComponent(process.env[name] ?? fallback)

/** PostgreSQL on its usual port, unless libpq's own variables say otherwise. */
const server = `postgres://${env("PGUSER", os.userInfo().username)}:${env("PGPASSWORD", "")}@${env("PGHOST", "127.0.0.1")}:${env("PGPORT", "5432")}/${env("PGDATABASE", "postgres")}`

const isThere = (url: string) =>
  Effect.runPromise(
    Layer.build(PgClient.layer({ url: Redacted.make(url), connectTimeout: 2000 })).pipe(
      Effect.scoped,
      Effect.as(true),
      Effect.orElseSucceed(() => false)
    )
  )

/** The URL of an empty schema of PostgreSQL, which is dropped with the scope. */
export const postgresUrl = Effect.gen(function* () {
  const name = `helixflow_test_${randomBytes(6).toString("hex")}`
  const sql = Context.get(yield* Layer.build(PgClient.layer({ url: Redacted.make(server) })), PgClient.PgClient)
  yield* Effect.acquireRelease(sql`CREATE SCHEMA ${sql(name)}`, () =>
    Effect.orDie(sql`DROP SCHEMA ${sql(name)} CASCADE`)
  )
  return `${server}?options=${encodeURIComponent(`-c search_path=${name}`)}`
}).pipe(Effect.orDie)

const postgres: Database = Layer.unwrapScoped(
  Effect.map(postgresUrl, (url) => Storage.layerPostgres(Redacted.make(url)))
)

const required = process.env["HELIX_REQUIRE_SERVICES"] === "1"
export const hasPostgres = required || (await isThere(server))

/** Runs a suite on each database: PostgreSQL's is skipped by name where there is none. */
export const onEachDatabase = (name: string, suite: (database: Database) => void): void => {
  describe(`${name} in SQLite`, () => suite(Storage.layerMemory))
  describe.skipIf(!hasPostgres)(`${name} in PostgreSQL`, () => suite(postgres))
}
