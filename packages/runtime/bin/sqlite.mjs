/**
 * The thread of a SQLite database: runs statements in the order in which they come, and answers each with a message, `{ rows }` or
 * `{ error }`. The first answer says whether the database is open. The message `null` closes it. Asked by `src/Sqlite.ts`.
 *
 * The driver brings the whole process down where its thread is stopped in the middle of a call. So the thread says in memory that it shares
 * with its asker whether it is in one, and begins no more of them once that says that the process ends.
 */
import { parentPort, workerData } from "node:worker_threads"
import { DatabaseSync } from "@photostructure/sqlite"

/** How long a statement waits for another process's lock, in milliseconds. */
const timeout = 1_000

/** Statements that are kept compiled. */
const mostPrepared = 200

/** The driver's `all` says what was wrong, but not with which code. */
const busy = "database is locked"

/** The first is 1 while a call of the driver runs, the second once the process ends. */
const state = new Int32Array(workerData.state)

const open = () => {
  const opened = new DatabaseSync(workerData.file, { timeout })
  // the log keeps all that was committed when the process dies; a full sync would guard against the machine's death too, at 20 times the price
  opened.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
  return opened
}

/** By their text, the one that was used last at the end. */
const prepared = new Map()

const prepare = (database, sql) => {
  const statement = prepared.get(sql) ?? database.prepare(sql)
  prepared.delete(sql)
  prepared.set(sql, statement)
  if (prepared.size > mostPrepared) prepared.delete(prepared.keys().next().value)
  return statement
}

const run = (database, { arrays, params, sql }) => {
  // SQLite itself ends a transaction after some errors
  if (sql === "ROLLBACK" && !database.isTransaction) return []
  // the driver would cut it off there; PostgreSQL refuses it too
  if (params.some((value) => typeof value === "string" && value.includes("\0")))
    throw new Error("text with a NUL in it")
  const statement = prepare(database, sql)
  statement.setReturnArrays(arrays)
  // the first argument would be named parameters if it were an object
  return statement.all({}, ...params)
}

const answer = (rows) => {
  try {
    parentPort.postMessage({ rows: rows() })
  } catch ({ code, message, sqliteCodeName }) {
    parentPort.postMessage({ error: { message, code: message === busy ? "SQLITE_BUSY" : (sqliteCodeName ?? code) } })
  }
}

const call = (run) => {
  Atomics.store(state, 0, 1)
  if (Atomics.load(state, 1) === 0) run()
  Atomics.store(state, 0, 0)
  Atomics.notify(state, 0)
}

let database
call(() =>
  answer(() => {
    database = open()
    return []
  })
)

if (database !== undefined) {
  parentPort.on("message", (statement) => {
    if (statement !== null) return call(() => answer(() => run(database, statement)))
    call(() => database.close())
    parentPort.close()
  })
}
