import * as fs from "node:fs"
import * as path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { PROCESSOR } from "../src/ExecutionProvider.ts"
import { type GraphEdits, type LeanModel, readLeanModel } from "../src/LeanModel.ts"
import { floats, numbersOf, OnnxSession } from "../src/OnnxSession.ts"
import { OnnxGraph, writeOnnxModel } from "../src/OnnxWriter.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const root = temporaryFolder()
const width = 256
const weight = Float32Array.from({ length: width * width }, (_, index) => Math.sin(index))
const given = Float32Array.from({ length: width }, (_, index) => Math.cos(index))
const unedited: GraphEdits = { added: [], rewired: [] }

/** `y = tanh(x · weight)` */
const product = () => {
  const graph = new OnnxGraph("product")
  graph.input("x", "float32", ["rows", width])
  graph.nodeInto("MatMul", ["x", graph.initializer("weight", "float32", [width, width], weight)], ["z"])
  graph.nodeInto("Tanh", ["z"], ["y"])
  graph.output("y", "float32", ["rows", width])
  return graph
}

const folderWith = (name: string, externalData: boolean) => {
  const file = path.join(root, name, "model.onnx")
  writeOnnxModel(product(), file, { externalData })
  return file
}

const compute = async (model: string | LeanModel, output = "y") => {
  const session = await OnnxSession.load(model, { device: PROCESSOR, threads: 1 })
  const outputs = await session.run({ x: floats(given, [1, width]) }, [output])
  await session.release()
  return numbersOf(outputs, output)
}

describe("readLeanModel", () => {
  const files = { inside: folderWith("inside", false), outside: folderWith("outside", true) }

  it.each(Object.entries(files))("leaves the weights where they are, and computes the same: %s", async (_, file) => {
    const model = readLeanModel(file, unedited)
    expect(model.bytes.length).toBeLessThan(2000)
    expect(await compute(model)).toEqual(await compute(file))
  })

  it("follows links, as in the cache of a hub", async () => {
    const folder = path.join(root, "links", "snapshot")
    const blobs = path.join(root, "links", "blobs")
    fs.mkdirSync(folder, { recursive: true })
    fs.cpSync(path.dirname(files.outside), blobs, { recursive: true })
    fs.renameSync(path.join(blobs, "model.onnx"), path.join(blobs, "1"))
    fs.renameSync(path.join(blobs, "model.onnx_data"), path.join(blobs, "2"))
    fs.symlinkSync(path.join(blobs, "1"), path.join(folder, "model.onnx"))
    fs.symlinkSync(path.join(blobs, "2"), path.join(folder, "model.onnx_data"))
    const model = readLeanModel(path.join(folder, "model.onnx"), unedited)
    expect(await compute(model)).toEqual(await compute(files.outside))
  })

  it("refuses weights that are outside of the model's folder", () => {
    const folder = path.join(root, "linked")
    fs.mkdirSync(folder)
    fs.copyFileSync(files.outside, path.join(folder, "model.onnx"))
    fs.symlinkSync(`${files.outside}_data`, path.join(folder, "model.onnx_data"))
    expect(() => readLeanModel(path.join(folder, "model.onnx"), unedited)).toThrow(/outside of the model's folder/)
  })

  it("refuses what is cut off", () => {
    const file = path.join(root, "cut.onnx")
    fs.writeFileSync(file, fs.readFileSync(files.inside).subarray(0, 5000))
    expect(() => readLeanModel(file, unedited)).toThrow(/cut off/)
  })

  it("adds nodes, gives a node another input, and replaces outputs", async () => {
    const added = new OnnxGraph("added")
    added.nodeInto("Neg", ["z"], ["negative"])
    added.output("y", "float32", [1, width])
    const edits = { added: [added], rewired: [{ node: "y", input: "z", by: "negative" }] }
    for (const file of Object.values(files)) {
      const { data } = await compute(readLeanModel(file, edits))
      expect([...data]).toEqual([...(await compute(file)).data].map((value) => -value))
    }
  })
})
