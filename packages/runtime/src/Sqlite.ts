/**
 * SQLite as a `SqlClient` that never holds up the event loop: the statements of a database run in a thread of its own
 * (`../bin/sqlite.mjs`), one after the other in the order in which they were sent, so a commit that waits for the disk holds up nothing but
 * other statements.
 *
 * - Statements are sent without waiting for each other, except that a transaction has the thread to itself from its beginning to its end.
 * - What is interrupted was sent all the same, and is done; an interrupted transaction is rolled back.
 * - A thread that ends fails what waits for it. The next statement or transaction starts another on the same file.
 * - Numbers come back as JavaScript numbers, and fail where they are none (above 2^53); binary data as `Buffer`.
 */
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import { makeCompilerSqlite } from "@effect/sql/Statement"
import { Cause, Deferred, Effect, Exit, FiberId, Layer, Option, Schedule, Scope, Stream } from "effect"
import { installRoot } from "./InstallRoot.ts"

/** In memory, and gone with its scope. */
export const inMemory = ":memory:"

/** The program of the thread. */
const threadProgram = (from: string = import.meta.url): string =>
  Option.match(installRoot(from), {
    onNone: () => fileURLToPath(new URL("../bin/sqlite.mjs", from)),
    onSome: (root) => join(root, "packages", "runtime", "bin", "sqlite.mjs")
  })

interface Statement {
  readonly sql: string
  readonly params: ReadonlyArray<unknown>
  /** Rows as arrays instead of objects. */
  readonly arrays: boolean
}

/** By the names of the columns, or by their positions. */
type Row = Record<string, unknown>

type Answer =
  | { readonly rows: ReadonlyArray<Row>; readonly error?: never }
  | { readonly error: { readonly message: string; readonly code: string } }

interface Thread {
  /** Why it has ended, if it has. */
  readonly end: () => SqlError | undefined
  /** Sends it, and gives what waits for the answer. */
  readonly ask: (statement: Statement) => Effect.Effect<ReadonlyArray<Row>, SqlError>
}

/** Messages bring bytes as plain arrays. */
const withBuffers = (row: Row): Row => {
  for (const column in row) {
    const value = row[column]
    if (value instanceof Uint8Array) row[column] = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  }
  return row
}

const failed = (cause: unknown) => new SqlError({ cause, message: "Failed to execute statement" })

const resultOf = (answer: Answer) =>
  answer.error === undefined
    ? Exit.succeed(answer.rows.map(withBuffers))
    : Exit.fail(failed(Object.assign(new Error(answer.error.message), { code: answer.error.code })))

/** Whether another process or connection had the file locked for longer than a statement waits. */
const isBusy = ({ cause }: SqlError): boolean =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" && cause.code.startsWith("SQLITE_BUSY")

/** Another process may be opening the same file at this moment: SQLite says so at once where it will not wait. */
const patiently = Schedule.intersect(Schedule.spaced("50 millis"), Schedule.recurs(100))

/** How long a process that ends waits for a call of the driver, in milliseconds. */
const longestCall = 5_000

/** A thread that has the database open, and closes it when the scope ends and all that was sent is done. */
const open = (file: string, program: string): Effect.Effect<Thread, SqlError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => start(file, program)),
    ({ close }) => close
  ).pipe(
    Effect.tap(({ opened }) => opened),
    Effect.retry(Schedule.whileInput(patiently, isBusy))
  )

const start = (file: string, program: string) => {
  /** The first is 1 while a call of the driver runs, the second once the process ends. */
  const state = new Int32Array(new SharedArrayBuffer(8))
  // the flags of this process are for its own program
  const thread = new Worker(program, { execArgv: [], workerData: { file, state: state.buffer } })
  const waiting: Array<Deferred.Deferred<ReadonlyArray<Row>, SqlError>> = []
  let failure: unknown
  let end: SqlError | undefined

  /** The process goes on for as long as something waits. */
  const wait = () => {
    const answer = Deferred.unsafeMake<ReadonlyArray<Row>, SqlError>(FiberId.none)
    if (waiting.push(answer) === 1) thread.ref()
    return Deferred.await(answer)
  }

  const answered = (exit: Exit.Exit<ReadonlyArray<Row>, SqlError>) => {
    const first = waiting.shift()
    if (waiting.length === 0) thread.unref()
    if (first !== undefined) Deferred.unsafeDone(first, exit)
  }

  /** A process that ends stops its threads, and this one must not be in the middle of a call then. */
  const whenProcessEnds = () => {
    Atomics.store(state, 1, 1)
    Atomics.wait(state, 0, 1, longestCall)
  }

  process.on("exit", whenProcessEnds)
  thread.on("message", (answer: Answer) => answered(resultOf(answer)))
  thread.on("messageerror", (error) => answered(Exit.fail(failed(error))))
  thread.on("error", (error) => {
    failure = error
  })
  thread.once("exit", (code) => {
    process.off("exit", whenProcessEnds)
    end = failed(failure ?? new Error(`the thread of the database ended with code ${code}`))
    for (const answer of waiting.splice(0)) Deferred.unsafeDone(answer, Exit.fail(end))
  })

  const ask = (statement: Statement) => {
    if (end !== undefined) return Effect.fail(end)
    thread.postMessage(statement)
    return wait()
  }

  const close = Effect.async<void>((resume) => {
    if (end !== undefined) return resume(Effect.void)
    thread.once("exit", () => resume(Effect.void))
    thread.ref()
    thread.postMessage(null)
  })

  return { end: () => end, ask, close, opened: wait() }
}

const connectionOf = (ask: Thread["ask"]): Connection => {
  const execute: Connection["execute"] = (sql, params, transform) => {
    const rows = Effect.suspend(() => ask({ sql, params, arrays: false }))
    // rows are objects unless they are asked for as arrays
    return transform === undefined ? rows : Effect.map(rows, (all) => transform(all))
  }
  return {
    execute,
    executeUnprepared: execute,
    executeRaw: (sql, params) => execute(sql, params, undefined),
    executeValues: (sql, params) =>
      Effect.map(
        Effect.suspend(() => ask({ sql, params, arrays: true })),
        (rows) => rows.map((row) => Object.values(row))
      ),
    executeStream: (sql, params, transform) => Stream.fromIterableEffect(execute(sql, params, transform))
  }
}

/** The connection of a transaction, which ends with its thread: then nothing is left to roll back. */
const ofTransaction = ({ ask, end }: Thread): Connection =>
  connectionOf((statement) =>
    statement.sql === "ROLLBACK" && end() !== undefined ? Effect.succeed([]) : ask(statement)
  )

/** The database of a file, which is made where it is missing. Several processes of one machine may share it. */
export const layer = (file: string, program: string = threadProgram()): Layer.Layer<SqlClient.SqlClient, SqlError> =>
  Layer.scoped(
    SqlClient.SqlClient,
    Effect.gen(function* () {
      const scope = yield* Effect.scope
      const turns = yield* Effect.makeSemaphore(1)
      let thread = yield* open(file, program)

      const anew = (end: SqlError) =>
        Effect.logError("the thread of the database has ended: another is started", Cause.fail(end)).pipe(
          Effect.zipRight(Scope.extend(open(file, program), scope)),
          Effect.tap((opened) => {
            thread = opened
          })
        )
      const current = Effect.suspend(() => {
        const end = thread.end()
        return end === undefined ? Effect.succeed(thread) : anew(end)
      })

      /** What is sent in between would become part of a transaction. */
      const outside = connectionOf((statement) =>
        Effect.flatten(turns.withPermits(1)(Effect.map(current, ({ ask }) => ask(statement))))
      )
      const inside = Effect.uninterruptibleMask((restore) =>
        restore(turns.take(1)).pipe(
          Effect.zipRight(Effect.onError(restore(current), () => turns.release(1))),
          Effect.tap(() => Effect.addFinalizer(() => turns.release(1))),
          Effect.map(ofTransaction)
        )
      )

      return yield* SqlClient.make({
        acquirer: Effect.succeed(outside),
        transactionAcquirer: inside,
        // one that reads first would fail where another process writes before it does
        beginTransaction: "BEGIN IMMEDIATE",
        compiler: makeCompilerSqlite(),
        spanAttributes: [["db.system.name", "sqlite"]]
      })
    })
  ).pipe(Layer.provide(Reactivity.layer))
