/**
 * Appends outputs with only the new keys and values to a decoder's graph. ONNX Runtime's binding copies every output that is
 * fetched, and `present.*` holds the whole cache: returning it takes most of a decode step. Pure.
 */
import type { DecoderGraph, KvValue } from "./DecoderGraph.ts"
import type { FloatType } from "./Floats.ts"
import type { GraphNode } from "./OnnxFile.ts"
import { OnnxGraph } from "./OnnxWriter.ts"

export interface GraphPatch {
  readonly added: OnnxGraph
  /** Which runs the new outputs hold all columns of: any, or only those with one token per sequence. */
  readonly columns: "all" | "single"
}

/** Value names of the patch; no exporter makes names like these. */
const PREFIX = "helixflow."

/** The output with only the new columns of `present.N.key`. */
export const newColumnsOutput = ({ present }: KvValue): string => present.replace("present.", "new.")

/** Null where the graph makes its cache in a way that is not known; `present.*` still works. */
export function makeGraphPatch(nodes: ReadonlyArray<GraphNode>, graph: DecoderGraph): GraphPatch | null {
  const producers = new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)))
  const patch = new OnnxGraph("helixflow", { nodes: "helixflow.columns" })
  for (const kv of graph.kv) {
    const producer = producers.get(kv.present)
    const add = graph.attention === "grouped" ? addGathered : addConcatenated
    const added = add(patch, { kv, producer, type: graph.kvType })
    if (!added) return null
  }
  return {
    added: patch,
    columns: graph.attention === "grouped" ? "single" : "all"
  }
}

/**
 * Whether past and present may be the same memory: GroupQueryAttention then writes new keys and values where they belong, and
 * leaves the others alone.
 */
export function writesInPlace(nodes: ReadonlyArray<GraphNode>, { kv }: DecoderGraph): boolean {
  const grouped = nodes.filter(({ operator }) => operator === "GroupQueryAttention")
  return kv.every(({ past, present }) =>
    grouped.some(
      ({ inputs, outputs }) =>
        (inputs[3] === past && outputs[1] === present) || (inputs[4] === past && outputs[2] === present)
    )
  )
}

interface CacheOutput {
  readonly kv: KvValue
  /** What makes `present.N.key`. */
  readonly producer: GraphNode | undefined
  readonly type: FloatType
}

/** Plain attention concatenates the past and the new columns: the second operand is what is wanted. */
function addConcatenated(patch: OnnxGraph, { kv, producer, type }: CacheOutput): boolean {
  const [past, columns] = producer?.inputs ?? []
  if (producer?.operator !== "Concat" || past !== kv.past || columns === undefined) return false
  const output = newColumnsOutput(kv)
  patch.nodeInto("Identity", [columns], [output])
  patch.output(output, type, ["batch_size", kv.heads, "sequence_length", kv.dimension])
  return true
}

/**
 * GroupQueryAttention keeps its rotated keys to itself, so the column is gathered from the cache: at `seqlens_k` (its sixth
 * input), which is each sequence's length without the new token.
 */
function addGathered(patch: OnnxGraph, { kv, producer, type }: CacheOutput): boolean {
  const lengths = producer?.inputs[5]
  if (producer?.operator !== "GroupQueryAttention" || lengths === undefined || lengths === "") return false
  const output = newColumnsOutput(kv)
  const name = (part: string) => `${PREFIX}${part}.${output}`
  const constant = (part: string, values: ReadonlyArray<number>) =>
    patch.initializer(name(part), "int64", [values.length], BigInt64Array.from(values, BigInt))
  patch.nodeInto("Cast", [lengths], [name("length")], { attributes: { to: { int: 7 } } })
  patch.nodeInto("Reshape", [name("length"), constant("column", [-1, 1, 1, 1])], [name("row")])
  patch.nodeInto("Expand", [name("row"), constant("heads", [1, kv.heads, 1, 1])], [name("index")])
  patch.nodeInto("GatherND", [kv.present, name("index")], [output], { attributes: { batch_dims: { int: 2 } } })
  patch.output(output, type, ["batch_size", kv.heads, 1, kv.dimension])
  return true
}
