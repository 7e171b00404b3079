/** The thread of a database, which ends when it is asked to. */
import { parentPort } from "node:worker_threads"

parentPort.on("message", (statement) => {
  if (statement?.sql === "END") process.exit(1)
})

await import("../bin/sqlite.mjs")
