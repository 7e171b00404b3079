/**
 * Does a worker take the memory that it is charged? Its slots are filled to the last token of their context, and so is what is kept of
 * prefixes, before its resident set is read.
 */
import { execFileSync } from "node:child_process"
import { describeModelFolder } from "@helixflow/runtime/ModelFolder"
import * as ModelSettings from "@helixflow/runtime/ModelSettings"
import { ModelId } from "@helixflow/schema/Ids"
import { serve } from "./BenchServer.ts"
import { demo, type EngineModel, large, small } from "./EngineModels.ts"
import * as Hardware from "./Hardware.ts"
import { streamAll } from "./OpenStream.ts"
import { print } from "./Report.ts"
import { uneven } from "./Workload.ts"

const batches = [1, 4, 16]
const context = 512
/** Long enough that the last prompt has been computed before the first answer ends: then all slots are full at once. */
const generated = 208

/** Of the process's only child, bytes: the worker. */
const residentOfWorker = (server: number): number => {
  const workers = execFileSync("ps", ["-A", "-o", "ppid=,rss="], { encoding: "utf8" })
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([parent]) => parent === server)
  const [, kibibytes] = workers[0] ?? []
  if (workers.length !== 1 || kibibytes === undefined) throw new Error(`${workers.length} workers instead of one`)
  return kibibytes * 1024
}

async function measure(model: EngineModel, slots: number) {
  const settings = { context, slots }
  const { server } = await serve(model, { settings })
  const prompt = context - generated
  const workload = uneven({
    seed: slots,
    requests: slots,
    vocabulary: model.vocabulary,
    prompt: [prompt, prompt],
    tokens: [generated, generated]
  })
  await streamAll(server.port, model.name, workload)
  const resident = residentOfWorker(server.pid)
  await server.stop()
  const described = describeModelFolder(model.folder, model.name)
  const files = { ...described, onKinds: new Map([["cpu", described] as const]), created: 0, revision: "" }
  const spec = ModelSettings.toSpec(ModelId.make(model.name), files, { ...ModelSettings.defaults, ...settings })
  const claim = spec.claimOn("cpu")
  return {
    model: model.name,
    slots,
    "charged, MiB": claim / 2 ** 20,
    "resident, MiB": resident / 2 ** 20,
    "of the charge": resident / claim
  }
}

const hardware = Hardware.describe()
const rows = []
for (const model of [small("fp32"), small("q8"), large("fp32"), large("q8"), demo()]) {
  for (const slots of batches) rows.push(await measure(model, slots))
}
print("engine g", `a worker whose slots of ${context} tokens have all been full`, hardware, rows)
