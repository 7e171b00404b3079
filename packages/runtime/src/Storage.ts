/**
 * The database: SQLite in the data folder, or PostgreSQL where the configuration names one. What runs on it is written once, in the
 * SQL that both understand:
 *
 * - columns are `text`, `bigint`, `double precision` or `bytea`; times are milliseconds since 1970, truth values 0 and 1;
 * - numbers come back as JavaScript numbers, binary data as `Buffer`; text has no NUL characters.
 *
 * The repository suite (`test/storageSuite.ts`) runs on both.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import { StorageUnavailable } from "@helixflow/schema/Errors"
import { Duration, Effect, Layer, Option, type Redacted } from "effect"
import * as Migrations from "./Migrations.ts"
import { RuntimeConfig } from "./RuntimeConfig.ts"
import * as Sqlite from "./Sqlite.ts"

/** Owner only: prompts and digests of keys are in it. */
const fileMode = 0o600
const folderMode = 0o700

const connectTimeout = Duration.seconds(5)

/** Most connections to PostgreSQL. */
const poolSize = 10

/** What the cause says; a driver's messages name hosts and users, never passwords. */
const reasonOf = (error: unknown): string => {
  if (typeof error === "object" && error !== null && "cause" in error && error.cause !== undefined) {
    return reasonOf(error.cause)
  }
  // node names every address it tried in the parts only
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  return error instanceof Error ? error.message : String(error)
}

const unusable = (what: string) => (error: unknown) =>
  new StorageUnavailable({ reason: `${what} cannot be used: ${reasonOf(error)}` })

/** Brings the database to the newest schema before anyone uses it. */
const migrated = <E>(client: Layer.Layer<SqlClient.SqlClient, E>, what: string) =>
  Layer.tap(client, (context) => Effect.provide(Migrations.run, context)).pipe(Layer.mapError(unusable(what)))

/** A database in memory, gone with its scope: for tests, and for programs that keep nothing. */
export const layerMemory: Layer.Layer<SqlClient.SqlClient, StorageUnavailable> = migrated(
  Sqlite.layer(Sqlite.inMemory),
  "The database in memory"
)

/** A file, made with its folder where it is missing. Several processes of one machine may share it. */
export const layerSqlite = (file: string): Layer.Layer<SqlClient.SqlClient, StorageUnavailable> => {
  const prepare = Effect.try(() => {
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: folderMode })
    fs.closeSync(fs.openSync(file, "a", fileMode))
    // SQLite gives the files beside it the mode of this one
    fs.chmodSync(file, fileMode)
  })
  return migrated(Layer.unwrapEffect(Effect.as(prepare, Sqlite.layer(file))), `The database ${file}`)
}

/** Types of PostgreSQL that are numbers, by their object ids: int8, int2, int4, float4, float8, numeric. */
const numeric: ReadonlySet<number> = new Set([20, 21, 23, 700, 701, 1700])
const bytea = 17

const parser = (type: number): ((text: string) => unknown) => {
  if (numeric.has(type)) return Number
  // PostgreSQL writes it as \x and hexadecimal digits
  return type === bytea ? (text) => Buffer.from(text.slice(2), "hex") : (text) => text
}

/** A pool of connections, opened as they are needed. */
export const layerPostgres = (url: Redacted.Redacted): Layer.Layer<SqlClient.SqlClient, StorageUnavailable> =>
  migrated(
    PgClient.layer({
      url,
      connectTimeout,
      maxConnections: poolSize,
      applicationName: "helixflow",
      types: { getTypeParser: parser }
    }),
    "The database of HELIX_DATABASE_URL"
  )

/** The one that the configuration names. */
export const layer: Layer.Layer<SqlClient.SqlClient, StorageUnavailable, RuntimeConfig> = Layer.unwrapEffect(
  Effect.map(RuntimeConfig, ({ dataDir, databaseUrl }) =>
    Option.match(databaseUrl, {
      onNone: () => layerSqlite(path.join(dataDir, "helixflow.db")),
      onSome: layerPostgres
    })
  )
)
