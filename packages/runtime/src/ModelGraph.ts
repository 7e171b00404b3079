/**
 * Which of a folder's ONNX files is loaded. Their headers are read, no weights: a file that can't be used here is passed over, and
 * if none is left, every one is named with its reason.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type { DeviceKind } from "@helixflow/schema/Device"
import { isGpu } from "./ExecutionProvider.ts"
import type { WeightFormat } from "./MemoryEstimate.ts"
import { type OnnxFile, readOnnxFile } from "./OnnxFile.ts"

/**
 * What follows the name of a graph in the names that `optimum` and `transformers.js` give, by preference. On a processor what is nearest
 * to the model as it was trained comes first. Half precision is widened where the processor can't compute with it, so it has neither
 * the speed nor the memory of a smaller file there; four bits show in the text, so whoever wants their speed asks for it. GPUs compute
 * halves as they are, and some operators with nothing else; those of eight bits they leave to the processor.
 */
const SUFFIXES = {
  processor: ["", "_fp16", "_quantized", "_int8", "_uint8", "_q8", "_q4", "_q4f16", "_bnb4"],
  gpu: ["_fp16", "", "_q4f16", "_q4", "_bnb4", "_quantized", "_int8", "_uint8", "_q8"]
} as const

/** `dtype` as `transformers.js` has it, and the files that hold it. */
const SUFFIXES_OF = {
  fp32: [""],
  fp16: ["_fp16"],
  q8: ["_quantized", "_q8"],
  int8: ["_int8"],
  uint8: ["_uint8"],
  q4: ["_q4"],
  q4f16: ["_q4f16"],
  bnb4: ["_bnb4"]
} as const

/** Precisions that a file may be asked for by. */
export const Dtype = ["fp32", "fp16", "q8", "int8", "uint8", "q4", "q4f16", "bnb4"] as const
export type Dtype = keyof typeof SUFFIXES_OF

/** The precisions in the order in which a GPU loads them, each where its first file is. */
export const gpuDtypes: ReadonlyArray<Dtype> = [...Dtype].sort((a, b) => {
  const rank = (dtype: Dtype) => Math.min(...SUFFIXES_OF[dtype].map((suffix) => SUFFIXES.gpu.indexOf(suffix)))
  return rank(a) - rank(b)
})

const NAMES = ["model", "decoder_model_merged", "decoder_with_past_model"]
const FOLDERS = ["onnx", "."]

/** The files that may hold a graph of a precision, relative to the model's folder, best first. */
export const graphNames = (dtype: Dtype): ReadonlyArray<string> => SUFFIXES_OF[dtype].flatMap(namesOf)

const namesOf = (suffix: string): ReadonlyArray<string> =>
  FOLDERS.flatMap((below) => NAMES.map((name) => path.posix.join(below, `${name}${suffix}.onnx`)))

export interface ModelGraph<A> {
  /** The ONNX file. */
  readonly path: string
  /** Of the file and the weights beside it. */
  readonly bytes: number
  /** How its weights are stored. */
  readonly format: WeightFormat
  /** What it was recognised as. */
  readonly graph: A
}

export interface UnusableGraph {
  /** What is to blame. */
  readonly path: string
  readonly reason: string
}

export interface ModelGraphs<A> {
  /** Best first. */
  readonly usable: ReadonlyArray<ModelGraph<A>>
  readonly unusable: ReadonlyArray<UnusableGraph>
}

/** What is asked for instead of the best. */
export interface GraphChoice {
  /** Relative to the model's folder. */
  readonly file?: string | undefined
  readonly dtype?: Dtype | undefined
  /** What it is to be loaded on. */
  readonly device: DeviceKind
}

/** `recognise` throws an `Error` for a graph that can't be used. */
export function findGraphs<A>(folder: string, choice: GraphChoice, recognise: (file: OnnxFile) => A): ModelGraphs<A> {
  const usable: Array<ModelGraph<A>> = []
  const unusable: Array<UnusableGraph> = []
  for (const candidate of candidates(folder, choice)) {
    try {
      const file = readOnnxFile(candidate)
      const missing = missingWeights(candidate, file)
      if (missing === null) usable.push(describe(candidate, file, recognise(file)))
      else unusable.push(missing)
    } catch (cause) {
      unusable.push({ path: candidate, reason: cause instanceof Error ? cause.message : String(cause) })
    }
  }
  return { usable, unusable }
}

function candidates(folder: string, { device, dtype, file }: GraphChoice): ReadonlyArray<string> {
  if (file !== undefined) return [path.join(folder, file)]
  const ranked = isGpu(device) ? SUFFIXES.gpu : SUFFIXES.processor
  const suffixes: ReadonlyArray<string> = dtype === undefined ? ranked : SUFFIXES_OF[dtype]
  return suffixes
    .flatMap(namesOf)
    .map((name) => path.join(folder, name))
    .filter((candidate) => fs.existsSync(candidate))
}

const weightFile = (graph: string, location: string) => path.join(path.dirname(graph), location)

/** A download that was cut off shows here, and not as a crash of the runtime. */
function missingWeights(graph: string, { externalFiles }: OnnxFile): UnusableGraph | null {
  for (const { location, size } of externalFiles) {
    const file = weightFile(graph, location)
    const found = fs.statSync(file, { throwIfNoEntry: false })?.size
    if (found === undefined) return { path: file, reason: `weights of ${path.basename(graph)} are missing` }
    if (found < size) return { path: file, reason: `weights are cut off: ${found} bytes of at least ${size}` }
  }
  return null
}

function describe<A>(graph: string, { externalFiles }: OnnxFile, recognised: A): ModelGraph<A> {
  const files = [graph, ...externalFiles.map(({ location }) => weightFile(graph, location))]
  const bytes = files.reduce((sum, file) => sum + fs.statSync(file).size, 0)
  return { path: graph, bytes, format: formatOf(graph, externalFiles.length > 0), graph: recognised }
}

function formatOf(graph: string, isExternal: boolean): WeightFormat {
  const name = path.basename(graph, ".onnx")
  if (name.endsWith("_fp16")) return "half"
  if (SUFFIXES.processor.some((suffix) => suffix !== "" && name.endsWith(suffix))) return "quantized"
  return isExternal ? "external" : "full"
}
