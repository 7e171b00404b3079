/**
 * What a worker process runs: one engine behind a Unix socket whose path is the first argument. It tells its parent `{ready: true}`
 * once the socket listens, and ends with its parent. Standard output stays empty; what there is to say goes to stderr.
 *
 * With the arguments `--check cuda 0` it finds out instead whether that device can be computed on, tells its parent `{reason}`, null or
 * why not, and ends.
 */
import { rmSync } from "node:fs"
import { LocalDevice } from "@helixflow/schema/Device"
import { Worker } from "@helixflow/schema/Worker"
import { Effect, Schema } from "effect"
import type { LoadEngine } from "./Engine.ts"
import * as UnixSocket from "./UnixSocket.ts"
import { CHECK } from "./WorkerEntry.ts"
import * as WorkerServer from "./WorkerServer.ts"

const die = (message: string, cause?: unknown): never => {
  console.error(`worker ${process.pid}: ${message}`, ...(cause === undefined ? [] : [cause]))
  process.exit(1)
}

export interface WorkerParts {
  readonly loadEngine: LoadEngine
  /** Why nothing can be computed on a device; null where it can. Without it no device is asked for. */
  readonly whyNot?: (device: LocalDevice) => Promise<string | null>
}

/** Serves until the process ends. */
export const run = ({ loadEngine, whyNot }: WorkerParts): void => {
  const [path = die("the socket's path is missing"), kind, index] = process.argv.slice(2)
  const exit = () => process.exit(0)
  if (path === CHECK && whyNot !== undefined) {
    whyNot(Schema.decodeUnknownSync(LocalDevice)({ kind, index: Number(index) })).then(
      (reason) => process.send?.({ reason }, exit),
      (cause) => die("can't check:", cause)
    )
    return
  }

  // a parent that is gone can't read results; the terminal's Ctrl-C and a service manager's SIGTERM reach the whole group, but only
  // the parent decides: it hangs up when the worker is to end, and may have requests to finish until then
  process.once("disconnect", exit)
  process.on("SIGTERM", () => {})
  process.on("SIGINT", () => {})
  process.once("exit", () => rmSync(path, { force: true }))

  const behaviour = Effect.sync(() =>
    WorkerServer.make({ loadEngine, onBroken: (cause) => die("the engine is broken:", cause) })
  )

  const program = Effect.gen(function* () {
    yield* UnixSocket.host(Worker, behaviour, { name: "worker", path })
    // a parent that went before we listened to its going is not there to be told either
    yield* Effect.sync(() => {
      if (process.connected === false) exit()
      process.send?.({ ready: true }, (failure) => failure !== null && exit())
    })
    yield* Effect.never
  }).pipe(Effect.scoped)

  Effect.runPromise(program).catch((cause) => die("can't serve:", cause))
}
