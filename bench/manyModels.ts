/**
 * Do hundreds of models share the memory of a few? 300 generated models are served by a server as `npm start` starts it, on two declared
 * CPU devices that hold four each; 32 clients send 3,000 requests over HTTP, each client one after the other, with models drawn from a
 * Zipf distribution. The devices' ledgers and the workers' resident memory are sampled all the while. How many loads there were, and how
 * long requests took, is read from the server's decision log; beside it, how many loads the best policy needs that knows all requests.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { LogLine } from "@helixflow/scheduler/Replay"
import { Schema } from "effect"
import { nameOf, sampleWhile, writeModels } from "../packages/gateway/test/SharedDevices.ts"
import { fewestLoads } from "../packages/scheduler/test/Belady.ts"
import { quantile, randomOf, zipf } from "../packages/scheduler/test/traces.ts"
import { key } from "./ChatRequest.ts"
import * as Hardware from "./Hardware.ts"
import { startHelixFlow } from "./MeasuredServer.ts"
import { print } from "./Report.ts"

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

const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" }

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
writeModels(modelsDir, models, modelBytes)
const hardware = Hardware.describe()
const server = await startHelixFlow("HelixFlow", modelsDir, dataDir, {
  HELIX_DEVICES: Array.from({ length: devices }, (_, n) => `cpu:${n}=${deviceBytes}`).join(","),
  HELIX_DECISION_LOG: String(256 * MiB)
})
const url = `http://127.0.0.1:${server.port}`

const draw = zipf(randomOf(1), models, skew)
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
const served = Promise.all(Array.from({ length: clients }, client))
const samples = await sampleWhile({ url, key, pid: server.pid, period: samplePeriod }, served)
await served
const seconds = (performance.now() - began) / 1000
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
