/** The server that `helixflow chaos` harms: a child process with a data folder of its own, and what the system tells of it. */
import { type ChildProcess, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { createServer } from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import * as ProcessState from "@helixflow/runtime/ProcessState"
import { Effect, Option, Redacted, Schedule, type Scope } from "effect"
import type { Kind } from "./ChaosPlan.ts"
import { type CommandFailure, failed } from "./CommandFailure.ts"
import { descriptorsBut } from "./Descriptors.ts"

export interface ChaosServer {
  readonly pid: number
  readonly url: string
  readonly key: Redacted.Redacted
  /** What it serves. */
  readonly models: ReadonlyArray<string>
  /** Whether there is a model for embeddings among them. */
  readonly embedder: boolean
  /** Pids of the workers that are there now. */
  readonly workers: () => ReadonlyArray<number>
  readonly zombies: () => number
  /** Those of its process, but for connections that a client has open. */
  readonly descriptors: () => number
  readonly residentBytes: () => number
  /** Null while it runs. */
  readonly ended: () => string | null
}

export interface ChaosServerOptions {
  /** The folder of the model that text is generated with. */
  readonly model: string
  /** That of the one for embeddings, if any. */
  readonly embedder: Option.Option<string>
  /** Each gets a device of its own. */
  readonly workers: number
  /** Sequences that a worker computes at once. */
  readonly slots: number
  /** Where the server's words go. */
  readonly log: string
}

/** The names that the models are served under; none that a server would load unasked. */
const modelName = "chaos"
const embedderName = "chaos-embed"

export const modelFor = (kind: Kind): string => (kind === "embeddings" ? embedderName : modelName)

const freePort = Effect.async<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(address !== null && typeof address === "object" ? address.port : 0)))
  })
})

/** The model as it is, but for how many replicas it may have. */
const linkModel = (from: string, to: string, settings: Record<string, unknown>): void => {
  fs.mkdirSync(to, { recursive: true })
  for (const name of fs.readdirSync(from)) {
    if (name !== "helixflow.json") fs.symlinkSync(path.join(from, name), path.join(to, name))
  }
  const own = path.join(from, "helixflow.json")
  const before: unknown = fs.existsSync(own) ? JSON.parse(fs.readFileSync(own, "utf8")) : {}
  fs.writeFileSync(path.join(to, "helixflow.json"), JSON.stringify(Object.assign({}, before, settings)))
}

/** Starts the server and waits until it answers. It is killed when the scope closes. */
export const start = (options: ChaosServerOptions): Effect.Effect<ChaosServer, CommandFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "helixflow-chaos-"))),
      (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
    )
    const settings = { replicas: options.workers, slots: options.slots, policy: "least-loaded", aliases: [] }
    linkModel(options.model, path.join(folder, "models", modelName), settings)
    const { embedder } = options
    if (Option.isSome(embedder)) {
      linkModel(embedder.value, path.join(folder, "models", embedderName), { replicas: options.workers, aliases: [] })
    }
    const port = yield* freePort
    const key = randomBytes(24).toString("base64url")
    const env = {
      ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("HELIX_"))),
      HELIX_HTTP_PORT: String(port),
      HELIX_HTTPS_PORT: "0",
      HELIX_DATA_DIR: path.join(folder, "data"),
      HELIX_MODELS_DIR: path.join(folder, "models"),
      HELIX_BOOTSTRAP_KEY: key,
      HELIX_DEVICES: Array.from({ length: options.workers }, (_, n) => `cpu:${n}`).join(",")
    }
    const log = fs.openSync(options.log, "a")
    const program = process.argv[1] ?? ""
    // what the garbage collector has not looked at yet, having no reason to, must not be taken for growth
    const heapLimit = `--max-old-space-size=${128 + options.workers * options.slots}`
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(process.execPath, [heapLimit, program, "serve"], { env, stdio: ["ignore", log, log] })),
      stop
    )
    fs.closeSync(log)
    const url = `http://127.0.0.1:${port}`
    const ended = () => child.signalCode ?? (child.exitCode === null ? null : `exit code ${child.exitCode}`)
    yield* Effect.tryPromise(() => fetch(`${url}/readyz`)).pipe(
      Effect.filterOrFail(({ status }) => status === 200),
      Effect.retry({ schedule: Schedule.spaced("100 millis"), while: () => ended() === null }),
      Effect.timeout("60 seconds"),
      Effect.mapError(() => failed(`The server did not start; its words are in ${options.log}.`))
    )
    const pid = child.pid ?? 0
    return {
      pid,
      url,
      key: Redacted.make(key),
      models: Option.isSome(embedder) ? [modelName, embedderName] : [modelName],
      embedder: Option.isSome(embedder),
      workers: () => childrenOf(pid).filter((worker) => ProcessState.read(worker) !== undefined),
      zombies: () => childrenOf(pid).filter((worker) => ProcessState.read(worker) === undefined).length,
      descriptors: () => descriptorsBut(pid, port),
      residentBytes: () => residentBytes(pid),
      ended
    }
  })

const stop = (child: ChildProcess) =>
  Effect.async<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

/** Zombies included. */
const childrenOf = (pid: number): ReadonlyArray<number> =>
  fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => parentOf(child) === pid)

const parentOf = (pid: number): number | undefined => {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])
  } catch {
    return undefined
  }
}

const residentBytes = (pid: number): number => {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8")) ?? []
  return Number(kilobytes ?? 0) * 1_024
}
