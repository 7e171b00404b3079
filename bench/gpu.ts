/** What does a GPU change that WebGPU reaches, beside the processors of the same machine? Each a started server with one device. */
import { execFileSync } from "node:child_process"
import { serve } from "./BenchServer.ts"
import { overHttp } from "./Contestant.ts"
import { demo, type EngineModel, large, largeUnfused } from "./EngineModels.ts"
import * as Hardware from "./Hardware.ts"
import type { MeasuredServer } from "./MeasuredServer.ts"
import { firstToken } from "./OpenStream.ts"
import { median, print, type Row } from "./Report.ts"
import { tokensOf, uneven } from "./Workload.ts"

const rounds = 3
const devices = ["webgpu:0=16GiB", "cpu:0"]

const smi = (field: string): string =>
  execFileSync("nvidia-smi", ["--id=0", `--query-gpu=${field}`, "--format=csv,noheader,nounits"], { encoding: "utf8" })
/** Of the GPU, MiB; NaN where NVIDIA's tool is not. */
const usedMiB = (): number => {
  try {
    return Number(smi("memory.used"))
  } catch {
    return Number.NaN
  }
}
const nameOfGpu = (): string => {
  try {
    return smi("name,driver_version").trim()
  } catch {
    return "a GPU that nvidia-smi doesn't know"
  }
}

async function measure(model: EngineModel, device: string): Promise<Row> {
  const before = usedMiB()
  // loaded by its first request, whose error says so where it can't be
  const { served, server } = await serve(model, { loaded: false, environment: { HELIX_DEVICES: device } })
  try {
    return {
      model: model.name,
      device: device.replace(/=.*/, ""),
      ...(await speedsOf(served, server)),
      "GPU memory, MiB": usedMiB() - before
    }
  } catch (cause) {
    console.error(`${model.name} on ${device}: ${cause}`)
    return { model: model.name, device: device.replace(/=.*/, ""), "ms/token alone": "not served" }
  } finally {
    await server.stop()
  }
}

async function speedsOf(model: EngineModel, server: MeasuredServer): Promise<Row> {
  const { run } = overHttp(server.name, server, model)
  const workload = (seed: number, requests: number, prompt: number) =>
    uneven({ seed, requests, vocabulary: model.vocabulary, prompt: [prompt, prompt], tokens: [64, 64] })
  await run(workload(0, 16, 32))
  const alone: Array<number> = []
  const together: Array<number> = []
  const first: Array<number> = []
  for (let seed = 1; seed <= rounds; seed++) {
    alone.push((await run(workload(seed, 1, 32))) / 64)
    const many = workload(rounds + seed, 16, 32)
    together.push((1000 * tokensOf(many)) / (await run(many)))
    for (const long of workload(2 * rounds + seed, 1, 400)) {
      first.push(await firstToken(server.port, model.name, { ...long, tokens: 2 }))
    }
  }
  return { "ms/token alone": median(alone), "tokens/s of 16": median(together), "TTFT of 400, ms": median(first) }
}

const hardware = Hardware.describe()
const rows: Array<Row> = []
for (const model of [demo(), largeUnfused("fp32"), large("fp32"), large("q8")]) {
  for (const device of devices) rows.push(await measure(model, device))
}
print(
  "gpu",
  `${nameOfGpu()}; streams of 64 tokens after prompts of 32, greedy, over HTTP; medians of ${rounds} rounds`,
  hardware,
  rows
)
