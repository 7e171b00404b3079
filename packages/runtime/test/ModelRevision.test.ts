import * as fs from "node:fs"
import * as path from "node:path"
import { beforeEach, describe, expect, it } from "vitest"
import { appearance, filesOf, revisionOf } from "../src/ModelRevision.ts"
import { writeJson, writeTinyChatModel, writeTinyEmbeddingModel } from "../src/TestModels.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const root = temporaryFolder()
let folder = ""
let folders = 0

beforeEach(() => {
  folder = path.join(root, `model-${++folders}`)
  writeTinyChatModel(folder)
})

/** As a write within the same tick of the clock would leave it. */
const keepingTime = (file: string, change: () => void) => {
  const { atime, mtime } = fs.statSync(file)
  change()
  fs.utimesSync(file, atime, mtime)
}

describe("the revision of a model's folder", () => {
  it("is the same as long as the files are, wherever the folder is moved to", () => {
    const before = revisionOf(folder)
    expect(revisionOf(folder)).toBe(before)
    const moved = `${folder}-moved`
    fs.renameSync(folder, moved)
    expect(revisionOf(moved)).toBe(before)
  })

  it.each(["onnx/model.onnx", "tokenizer.json", "config.json"])("is another when %s was written", (name) => {
    const before = revisionOf(folder)
    const file = path.join(folder, name)
    fs.utimesSync(file, new Date(0), new Date(1_000))
    expect(revisionOf(folder)).not.toBe(before)
  })

  it("is another for other weights of the same size and time", () => {
    const file = path.join(folder, "onnx/model.onnx")
    const before = revisionOf(folder)
    keepingTime(file, () => {
      const bytes = fs.readFileSync(file)
      bytes[100] = (bytes[100] ?? 0) ^ 1
      fs.writeFileSync(file, bytes)
    })
    expect(revisionOf(folder)).not.toBe(before)
  })

  it("is another when files come, as weights beside the graph do, and when they go", () => {
    const before = revisionOf(folder)
    const weights = path.join(folder, "onnx/model.onnx_data")
    fs.writeFileSync(weights, "w")
    const with_ = revisionOf(folder)
    expect(with_).not.toBe(before)
    fs.rmSync(weights)
    expect(revisionOf(folder)).toBe(before)
  })

  it("sees the settings that choose among the files, and no others", () => {
    const plain = revisionOf(folder)
    writeJson(folder, "helixflow.json", { aliases: ["a"], slots: 2 })
    const set = revisionOf(folder)
    writeJson(folder, "helixflow.json", { aliases: ["b"], slots: 3, policy: "affinity" })
    expect(revisionOf(folder)).toBe(set)
    writeJson(folder, "helixflow.json", { dtype: "q8" })
    expect(revisionOf(folder)).not.toBe(set)
    fs.rmSync(path.join(folder, "helixflow.json"))
    expect(revisionOf(folder)).toBe(plain)
  })

  it("does not care for what people read, nor for what is hidden", () => {
    const before = revisionOf(folder)
    for (const name of ["README.md", "LICENSE", ".gitattributes"]) fs.writeFileSync(path.join(folder, name), "text")
    expect(revisionOf(folder)).toBe(before)
  })
})

describe("a folder's appearance", () => {
  it("changes with any file, in the folders within too", () => {
    const embedding = path.join(root, "embedding")
    writeTinyEmbeddingModel(embedding)
    expect(filesOf(embedding)).toEqual(expect.arrayContaining(["1_Pooling/config.json", "config.json"]))
    const before = appearance(embedding)
    expect(appearance(embedding)).toBe(before)
    writeJson(embedding, "1_Pooling/config.json", {})
    expect(appearance(embedding)).not.toBe(before)
  })
})
