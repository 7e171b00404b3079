/**
 * Keeps SQLite's write-ahead log short from a thread of its own. A checkpoint copies what was committed from the log into the database and
 * waits for the disk; the commit that makes one, every four megabytes, holds up all streams meanwhile (https://www.sqlite.org/wal.html).
 */
import { createRequire } from "node:module"
import { Worker } from "node:worker_threads"
import * as SqlClient from "@effect/sql/SqlClient"
import { Deferred, Effect, Layer } from "effect"

/** Between checkpoints. One with nothing to do costs a few microseconds. */
const intervalMillis = 500

/** Pages of 4 KiB in the log after which a commit makes the checkpoint itself all the same, because the thread does not keep up. */
const mostPages = 16_384

/** Another connection to the same file; what is busy is done the next time. */
const program = `
const { parentPort, workerData: { driver, file, intervalMillis } } = require("node:worker_threads")
const database = new (require(driver))(file)
setInterval(() => {
  try {
    database.pragma("wal_checkpoint(PASSIVE)")
  } catch {}
}, intervalMillis)
parentPort.once("message", () => {
  database.close()
  process.exit()
})
parentPort.postMessage("open")
`

/** For the database of this file, for as long as its scope is open. Nobody waits for the thread to start. */
export const layer = (file: string): Layer.Layer<never, never, SqlClient.SqlClient> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const opened = yield* Deferred.make<void, Error>()
      yield* Effect.acquireRelease(start(file, opened), stop)
      const leaveToThread = Effect.zipRight(
        Deferred.await(opened),
        sql.unsafe(`PRAGMA wal_autocheckpoint = ${mostPages}`)
      )
      const warned = Effect.catchAll(leaveToThread, (error) =>
        Effect.logWarning("commits wait for the checkpoints of the database, which a thread could not take over", error)
      )
      yield* Effect.forkScoped(warned)
    })
  )

const start = (file: string, opened: Deferred.Deferred<void, Error>) =>
  Effect.sync(() => {
    const driver = createRequire(import.meta.url).resolve("better-sqlite3")
    const thread = new Worker(program, {
      eval: true,
      // the flags of this process are for its own program
      execArgv: [],
      workerData: { driver, file, intervalMillis }
    })
    thread.unref()
    // what fails there is not to end the process
    thread.on("error", (error) => Deferred.unsafeDone(opened, Effect.fail(error)))
    thread.once("message", () => Deferred.unsafeDone(opened, Effect.void))
    return thread
  })

/** Its identity when it has ended. */
const ended = -1

const stop = (thread: Worker) =>
  Effect.async<void>((resume) => {
    if (thread.threadId === ended) return resume(Effect.void)
    thread.once("exit", () => resume(Effect.void))
    thread.ref()
    thread.postMessage("stop")
  })
