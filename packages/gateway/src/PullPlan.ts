/** Which files of a repository on a hub are fetched: the small ones that a model's folder needs, and one graph. Pure. */
import { type Dtype, gpuDtypes, graphNames } from "@helixflow/runtime/ModelGraph"
import { Either } from "effect"

/** A file of a repository at one revision. */
export interface HubFile {
  /** Relative to the repository, with `/`. */
  readonly path: string
  /** Bytes. */
  readonly size: number
  /** What its content must hash to: SHA-256 of large files, the hash that Git gives a blob of small ones. */
  readonly checksum: { readonly kind: "sha256" | "git-blob"; readonly hex: string }
}

export interface PullPlan {
  /** The graph last: what is small shows first whether the rest is worth its time. */
  readonly files: ReadonlyArray<HubFile>
  /** The graph among them. */
  readonly graph: HubFile
  readonly bytes: number
}

/**
 * Which precision is fetched for a device, best first. For a GPU what it would load first. For a CPU not: of what is there it loads what is
 * nearest to the model as it was trained, but what is fetched costs time and disk, and eight bits are several times as fast as single
 * precision at hardly any loss.
 */
const PREFERENCE: Readonly<Record<"cpu" | "gpu", ReadonlyArray<Dtype>>> = {
  cpu: ["q8", "int8", "uint8", "fp32", "fp16", "q4", "q4f16", "bnb4"],
  gpu: gpuDtypes
}

/** What a model's folder may need besides its graph: configuration, tokenizer, templates, and what a person would read. */
const isSmallFile = (path: string): boolean => {
  const depth = path.split("/").length
  if (/(^|\/)(README\.md|LICENSE[^/]*|NOTICE[^/]*)$/i.test(path)) return depth === 1
  if (/\.jinja$/.test(path)) return depth === 1 || path.startsWith("additional_chat_templates/")
  // 1_Pooling/config.json and the like, of sentence-transformers
  return /\.json$/.test(path) && !/\.index\.json$/.test(path) && (depth === 1 || /^\d+_[^/]+\/config\.json$/.test(path))
}

/** Weights that lie beside a graph, by the names that exporters give: `model.onnx_data`, `model.onnx_data_1`, `model.onnx.data`. */
const isBeside = (graph: string, path: string): boolean =>
  path.startsWith(graph) && /^[._]data(_\d+)?$/.test(path.slice(graph.length))

const folderOf = (path: string): string => path.split("/").slice(0, -1).join("/")

/** What is to be fetched, or why nothing can be, as a sentence. */
export const plan = (
  files: ReadonlyArray<HubFile>,
  options: { readonly device: "cpu" | "gpu"; readonly dtype: Dtype | undefined }
): Either.Either<PullPlan, string> => {
  const byPath = new Map(files.map((file) => [file.path, file]))
  const dtypes = options.dtype === undefined ? PREFERENCE[options.device] : [options.dtype]
  const graph = dtypes
    .flatMap(graphNames)
    .map((name) => byPath.get(name))
    .find((file) => file !== undefined)
  if (graph === undefined) return Either.left(noGraph(files, options.dtype))
  for (const needed of ["config.json", "tokenizer.json"]) {
    if (!byPath.has(needed)) return Either.left(`The repository has no \`${needed}\`, which a model needs.`)
  }
  const chosen = [
    ...files.filter(({ path }) => isSmallFile(path)),
    ...files.filter(({ path }) => isBeside(graph.path, path)),
    graph
  ]
  return Either.right({ files: chosen, graph, bytes: chosen.reduce((sum, { size }) => sum + size, 0) })
}

/** The files of weights that a graph names and `plan` could not know of; undefined for one that the repository does not have. */
export const weightsOf = (
  files: ReadonlyArray<HubFile>,
  { graph }: PullPlan,
  locations: ReadonlyArray<string>
): ReadonlyArray<{ readonly location: string; readonly file: HubFile | undefined }> => {
  const folder = folderOf(graph.path)
  return locations.map((location) => {
    const path = folder === "" ? location : `${folder}/${location}`
    return { location, file: files.find((file) => file.path === path) }
  })
}

const noGraph = (files: ReadonlyArray<HubFile>, dtype: Dtype | undefined): string => {
  const graphs = files.filter(({ path }) => path.endsWith(".onnx")).map(({ path }) => path)
  if (graphs.length === 0) {
    return "The repository has no ONNX graph. Look for an export of the model, e.g. below `onnx-community/`."
  }
  const wanted = dtype === undefined ? "of a known name" : `of precision \`${dtype}\``
  return `The repository has no graph ${wanted}. It has ${graphs.join(", ")}.`
}
