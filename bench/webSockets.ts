/** What does a WebSocket cost that does nothing, how late do tokens come to a thousand, and what do hostile clients change for the others? */
import { type ChildProcess, fork } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { constants, setPriority, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Hardware from "./Hardware.ts"
import { start } from "./MeasuredServer.ts"
import { print, type Row } from "./Report.ts"
import type { Command, Streamed } from "./SocketCrowd.ts"

const idle = 10_000
const streaming = 1_000
const tokens = 100
const flood = 5_000

interface Crowd {
  readonly tell: (command: Command) => Promise<unknown>
  readonly end: () => void
}

const gather = (priority: number = constants.priority.PRIORITY_NORMAL): Crowd => {
  const child: ChildProcess = fork(fileURLToPath(new URL("SocketCrowd.ts", import.meta.url)), [], {
    execArgv: ["--import", "tsx", "--conditions=source"]
  })
  if (child.pid !== undefined) setPriority(child.pid, priority)
  return {
    tell: (command) =>
      new Promise((resolve, reject) => {
        const onExit = () => reject(new Error("the clients have ended"))
        child.once("exit", onExit)
        child.once("message", (message) => {
          child.off("exit", onExit)
          // the crowd's only kind of answer
          resolve((message as { readonly done: unknown }).done)
        })
        child.send(command)
      }),
    end: () => child.kill()
  }
}

/** Those who mean harm have machines of their own: of these cores they get what the others leave. */
const gatherHostile = () => gather(constants.priority.PRIORITY_LOW)

const hardware = Hardware.describe()
const folder = mkdtempSync(join(tmpdir(), "helixflow-bench-"))
const server = await start({ name: "sockets", file: "dist/SocketServer.js", args: [join(folder, "helixflow.db")] })
const { port } = server
const rows: Array<Row> = []

/** A round of streams, while something else goes on. */
const round = async (crowd: Crowd, what: string, drop = 0) => {
  const cpu = await server.cpuMicros()
  const began = performance.now()
  // what `stream` answers
  const command: Command = { type: "stream", count: streaming, tokens, drop }
  const { all, busy: clients, running, starting, whole } = (await crowd.tell(command)) as Streamed
  const busy = ((await server.cpuMicros()) - cpu) / (performance.now() - began) / 1_000
  rows.push({
    what,
    "until all run, s": starting,
    "then p50, ms": running.p50,
    "p99, ms": running.p99,
    "longest, ms": running.longest,
    "from the start p99, ms": all.p99,
    "longest of all, ms": all.longest,
    "whole streams": `${whole} of ${streaming}`,
    "server's CPU": busy,
    "clients' CPU": clients
  })
}

const crowd = gather()
// the first of everything is no measure of the rest
await crowd.tell({ type: "hold", port, count: 200 })
const resident = await server.rssBytes()
const heap = await server.heapBytes()
await crowd.tell({ type: "hold", port, count: idle })
const perConnection = (before: number, after: number) => (after - before) / idle / 1_024
const held = await server.rssBytes()
print("sockets", "What a connection costs that does nothing", hardware, [
  {
    connections: idle,
    "resident a connection, KiB": perConnection(resident, held),
    "of that on the heap, KiB": perConnection(heap, await server.heapBytes())
  }
])

await crowd.tell({ type: "stream", count: streaming, tokens: 30, drop: 0 })
await round(crowd, "nothing else")
await round(crowd, "half of the streams are cut off and come back", 0.5)

const deaf = gatherHostile()
await deaf.tell({ type: "deafen", port, streams: 16, questions: 1_000_000 })
await round(crowd, "a client has 16 streams and asks a million things more, and reads nothing")
deaf.end()

const giant = gatherHostile()
const filling = giant.tell({ type: "overfill", port, bytes: 16 * 2 ** 20, times: 24 })
await round(crowd, "a client sends 16 MiB at a time, whole and in fragments")
await filling
giant.end()

const many = gatherHostile()
const flooding = many.tell({ type: "hold", port, count: flood })
await round(crowd, `a client opens ${flood} connections`)
await flooding
many.end()

print(
  "sockets",
  `${streaming} streams at once, a token each 100 ms, beside ${idle} idle connections: from when a token was due until it was there, while`,
  hardware,
  rows
)
crowd.end()
await server.stop()
rmSync(folder, { recursive: true })
