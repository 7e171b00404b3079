/** A server in a process of its own, whose CPU time can be read: what a client spends on the same machine is not in it. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import { fileURLToPath } from "node:url"
import { profile } from "./Arguments.ts"
import { key } from "./ChatRequest.ts"

export interface MeasuredServer {
  readonly name: string
  readonly port: number
  readonly pid: number
  /** CPU time that the process has used since its start: its threads' too, its children's not. */
  readonly cpuMicros: () => Promise<number>
  /** Resident set size of the process. */
  readonly rssBytes: () => Promise<number>
  /** What it holds on JavaScript's heap and in its buffers, after a collection of what it does not. */
  readonly heapBytes: () => Promise<number>
  readonly send: (message: object) => void
  readonly stop: () => Promise<void>
}

export interface ServerProgram {
  readonly name: string
  /** A file of this folder, or an absolute path. TypeScript is run from source. */
  readonly file: string
  readonly args?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
}

const home = (file: string) => fileURLToPath(new URL(file, import.meta.url))

/** Variables that configure a server are the measurement's own to set. */
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("HELIX_")))

/** The first message that has this field. Rejects when the process ends before. */
const told = (child: ChildProcess, field: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const onMessage = (message: object) => {
      const value = Object.entries(message).find(([name]) => name === field)?.[1]
      if (typeof value !== "number") return
      child.off("message", onMessage).off("exit", onExit)
      resolve(value)
    }
    const onExit = (code: number | null) => reject(new Error(`a measured server ended with code ${code}`))
    child.on("message", onMessage).on("exit", onExit)
  })

const launch = ({ args = [], env = {}, file }: ServerProgram): ChildProcess =>
  fork(home(file), [...args], {
    execArgv: [
      ...(file.endsWith(".ts") ? ["--import", "tsx", "--conditions=source"] : []),
      ...["--expose-gc", "--import", new URL("cpuReporter.mjs", import.meta.url).href],
      ...(profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`])
    ],
    env: { ...environment, ...env },
    // what a server says of itself is not the answer
    stdio: ["ignore", "ignore", "inherit", "ipc"]
  })

const ask = (child: ChildProcess, question: "cpu" | "heap" | "resident", field: string): Promise<number> => {
  const answer = told(child, field)
  child.send(question)
  return answer
}

const measured = (name: string, child: ChildProcess, port: number): MeasuredServer => ({
  name,
  port,
  pid: child.pid ?? 0,
  cpuMicros: () => ask(child, "cpu", "cpuMicros"),
  rssBytes: () => ask(child, "resident", "rssBytes"),
  heapBytes: () => ask(child, "heap", "heapBytes"),
  send: (message) => void child.send(message),
  stop: async () => {
    const exited = once(child, "exit")
    child.kill("SIGTERM")
    await exited
  }
})

/** Starts a program that sends `{ port }` when it listens. */
export const start = async (program: ServerProgram): Promise<MeasuredServer> => {
  const child = launch(program)
  return measured(program.name, child, await told(child, "port"))
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  await once(server, "close")
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port")
  return address.port
}

/** Starts HelixFlow as a user does, with the models of a folder, and waits until it is ready. */
export const startHelixFlow = async (
  name: string,
  modelsDir: string,
  dataDir: string,
  settings: Readonly<Record<string, string>> = {}
): Promise<MeasuredServer> => {
  const port = await freePort()
  const child = launch({
    name,
    file: "../packages/gateway/dist/helixflow.js",
    args: ["serve"],
    env: {
      HELIX_MODELS_DIR: modelsDir,
      HELIX_DATA_DIR: dataDir,
      HELIX_HTTP_PORT: String(port),
      HELIX_HTTPS_PORT: "0",
      HELIX_BOOTSTRAP_KEY: key,
      ...settings
    }
  })
  for (let waits = 0; ; waits++) {
    if (child.exitCode !== null || waits > 600) throw new Error("HelixFlow did not become ready")
    const ready = await fetch(`http://127.0.0.1:${port}/readyz`).then(
      ({ ok }) => ok,
      () => false
    )
    if (ready) return measured(name, child, port)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
