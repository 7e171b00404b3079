/**
 * Do hundreds of models share the memory of a few? 300 generated models are served by a server as `npm start` starts it, on two declared
 * CPU devices that hold four each; 32 clients send 3,000 requests over HTTP, each client one after the other, with models drawn from a
 * Zipf distribution. The devices' ledgers and the workers' resident memory are sampled all the while. How many loads there were, and how
 * long requests took, is read from the server's decision log; beside it, how many loads the best policy needs that knows all requests.
 */
import { linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { writeTinyChatModel } from "@helixflow/runtime/TestModels"
import { LogLine } from "@helixflow/scheduler/Replay"
import { Schema } from "effect"
import { fewestLoads } from "../packages/scheduler/test/Belady.ts"
import { key } from "./ChatRequest.ts"
import * as Hardware from "./Hardware.ts"
import { startHelixFlow } from "./MeasuredServer.ts"
import { print } from "./Report.ts"
import { makeRandom } from "./Workload.ts"

const models = 300
const requests = 3_000
const clients = 32
const skew = 1.2
const MiB = 2 ** 20
const modelBytes = 192 * MiB
const devices = 2
const perDevice = 4
/** What a model's two slots take besides is less than a MiB. */
const deviceBytes = perDevice * modelBytes + 8 * MiB
const samplePeriod = 200

const nameOf = (index: number) => `model-${index}`

/** One model's files, linked to by all folders. */
const makeModels = (folder: string): void => {
  const first = join(folder, nameOf(0))
  writeTinyChatModel(first)
  writeFileSync(
    join(first, "helixflow.json"),
    JSON.stringify({ memory: modelBytes, slots: 2, context: 128, prefixCache: 0 })
  )
  const files = readdirSync(first, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  for (let index = 1; index < models; index++) {
    for (const file of files) {
      const from = join(file.parentPath, file.name)
      const to = join(folder, nameOf(index), from.slice(first.length))
      mkdirSync(dirname(to), { recursive: true })
      linkSync(from, to)
    }
  }
}

/** Draws from 0 to n - 1, the k-th with a weight of 1 / (k + 1)^skew. */
const zipf = (random: () => number, n: number) => {
  const upTo: Array<number> = []
  let sum = 0
  for (let k = 0; k < n; k++) {
    sum += 1 / (k + 1) ** skew
    upTo.push(sum)
  }
  return () => {
    const drawn = random() * sum
    return upTo.findIndex((end) => drawn < end)
  }
}

const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" }

/** Every process that the server has started, in bytes of resident memory. */
const workersRss = (server: number): number => {
  let bytes = 0
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8")
      if (Number(/^PPid:\s*(\d+)/m.exec(status)?.[1]) !== server) continue
      bytes += Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1] ?? 0) * 1024
    } catch {
      // it has ended meanwhile
    }
  }
  return bytes
}

const DeviceSample = Schema.Struct({
  data: Schema.Array(
    Schema.Struct({
      total_bytes: Schema.Number,
      claims: Schema.Array(
        Schema.Struct({ bytes: Schema.Number, observed_bytes: Schema.Number, within: Schema.NullOr(Schema.String) })
      )
    })
  )
})

interface Samples {
  count: number
  /** Of these, those with more claimed of a device, or taken by its workers, than it has. */
  above: number
  mostClaimed: number
  mostResident: number
}

const sample = async (url: string, server: number, samples: Samples): Promise<void> => {
  const response = await fetch(`${url}/admin/v1/devices`, { headers })
  const { data } = Schema.decodeUnknownSync(DeviceSample)(await response.json())
  const resident = workersRss(server)
  const claimed = data.map(({ claims, total_bytes }) => {
    const own = claims.filter(({ within }) => within === null)
    const sum = (of: (claim: (typeof own)[number]) => number) => own.reduce((bytes, claim) => bytes + of(claim), 0)
    return (
      Math.max(
        sum(({ bytes }) => bytes),
        sum(({ observed_bytes }) => observed_bytes)
      ) / total_bytes
    )
  })
  samples.count += 1
  samples.mostClaimed = Math.max(samples.mostClaimed, ...claimed)
  samples.mostResident = Math.max(samples.mostResident, resident / (devices * deviceBytes))
  if (claimed.some((share) => share > 1) || resident > devices * deviceBytes) samples.above += 1
}

const quantile = (values: ReadonlyArray<number>, share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN

/** What the scheduler has noted, the oldest first. */
const decisionsOf = (folder: string) =>
  readdirSync(folder)
    .filter((name) => name.startsWith("decisions"))
    .flatMap((name) => readFileSync(join(folder, name), "utf8").split("\n"))
    .filter((line) => line !== "")
    .map((line) => Schema.decodeSync(LogLine)(line))
    .sort((a, b) => a.at - b.at)

const home = mkdtempSync(join(tmpdir(), "helixflow-many-"))
const [modelsDir, dataDir] = [join(home, "models"), join(home, "data")]
makeModels(modelsDir)
const hardware = Hardware.describe()
const server = await startHelixFlow("HelixFlow", modelsDir, dataDir, {
  HELIX_DEVICES: Array.from({ length: devices }, (_, n) => `cpu:${n}=${deviceBytes}`).join(","),
  HELIX_DECISION_LOG: String(256 * MiB)
})
const url = `http://127.0.0.1:${server.port}`

const samples: Samples = { count: 0, above: 0, mostClaimed: 0, mostResident: 0 }
let going = true
const sampling = (async () => {
  while (going) {
    await sample(url, server.pid, samples)
    await new Promise((resolve) => setTimeout(resolve, samplePeriod))
  }
})()

const random = makeRandom(1)
const draw = zipf(random, models)
const order = Array.from({ length: requests }, draw)
const millis: Array<number> = []
const failures = new Map<string, number>()
const began = performance.now()
const client = async (): Promise<void> => {
  for (let index = order.pop(); index !== undefined; index = order.pop()) {
    const start = performance.now()
    const body = {
      model: nameOf(index),
      messages: [{ role: "user", content: "hi" }],
      max_tokens: 8,
      queue_timeout: 600
    }
    const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(body) })
    const text = await response.text()
    millis.push(performance.now() - start)
    if (response.status !== 200) {
      const what = `${response.status} ${text.slice(0, 200)}`
      failures.set(what, (failures.get(what) ?? 0) + 1)
    }
  }
}
await Promise.all(Array.from({ length: clients }, client))
const seconds = (performance.now() - began) / 1000
going = false
await sampling
await server.stop()

const events = decisionsOf(dataDir)
rmSync(home, { recursive: true })
const asked = events.flatMap((event) => (event._tag === "Arrived" ? [event.model] : []))
const loads = events.filter(({ _tag }) => _tag === "LoadStarted").length
const fewest = fewestLoads(asked, devices * perDevice)
const arrivedAt = new Map(
  events.flatMap((event) => (event._tag === "Arrived" ? [[String(event.request), event.at]] : []))
)
const coldOnes = new Map(
  events.flatMap((event) => (event._tag === "Placed" ? [[String(event.placement.request), event.placement.cold]] : []))
)
const took = (cold: boolean) =>
  events.flatMap((event) => {
    // a placement's reservation has its request's name
    if (event._tag !== "Completed" || coldOnes.get(event.reservation) !== cold) return []
    return [event.at - (arrivedAt.get(event.reservation) ?? event.at)]
  })
for (const [what, count] of failures) console.error(`${count} times ${what}`)
print(
  "manyModels",
  `${models} models on devices that hold ${devices * perDevice}: ${requests} requests, Zipf ${skew}, ${clients} clients`,
  hardware,
  [
    { figure: "requests that failed", value: [...failures.values()].reduce((sum, count) => sum + count, 0) },
    { figure: "seconds for all", value: seconds },
    { figure: "loads", value: loads },
    { figure: "loads that the best policy needs (Belady)", value: fewest },
    { figure: "loads / fewest", value: loads / fewest },
    { figure: "requests that waited for a load", value: took(true).length },
    { figure: "cold: p50, ms", value: quantile(took(true), 0.5) },
    { figure: "cold: p99, ms", value: quantile(took(true), 0.99) },
    { figure: "warm: p50, ms", value: quantile(took(false), 0.5) },
    { figure: "warm: p99, ms", value: quantile(took(false), 0.99) },
    { figure: "over HTTP: p50, ms", value: quantile(millis, 0.5) },
    { figure: "over HTTP: p99, ms", value: quantile(millis, 0.99) },
    { figure: "samples of memory", value: samples.count },
    { figure: "samples with a device above its memory", value: samples.above },
    { figure: "most claimed of a device, share", value: samples.mostClaimed },
    { figure: "most resident of all devices, share", value: samples.mostResident }
  ]
)
