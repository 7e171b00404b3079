import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"
import * as SqlClient from "@effect/sql/SqlClient"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as Storage from "../src/Storage.ts"
import { hasPostgres, onEachDatabase, postgresUrl } from "./databases.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const folder = temporaryFolder()

onEachDatabase("a table", (database) => {
  it.layer(database)((it) => {
    it.effect("gives back what was put in", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE things (name text PRIMARY KEY, n bigint, x double precision, data bytea)`
        const thing = { name: "ж", n: 2 ** 53 - 1, x: 0.1, data: Buffer.from([0, 1, 255]) }
        const empty = { name: "", n: null, x: null, data: null }
        yield* sql`INSERT INTO things ${sql.insert([thing, empty])}`
        expect(yield* sql`SELECT * FROM things ORDER BY n IS NULL`).toEqual([thing, empty])
        expect(yield* sql`SELECT sum(n) AS n, count(*) AS c FROM things`).toEqual([{ n: thing.n, c: 2 }])
      })
    )

    it.effect("takes no text with a NUL character", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const error = yield* Effect.flip(sql`INSERT INTO things (name) VALUES (${"a\0b"})`)
        expect(error._tag).toBe("SqlError")
      })
    )

    it.effect("undoes a transaction that fails", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const insert = sql`INSERT INTO things (name) VALUES ('x')`
        yield* Effect.flip(sql.withTransaction(Effect.zipRight(insert, Effect.fail("no"))))
        expect(yield* sql`SELECT * FROM things WHERE name = 'x'`).toEqual([])
      })
    )

    it.effect("removes the events of a session with it", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const session = {
          id: "a",
          tenant: "t",
          answer: "{}",
          request: "{}",
          prompt: Buffer.from([]),
          detached: 0,
          bytes: 0,
          created_at: 0,
          expires_at: 0
        }
        yield* sql`INSERT INTO sessions ${sql.insert(session)}`
        yield* sql`INSERT INTO session_events ${sql.insert({ session: "a", seq: 0, events: "[]" })}`
        yield* sql`DELETE FROM sessions`
        expect(yield* sql`SELECT * FROM session_events`).toEqual([])
      })
    )
  })
})

/** The steps that were taken, as the database remembers them. */
const steps = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT migration_id FROM helixflow_migrations`)

describe("a database file", () => {
  it.effect("is its owner's only, with the files beside it", () =>
    Effect.gen(function* () {
      const file = path.join(folder, "new", "private.db")
      yield* Effect.provide(
        Effect.sync(() => {
          const modes = fs
            .readdirSync(path.dirname(file))
            .map((name) => [name, fs.statSync(path.join(path.dirname(file), name)).mode & 0o777])
          expect(modes).toEqual(
            expect.arrayContaining([
              ["private.db", 0o600],
              ["private.db-wal", 0o600]
            ])
          )
          expect(modes.every(([, mode]) => mode === 0o600)).toBe(true)
        }),
        Storage.layerSqlite(file)
      )
      expect(fs.statSync(path.dirname(file)).mode & 0o777).toBe(0o700)
    })
  )

  it.effect("is brought to the newest schema once", () =>
    Effect.gen(function* () {
      const file = path.join(folder, "again.db")
      const first = yield* Effect.provide(steps, Storage.layerSqlite(file))
      expect(first.length).toBeGreaterThan(0)
      expect(yield* Effect.provide(steps, Storage.layerSqlite(file))).toEqual(first)
    })
  )

  it.live("is brought there by one of several processes that start together", () =>
    Effect.gen(function* () {
      const file = path.join(folder, "together.db")
      const program = `
        import { Effect } from "effect"
        import * as Storage from ${JSON.stringify(new URL("../src/Storage.ts", import.meta.url).href)}
        await Effect.runPromise(Effect.void.pipe(Effect.provide(Storage.layerSqlite(${JSON.stringify(file)}))))`
      const start = Effect.promise(() =>
        promisify(execFile)(process.execPath, [
          "--import=tsx",
          "--conditions=source",
          "--input-type=module",
          `--eval=${program}`
        ])
      )
      yield* Effect.all([start, start, start], { concurrency: "unbounded" })
      expect((yield* Effect.provide(steps, Storage.layerSqlite(file))).length).toBeGreaterThan(0)
    })
  )

  it.effect("that is none is refused with its path", () =>
    Effect.gen(function* () {
      const file = path.join(folder, "letter.txt")
      fs.writeFileSync(file, "Dear reader, this is not a database. ".repeat(100))
      const error = yield* Effect.flip(Layer.build(Storage.layerSqlite(file)))
      expect(error.message).toBe(`The database ${file} cannot be used: file is not a database`)
    }).pipe(Effect.scoped)
  )
})

describe("a PostgreSQL that is not there", () => {
  it.live("is named without its password", () =>
    Effect.gen(function* () {
      const url = Redacted.make("postgres://user:secret@127.0.0.1:1/none")
      const error = yield* Effect.flip(Layer.build(Storage.layerPostgres(url)))
      expect(error.message).toContain("The database of HELIX_DATABASE_URL cannot be used: connect ECONNREFUSED")
      expect(error.message).not.toContain("secret")
    }).pipe(Effect.scoped)
  )
})

describe.skipIf(!hasPostgres)("nodes that start together on an empty PostgreSQL", () => {
  it.live("take each step once", () =>
    Effect.gen(function* () {
      const url = Redacted.make(yield* postgresUrl)
      const nodes = Array.from({ length: 4 }, () => Effect.provide(steps, Layer.fresh(Storage.layerPostgres(url))))
      const [first, ...others] = yield* Effect.all(nodes, { concurrency: "unbounded" })
      expect(first?.length).toBeGreaterThan(0)
      for (const other of others) expect(other).toEqual(first)
    }).pipe(Effect.scoped)
  )
})
