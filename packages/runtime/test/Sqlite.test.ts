import { execFile } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { describe, expect, it } from "@effect/vitest"
import { Chunk, Context, Deferred, Effect, Exit, Fiber, Layer, Logger, Option, Scope, Stream } from "effect"
import * as Sqlite from "../src/Sqlite.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const folder = temporaryFolder()
let files = 0
const newFile = () => path.join(folder, `${++files}.db`)

const opened = (file: string, program?: string) =>
  Effect.map(Layer.build(Sqlite.layer(file, program)), Context.get(SqlClient.SqlClient))

/** An empty table in a file of its own. */
const withTable = (program?: string) =>
  Effect.tap(opened(newFile(), program), (sql) => sql`CREATE TABLE things (name text PRIMARY KEY)`)

const put = (sql: SqlClient.SqlClient, name: string) => sql`INSERT INTO things (name) VALUES (${name})`

const namesIn = (sql: SqlClient.SqlClient) =>
  Effect.map(sql<{ name: string }>`SELECT name FROM things ORDER BY name`, (rows) => rows.map(({ name }) => name))

const causeOf = <A, R>(failing: Effect.Effect<A, SqlError, R>) => Effect.map(Effect.flip(failing), ({ cause }) => cause)

/** A file with an empty table that one connection has locked, and another. */
const locked = Effect.gen(function* () {
  const file = newFile()
  const sql = yield* opened(file)
  const other = yield* opened(file)
  yield* sql`CREATE TABLE things (name text PRIMARY KEY)`
  yield* other`BEGIN IMMEDIATE`
  return { sql, other }
})

describe("a statement", () => {
  it.scopedLive("that waits for the lock of another connection holds up nobody", () =>
    Effect.gen(function* () {
      const { other, sql } = yield* locked
      const waiting = yield* Effect.fork(put(sql, "second"))
      // this timer, and with it the end of the transaction, would come too late if the process waited
      yield* Effect.sleep("20 millis")
      expect(Option.isNone(yield* Fiber.poll(waiting))).toBe(true)
      yield* put(other, "first")
      yield* other`COMMIT`
      yield* Fiber.join(waiting)
      expect(yield* namesIn(sql)).toEqual(["first", "second"])
    })
  )

  it.scoped("fails with the driver's code and words", () =>
    Effect.gen(function* () {
      const sql = yield* withTable()
      expect(yield* causeOf(sql`SELECT missing`)).toMatchObject({
        code: "SQLITE_ERROR",
        message: "no such column: missing"
      })
      yield* put(sql, "a")
      expect(yield* causeOf(put(sql, "a"))).toMatchObject({ message: "UNIQUE constraint failed: things.name" })
    })
  )

  it.scopedLive("fails as busy where the lock is not given back", () =>
    Effect.gen(function* () {
      const { other, sql } = yield* locked
      expect(yield* causeOf(put(sql, "a"))).toMatchObject({ code: "SQLITE_BUSY" })
      expect(yield* causeOf(sql.withTransaction(put(sql, "a")))).toMatchObject({ code: "SQLITE_BUSY" })
      yield* other`COMMIT`
      yield* sql.withTransaction(put(sql, "b"))
      expect(yield* namesIn(sql)).toEqual(["b"])
    })
  )

  it.scoped("gives rows by name, by position, and as a stream", () =>
    Effect.gen(function* () {
      const sql = yield* withTable()
      const two = sql`SELECT 1 AS n, ${Buffer.from("a")} AS n`
      expect(yield* two).toEqual([{ n: Buffer.from("a") }])
      expect(yield* two.values).toEqual([[1, Buffer.from("a")]])
      expect(Chunk.toReadonlyArray(yield* Stream.runCollect(two.stream))).toEqual([{ n: Buffer.from("a") }])
      expect(yield* two).toEqual([{ n: Buffer.from("a") }])
    })
  )

  it.scopedLive("that was sent is done before the database closes", () =>
    Effect.gen(function* () {
      const file = newFile()
      const scope = yield* Scope.make()
      const sql = yield* Scope.extend(opened(file), scope)
      const other = yield* opened(file)
      yield* sql`CREATE TABLE things (name text PRIMARY KEY)`
      yield* other`BEGIN IMMEDIATE`
      for (const name of ["a", "b"]) yield* Effect.fork(put(sql, name))
      yield* Effect.sleep("1 millis")
      const closed = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* Effect.sleep("1 millis")
      yield* other`COMMIT`
      yield* Fiber.join(closed)
      expect(yield* namesIn(other)).toEqual(["a", "b"])
    })
  )
})

describe("a transaction", () => {
  it.scoped("has the database to itself: nothing that others do at the same time is undone with it", () =>
    Effect.gen(function* () {
      const sql = yield* withTable()
      const names = Array.from({ length: 50 }, (_, n) => String(n).padStart(2, "0"))
      const undone = (name: string) =>
        put(sql, `undone ${name}`).pipe(
          Effect.zipRight(Effect.yieldNow()),
          Effect.zipRight(put(sql, `undone too ${name}`)),
          Effect.zipRight(Effect.fail("no")),
          sql.withTransaction,
          Effect.flip
        )
      const alone = (name: string) => Effect.zipRight(Effect.yieldNow(), put(sql, name))
      yield* Effect.forEach(names, (name) => Effect.all([undone(name), alone(name)], { concurrency: 2 }), {
        concurrency: "unbounded"
      })
      expect(yield* namesIn(sql)).toEqual(names)
    })
  )

  it.scoped("that is interrupted is undone, and lets others go on", () =>
    Effect.gen(function* () {
      const sql = yield* withTable()
      const begun = yield* Deferred.make<void>()
      const fiber = yield* put(sql, "a").pipe(
        Effect.zipRight(Deferred.succeed(begun, undefined)),
        Effect.zipRight(Effect.never),
        sql.withTransaction,
        Effect.fork
      )
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      yield* sql.withTransaction(put(sql, "b"))
      expect(yield* namesIn(sql)).toEqual(["b"])
    })
  )

  it.scoped("that SQLite itself has ended fails with what was wrong", () =>
    Effect.gen(function* () {
      const sql = yield* withTable()
      const twice = Effect.zipRight(put(sql, "a"), sql`INSERT OR ROLLBACK INTO things (name) VALUES ('a')`)
      expect(yield* causeOf(sql.withTransaction(twice))).toMatchObject({
        message: "UNIQUE constraint failed: things.name"
      })
      expect(yield* namesIn(sql)).toEqual([])
    })
  )

  it.scoped("is undone to where the one within it began", () =>
    Effect.gen(function* () {
      const sql = yield* withTable()
      const inner = Effect.flip(sql.withTransaction(Effect.zipRight(put(sql, "b"), Effect.fail("no"))))
      yield* sql.withTransaction(Effect.all([put(sql, "a"), inner, put(sql, "c")]))
      expect(yield* namesIn(sql)).toEqual(["a", "c"])
    })
  )
})

describe("a thread that ends", () => {
  const mortal = fileURLToPath(new URL("mortalSqlite.mjs", import.meta.url))

  it.scoped("fails what waits for it and its transaction; another goes on with what was committed", () =>
    Effect.gen(function* () {
      const sql = yield* withTable(mortal)
      yield* put(sql, "a")
      const cause = yield* causeOf(sql.withTransaction(Effect.zipRight(put(sql, "b"), sql`END`)))
      expect(cause).toMatchObject({ message: "the thread of the database ended with code 1" })
      yield* sql.withTransaction(put(sql, "c"))
      expect(yield* namesIn(sql)).toEqual(["a", "c"])
      const exits = yield* Effect.all([sql`END`, put(sql, "d")].map(Effect.exit), { concurrency: "unbounded" })
      expect(exits.map(Exit.isFailure)).toEqual([true, true])
      yield* put(sql, "e")
      expect(yield* namesIn(sql)).toEqual(["a", "c", "e"])
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))
  )

  it.scoped("before the database is open fails to open it", () =>
    Effect.gen(function* () {
      const cause = yield* causeOf(opened(newFile(), path.join(folder, "none.mjs")))
      expect(String(cause)).toContain("Cannot find module")
    })
  )
})

describe("a database that is not closed", () => {
  /** Runs a program that has `sql`, the client of a new file. */
  const outcomeOf = (program: string) =>
    Effect.promise(async () => {
      const source = `
        import { Context, Effect, Layer, Scope } from "effect"
        import * as SqlClient from "@effect/sql/SqlClient"
        import * as Sqlite from ${JSON.stringify(new URL("../src/Sqlite.ts", import.meta.url).href)}
        const scope = await Effect.runPromise(Scope.make())
        const context = await Effect.runPromise(Layer.buildWithScope(Sqlite.layer(${JSON.stringify(newFile())}), scope))
        const sql = Context.get(context, SqlClient.SqlClient)
        ${program}`
      const args = ["--import=tsx", "--conditions=source", "--input-type=module", `--eval=${source}`]
      const child = execFile(process.execPath, args)
      let stderr = ""
      child.stderr?.on("data", (text) => {
        stderr += text
      })
      const [code, signal] = await once(child, "exit")
      return { code, signal, stderr }
    })
  const ended = (code: number) => ({ code, signal: null, stderr: "" })

  it.live("lets the process end", () =>
    Effect.gen(function* () {
      expect(yield* outcomeOf("process.exitCode = 3")).toEqual(ended(3))
    })
  )

  it.live("lets a process that is in the middle of its statements end with its own code", () =>
    Effect.gen(function* () {
      const program = `
        const many = sql\`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000) SELECT i FROM n\`
        const first = Effect.runPromise(many)
        for (let n = 0; n < 20; n++) Effect.runFork(many)
        await first
        process.exit(3)`
      expect(yield* outcomeOf(program)).toEqual(ended(3))
    })
  )
})
