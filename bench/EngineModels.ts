/** The models that the engine is measured with: the bundled one, and generated ones that are kept below `bench/` once they are made. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { LlamaConfig } from "@helixflow/runtime/LlamaGraph"
import { llama15M, llama100M, writeLlamaModel } from "@helixflow/runtime/TestModels"

export interface EngineModel {
  /** Of its folder, and in the tables. */
  readonly name: string
  readonly folder: string
  /** As `transformers.js` calls the precision; it says which file below `onnx/` is read. */
  readonly dtype: "fp32" | "q8"
  readonly vocabulary: number
  /** Most tokens of a sequence. */
  readonly context: number
}

const cache = fileURLToPath(new URL(".models/", import.meta.url))
const bundled = fileURLToPath(new URL("../packages/runtime/models/helix-demo", import.meta.url))

/** The graph's file, the same for all that compute it. */
export const graphOf = ({ dtype, folder }: EngineModel): string =>
  join(folder, "onnx", dtype === "q8" ? "model_quantized.onnx" : "model.onnx")

/** Written beside its place and moved there, so that what is there is complete. */
const generated = (
  name: string,
  config: LlamaConfig,
  dtype: EngineModel["dtype"],
  attention: "gqa" | "standard" = "gqa"
): EngineModel => {
  const folder = join(cache, name)
  const model = { name, folder, dtype, vocabulary: config.vocab_size, context: config.max_position_embeddings }
  if (existsSync(folder)) return model
  console.error(`making ${name} below bench/.models…`)
  const unfinished = `${folder}.unfinished`
  rmSync(unfinished, { recursive: true, force: true })
  writeLlamaModel(unfinished, config, {
    attention,
    scheme: dtype,
    file: join("onnx", dtype === "q8" ? "model_quantized.onnx" : "model.onnx")
  })
  renameSync(unfinished, folder)
  return model
}

export const small = (dtype: EngineModel["dtype"]): EngineModel => generated(`llama-15m-${dtype}`, llama15M, dtype)

export const large = (dtype: EngineModel["dtype"]): EngineModel => generated(`llama-100m-${dtype}`, llama100M, dtype)

/** The same with plain operators, which every device has, in place of the fused attention. */
export const largeUnfused = (dtype: EngineModel["dtype"]): EngineModel =>
  generated(`llama-100m-${dtype}-standard`, llama100M, dtype, "standard")

export const demo = (): EngineModel => {
  const config = JSON.parse(readFileSync(join(bundled, "config.json"), "utf8"))
  return {
    name: "helix-demo",
    folder: bundled,
    dtype: "q8",
    vocabulary: Number(config.vocab_size),
    context: Number(config.max_position_embeddings)
  }
}

/** Puts the model into a folder of models, with what an operator says of it. The graph is linked to. */
export const serveFrom = (models: string, model: EngineModel, settings: object = {}): void => {
  const folder = join(models, model.name)
  mkdirSync(folder, { recursive: true })
  for (const file of readdirSync(model.folder)) {
    if (file === "onnx") symlinkSync(join(model.folder, file), join(folder, file), "junction")
    else cpSync(join(model.folder, file), join(folder, file))
  }
  writeFileSync(join(folder, "helixflow.json"), JSON.stringify(settings))
}
