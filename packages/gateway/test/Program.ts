/** The program itself, as a user starts it: processes of `helixflow`, and a server among them. */
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { FileSystem } from "@effect/platform"
import { writeTinyChatModel, writeTinyEmbeddingModel } from "@helixflow/runtime/TestModels"
import { Effect, type Scope } from "effect"

const program = fileURLToPath(new URL("../bin/helixflow.mjs", import.meta.url))

/** Those of the variables that this process has are not passed on. */
const withoutSettings = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("HELIX_")))

export type Environment = Readonly<Record<string, string>>

interface Running {
  readonly child: ChildProcess
  readonly stdout: () => string
  readonly stderr: () => string
  /** The exit code; a signal that ended it, by name. */
  readonly ended: Promise<number | NodeJS.Signals>
}

const start = (args: ReadonlyArray<string>, env: Environment, stdin: "ignore" | "pipe"): Running => {
  const child = spawn(process.execPath, [program, ...args], {
    env: { ...withoutSettings, ...env },
    stdio: [stdin, "pipe", "pipe"]
  })
  let stdout = ""
  let stderr = ""
  child.stdout?.on("data", (chunk) => {
    stdout += String(chunk)
  })
  child.stderr?.on("data", (chunk) => {
    stderr += String(chunk)
  })
  const ended = new Promise<number | NodeJS.Signals>((resolve) => {
    child.on("close", (code, signal) => resolve(code ?? signal ?? 1))
  })
  return { child, stdout: () => stdout, stderr: () => stderr, ended }
}

/** Runs `helixflow` to its end. */
export const helixflow = (args: ReadonlyArray<string>, env: Environment = {}, input?: string) =>
  Effect.promise(async () => {
    const running = start(args, env, input === undefined ? "ignore" : "pipe")
    running.child.stdin?.end(input)
    const code = await running.ended
    return { code, stdout: running.stdout(), stderr: running.stderr() }
  })

/** A port that was free a moment ago. */
export const freePort: Effect.Effect<number> = Effect.async((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(address !== null && typeof address === "object" ? address.port : 0)))
  })
})

export interface Started {
  /** The server's process. */
  readonly pid: number
  readonly env: Environment
  readonly url: string
  readonly httpsPort: number
  readonly dataDir: string
  readonly output: () => string
  /** The exit code, or the signal that ended it. */
  readonly ended: Effect.Effect<number | NodeJS.Signals>
  /** Sends a signal and waits for the end. */
  readonly stop: (signal: NodeJS.Signals) => Effect.Effect<number | NodeJS.Signals>
}

/** Two models of random weights, one of each task, in a folder of their own. */
export const testModels: Effect.Effect<string, never, FileSystem.FileSystem | Scope.Scope> = Effect.gen(function* () {
  const files = yield* FileSystem.FileSystem
  const folder = yield* Effect.orDie(files.makeTempDirectoryScoped({ prefix: "helixflow-models-" }))
  writeTinyChatModel(join(folder, "helix-demo"))
  writeTinyEmbeddingModel(join(folder, "helix-demo-embed"))
  return folder
})

/** `helixflow serve` until it says that it is ready, with test models and a data folder of its own. */
export const startServer = (
  overrides: Environment = {}
): Effect.Effect<Started, never, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const files = yield* FileSystem.FileSystem
    const folder = yield* Effect.orDie(files.makeTempDirectoryScoped({ prefix: "helixflow data " }))
    const dataDir = join(folder, "data")
    const httpPort = yield* freePort
    const httpsPort = yield* freePort
    const env = {
      HELIX_HTTP_PORT: String(httpPort),
      HELIX_HTTPS_PORT: String(httpsPort),
      HELIX_DATA_DIR: dataDir,
      HELIX_MODELS_DIR: yield* testModels,
      ...overrides
    }
    const running = yield* Effect.acquireRelease(
      Effect.sync(() => start(["serve"], env, "ignore")),
      ({ child, ended }) =>
        Effect.promise(() => {
          child.kill("SIGKILL")
          return ended
        })
    )
    const output = () => running.stdout() + running.stderr()
    yield* Effect.async<void>((resume) => {
      running.child.stdout?.on("data", () => {
        if (running.stdout().includes("ready in")) resume(Effect.void)
      })
      void running.ended.then((code) => resume(Effect.dieMessage(`the server ended with ${code}:\n${output()}`)))
    })
    return {
      pid: running.child.pid ?? 0,
      env,
      url: `http://127.0.0.1:${httpPort}`,
      httpsPort,
      dataDir,
      output,
      ended: Effect.promise(() => running.ended),
      stop: (signal) =>
        Effect.promise(() => {
          running.child.kill(signal)
          return running.ended
        })
    }
  })

/** What a server answers to its operator. */
export const asked = ({ dataDir, url }: Started, path: string, init: RequestInit = {}) =>
  Effect.promise(async () => {
    const key = readFileSync(join(dataDir, "bootstrap-key"), "utf8").trim()
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" }
    const response = await fetch(url + path, { ...init, headers })
    return { status: response.status, text: await response.text() }
  })
