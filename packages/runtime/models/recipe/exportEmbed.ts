/**
 * Makes the folder of helix-demo-embed from what `prepareEmbed.ts` and `train_embed.py` left in a work folder.
 *
 *   npx tsx --conditions=source packages/runtime/models/recipe/exportEmbed.ts <work folder> <model folder> [fp32|fp16|q8|int8]
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { buildEncoderGraph } from "../../src/EncoderGraph.ts"
import { writeOnnxModel } from "../../src/OnnxWriter.ts"
import { WeightScheme } from "../../src/Quantization.ts"
import { writeSentenceTransformersFiles } from "../../src/TestModels.ts"
import { embedConfig, tokenizerConfig } from "./Config.ts"
import { readWeights } from "./TrainedWeights.ts"

const [work, target, wanted = "fp32"] = process.argv.slice(2)
const scheme = WeightScheme.find((name) => name === wanted)
if (work === undefined || target === undefined || scheme === undefined) {
  throw new Error(`usage: exportEmbed.ts <work folder> <model folder> [${WeightScheme.join("|")}]`)
}

const file = path.join(target, scheme === "fp32" ? "onnx/model.onnx" : "onnx/model_quantized.onnx")
const weights = readWeights(path.join(work, "embed"))
writeOnnxModel(buildEncoderGraph(embedConfig, weights, { scheme, tokenTypeIds: false }), file)
fs.copyFileSync(path.join(work, "embed_tokenizer.json"), path.join(target, "tokenizer.json"))
const write = (name: string, value: object) =>
  fs.writeFileSync(path.join(target, name), `${JSON.stringify(value, null, 2)}\n`)
write("tokenizer_config.json", { ...tokenizerConfig, model_max_length: embedConfig.max_position_embeddings })
write("config.json", embedConfig)
writeSentenceTransformersFiles(target, embedConfig)
console.log(`${file}: ${(fs.statSync(file).size / 1e6).toFixed(2)} MB`)
