/**
 * `npm run bench -- <question> [--profile <folder>]`: measures, from whatever state the clone is in. What HelixFlow is compared with is
 * installed below `bench/`, never in the root.
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { loadavg, tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { bundle } from "../packages/gateway/bin/bundle.mjs"
import { abort, say } from "../packages/gateway/bin/progress.mjs"
import { ready } from "../packages/gateway/bin/ready.mjs"

const bench = dirname(fileURLToPath(import.meta.url))

/** What can be asked, and the programs that answer, in turn. */
const questions = {
  overhead: ["requests.ts", "streams.ts", "actors.ts"],
  requests: ["requests.ts"],
  streams: ["streams.ts"],
  actors: ["actors.ts"],
  sampling: ["sampling.ts"],
  grammar: ["grammar.ts"],
  place: ["dist/place.js"],
  models: ["manyModels.ts"],
  preload: ["preload.ts"],
  simulate: ["dist/simulate.js"],
  failover: ["failover.ts"],
  sockets: ["webSockets.ts"],
  gpu: ["gpu.ts"]
}

/** The parts of `engine`. */
const engineParts = {
  a: "engineBatching.ts",
  b: "engineStream.ts",
  c: "engineLongPrompts.ts",
  d: "enginePrefix.ts",
  e: "engineStall.ts",
  f: "engineColdStart.ts",
  g: "engineMemory.ts",
  h: "engineGuesses.ts"
}

const usage = `npm run bench -- <question> [<part>…] [--profile <folder>]

  overhead    requests, streams and actors, in turn
  requests    what does the gateway cost a request, beside plain node:http and Fastify?
  streams     what does the gateway cost a streamed token, beside plain node:http?
  actors      what does the way from the gateway to a worker process and back cost?
  sampling    what does drawing tokens cost, beside computing what they are drawn from?
  grammar     what does it cost to hold a text to a grammar?
  place       what does a placement decision cost in a large fleet, and how well does it use memory?
  models      do 300 models share the memory of eight, and with how many loads?
  preload     what does loading models ahead of requests change?
  simulate    does the scheduler keep its promises for a million steps when everything goes wrong?
  failover    how long does a stream pause whose worker is killed?
  sockets     what does a WebSocket cost, how late do tokens come to a thousand, and what do hostile clients change?
  gpu         what does a GPU change that WebGPU reaches, beside the processors?
  engine      is it as fast as the runtime allows? In parts, all unless some are named:
    a           16 requests at once, beside transformers.js, a raw loop and the engine alone
    b           one stream, beside a raw loop
    c           16 long prompts at once, beside a raw loop
    d           a conversation's tenth turn and a shared system prompt, with the prefix cache and without
    e           running streams while a long prompt comes in
    f           from a request to the first token of a model that is not loaded
    g           a worker's memory, beside what it is charged
    h           guesses checked while a stream runs alone

engine also puts its tables, and whether its aims were reached, into docs/benchmarks.md.
--profile leaves a CPU profile of every server that is measured in the folder (open it in Chrome's DevTools).`

/** Processes that wanted to run during the last minute. */
const BUSY = 1

const ensurePeers = () => {
  const lockFile = join(bench, "package-lock.json")
  const npmsNote = join(bench, "node_modules", ".package-lock.json")
  if (existsSync(npmsNote) && statSync(npmsNote).mtimeMs >= statSync(lockFile).mtimeMs) return
  say("installing what HelixFlow is compared with, below bench/…")
  const { status } = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: bench,
    // its script downloads libraries for other devices, and fails without a network
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" },
    stdio: ["ignore", process.stderr, process.stderr],
    shell: process.platform === "win32"
  })
  if (status !== 0) abort("The packages below bench/ could not be installed; npm's own message is above.")
}

/** @returns {Promise<number>} the exit code; a signal counts as a failure */
const run = (program, args) =>
  new Promise((resolve) => {
    const source = program.endsWith(".ts") ? ["--import", "tsx", "--conditions=source"] : ["--expose-gc"]
    const node = [...source, join(bench, program), ...args]
    const child = spawn(process.execPath, node, { cwd: dirname(bench), stdio: "inherit" })
    child.on("exit", (code) => resolve(code ?? 1))
  })

const { positionals, values } = parseArgs({ allowPositionals: true, options: { profile: { type: "string" } } })
const [question = "", ...parts] = positionals
const args = values.profile === undefined ? [] : ["--profile", values.profile]

/** @returns {ReadonlyArray<string> | undefined} nothing for what can't be asked */
const chosen = () => {
  if (question !== "engine")
    return parts.length === 0 && Object.hasOwn(questions, question) ? questions[question] : undefined
  if (parts.length === 0) return Object.values(engineParts)
  return parts.every((part) => Object.hasOwn(engineParts, part)) ? parts.map((part) => engineParts[part]) : undefined
}

const programs = chosen()
if (programs === undefined) abort(usage)
await ready()
ensurePeers()
// compiled as the server is: how code is compiled is part of what it costs
const compiled = ["StubGateway", "SocketServer", "place", "simulate"]
await bundle(compiled.map((name) => ({ source: `bench/${name}.ts`, target: `bench/dist/${name}.js` })))
const [load = 0] = loadavg()
if (load > BUSY) say(`the machine is busy (load average ${load.toFixed(1)}): the figures will say less`)

const folder = mkdtempSync(join(tmpdir(), "helixflow-tables-"))
const rows = join(folder, "rows")
const isEngine = question === "engine"
for (const program of [...programs, ...(isEngine ? ["engineTables.ts"] : [])]) {
  const code = await run(program, [...args, ...(isEngine ? ["--rows", rows] : [])])
  // what the others find is worth having
  if (code !== 0) process.exitCode = code
}
rmSync(folder, { recursive: true, force: true })
