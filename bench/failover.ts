/** How long does a stream pause whose worker is killed: with a second replica that is ready, and with none? */
import { serve } from "./BenchServer.ts"
import { key } from "./ChatRequest.ts"
import { demo, type EngineModel } from "./EngineModels.ts"
import * as Hardware from "./Hardware.ts"
import { firstToken, type OpenStream, open } from "./OpenStream.ts"
import { median, print } from "./Report.ts"
import { drawTokens, makeRandom } from "./Workload.ts"

const rounds = 9
const promptTokens = 64
/** Texts of the stream before its worker is killed. */
const before = 40
const tokens = 900

const until = async (isSo: () => boolean | Promise<boolean>) => {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 1))
}

interface Place {
  readonly replica: { readonly state: string; readonly active: number } | null
  readonly process: { readonly pid: number } | null
  readonly children: ReadonlyArray<Place>
}

const placesOf = (place: Place): ReadonlyArray<Place> => [place, ...place.children.flatMap(placesOf)]

/** The loaded replicas. */
const replicas = async (port: number) => {
  const response = await fetch(`http://127.0.0.1:${port}/admin/v1/tree`, {
    headers: { authorization: `Bearer ${key}` }
  })
  // what the admin API answers, by its schema
  const { data } = (await response.json()) as { readonly data: ReadonlyArray<Place> }
  return data.flatMap(placesOf).flatMap(({ children, replica }) => {
    const pid = children[0]?.process?.pid
    return replica?.state === "ready" && pid !== undefined ? [{ pid, active: replica.active }] : []
  })
}

/** Kills the worker of a stream that runs alone; milliseconds until its next text, and tokens that it had, the prompt's included. */
async function pause(port: number, stream: OpenStream, start: number) {
  await until(() => stream.arrivals.length >= before)
  const worker = (await replicas(port)).find(({ active }) => active > 0)
  if (worker === undefined) throw new Error("no replica computes the stream")
  process.kill(worker.pid, "SIGKILL")
  const killed = performance.now() - start
  // what was on its way arrives within a moment
  await new Promise((resolve) => setTimeout(resolve, 5))
  const had = stream.arrivals.length
  await until(() => stream.arrivals.length > had)
  return { millis: (stream.arrivals[had] ?? Number.NaN) - killed, length: promptTokens + had }
}

async function measure(model: EngineModel, count: number) {
  const devices = Array.from({ length: count }, (_, n) => `cpu:${n}`).join(",")
  const settings = { replicas: count, slots: 1, prefixCache: 0 }
  const { server, served } = await serve(model, { settings, environment: { HELIX_DEVICES: devices } })
  const random = makeRandom(count)
  const draw = (length: number) => drawTokens(random, model.vocabulary, length)
  const pauses: Array<number> = []
  const prefills: Array<number> = []
  for (let round = 0; round <= rounds; round++) {
    // as many streams as replicas, so that all are loaded; then one is left
    const others = Array.from({ length: count - 1 }, () => open(server.port, served.name, { prompt: draw(8), tokens }))
    const start = performance.now()
    const stream = open(server.port, served.name, { prompt: draw(promptTokens), tokens })
    await until(async () => (await replicas(server.port)).length === count && stream.arrivals.length > 0)
    for (const other of others) other.abandon()
    let ended = false
    stream.done.then(() => {
      ended = true
    })
    await until(async () => {
      if (ended) throw new Error("the stream ended before its worker could be killed")
      return (await replicas(server.port)).filter(({ active }) => active > 0).length === 1
    })
    const { length, millis } = await pause(server.port, stream, start)
    await stream.done
    await until(async () => (await replicas(server.port)).length === count)
    const prefill = await firstToken(server.port, served.name, { prompt: draw(length), tokens: 16 })
    // the first round warms up
    if (round > 0) {
      pauses.push(millis)
      prefills.push(prefill)
    }
  }
  await server.stop()
  return {
    model: model.name,
    replicas: count,
    "pause, ms (median)": median(pauses),
    "pause, ms (longest)": Math.max(...pauses),
    "first token of a prompt as long, ms": median(prefills)
  }
}

const hardware = Hardware.describe()
const rows = []
for (const count of [2, 1]) rows.push(await measure(demo(), count))
print("failover", "From the kill of a stream's worker to its next token", hardware, rows)
