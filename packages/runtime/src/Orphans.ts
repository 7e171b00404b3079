/**
 * Workers that outlive their server. A worker ends when its server does, since the channel between them closes; one that is frozen
 * can't. So each is written down in the data folder while it runs, and a server that starts kills those whose server is gone.
 *
 * A pid is used again sooner or later, so a process is known by pid, start and boot: what is not surely the worker is left alone.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { Effect, Either, Option, Schema, type Scope } from "effect"
import * as ProcessState from "./ProcessState.ts"

const Process = Schema.Struct({ pid: Schema.Int, startTicks: Schema.Int })

const WorkerRecord = Schema.parseJson(
  Schema.Struct({
    worker: Process,
    server: Process,
    boot: Schema.String,
    /** The server's folder of sockets. */
    sockets: Schema.String
  })
)

export interface RecordOptions {
  /** Where the records are. */
  readonly folder: string
  readonly sockets: string
}

/** Writes a worker down for the current scope, which must close when it is gone. Where nothing tells processes apart, nothing is. */
export const record = ({ folder, sockets }: RecordOptions, pid: number): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try(() => {
      const [worker, server, boot] = [identify(pid), identify(process.pid), bootId()]
      if (worker === undefined || server === undefined || boot === undefined) return Option.none<string>()
      const file = path.join(folder, String(pid))
      fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
      fs.writeFileSync(file, Schema.encodeSync(WorkerRecord)({ worker, server, boot, sockets }), { mode: 0o600 })
      return Option.some(file)
    }).pipe(
      Effect.catchAll(({ message }) =>
        Effect.as(Effect.logWarning(`the worker ${pid} could not be written down: ${message}`), Option.none<string>())
      )
    ),
    Option.match({
      onNone: () => Effect.void,
      onSome: (file) => Effect.sync(() => fs.rmSync(file, { force: true }))
    })
  ).pipe(Effect.asVoid)

/** Kills the workers of servers that are gone, and removes what these have left; gives the pids. */
export const sweep = (folder: string): Effect.Effect<ReadonlyArray<number>> =>
  Effect.sync(() => (fs.existsSync(folder) ? fs.readdirSync(folder) : [])).pipe(
    Effect.flatMap((names) => Effect.forEach(names, (name) => sweepOne(path.join(folder, name)))),
    Effect.map((pids) => pids.flat())
  )

const sweepOne = (file: string) =>
  Effect.gen(function* () {
    const text = Either.try(() => fs.readFileSync(file, "utf8"))
    const known = Either.flatMap(text, Schema.decodeUnknownEither(WorkerRecord))
    if (Either.isLeft(known)) {
      fs.rmSync(file, { force: true })
      return []
    }
    const { boot, server, sockets, worker } = known.right
    const sameBoot = boot === bootId()
    if (sameBoot && isRunning(server)) return []
    const orphaned = sameBoot && isRunning(worker)
    if (orphaned) {
      process.kill(worker.pid, "SIGKILL")
      yield* Effect.logWarning(`killed the worker ${worker.pid}, which an earlier server had left behind`)
    }
    fs.rmSync(sockets, { recursive: true, force: true })
    fs.rmSync(file, { force: true })
    return orphaned ? [worker.pid] : []
  }).pipe(
    // it ended by itself meanwhile, or is not ours to end
    Effect.catchAllDefect((defect) =>
      Effect.as(Effect.logWarning("a worker's record could not be followed", defect), [])
    )
  )

const identify = (pid: number): typeof Process.Type | undefined => {
  const state = ProcessState.read(pid)
  return state && { pid, startTicks: state.startTicks }
}

const isRunning = ({ pid, startTicks }: typeof Process.Type): boolean => identify(pid)?.startTicks === startTicks

const bootId = (): string | undefined => {
  try {
    return fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
  } catch {
    return undefined
  }
}
