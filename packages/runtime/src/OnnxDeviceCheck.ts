/** Whether ONNX Runtime computes on a device here: it is given something to compute. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { LocalDevice } from "@helixflow/schema/Device"
import { floats, numbersOf, OnnxSession } from "./OnnxSession.ts"
import { OnnxGraph, writeOnnxModel } from "./OnnxWriter.ts"
import { ProviderUnavailable } from "./OrtProvider.ts"

/** Null if it does, else the reason. */
export async function whyNot(device: LocalDevice): Promise<string | null> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "helixflow-"))
  try {
    const file = path.join(folder, "model.onnx")
    writeOnnxModel(doubling(), file)
    const session = await OnnxSession.load(file, { device, threads: 1 })
    const { data } = numbersOf(await session.run({ x: floats(new Float32Array([1, 2, 3]), [3]) }, ["y"]), "y")
    return data.join() === "2,4,6" ? null : `it computes that 1, 2 and 3 doubled are ${data.join(", ")}`
  } catch (cause) {
    if (cause instanceof ProviderUnavailable) return cause.reason
    return cause instanceof Error ? cause.message : String(cause)
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

function doubling(): OnnxGraph {
  const graph = new OnnxGraph("check")
  const x = graph.input("x", "float32", ["length"])
  graph.output("y", "float32", ["length"])
  graph.nodeInto("Add", [x, x], ["y"])
  return graph
}
