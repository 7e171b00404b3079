/**
 * Lets a graph with dynamically quantized products (`DynamicQuantizeLinear` before `MatMulInteger`, as `optimum` and `onnxruntime` write
 * `model_quantized.onnx`) round each token's numbers by a scale of its own. As it is, one scale is found for all numbers of a run, so what a
 * token is rounded to, and with it its text, depends on the tokens that are computed beside it. Pure.
 *
 * A scale per token is no coarser: it only has to reach as far as this token's numbers do.
 */
import type { GraphNode } from "./OnnxFile.ts"
import { OnnxGraph, TensorTypeNumber } from "./OnnxWriter.ts"

export interface RowQuantization {
  readonly added: OnnxGraph
  /** First outputs of the nodes that the added ones are instead of. */
  readonly removed: ReadonlyArray<string>
}

/** Of 8 bits without a sign, the value of zero, and how far they reach to both sides of it. */
const ZERO = 128
const REACH = 127
/** A row of zeros must not divide by zero. */
const SMALLEST = 1e-8

const QUANTIZE = "DynamicQuantizeLinear"

/** Operators that round by what is in the whole run. */
const BY_RUN = /^DynamicQuantize/

export const roundsByRun = (nodes: ReadonlyArray<GraphNode>): boolean =>
  nodes.some(({ operator }) => BY_RUN.test(operator))

/**
 * Null where nothing is to be done, or not all can be. `renamed`: values that other edits give to a node instead of its input, by the node's
 * first output.
 */
export function makeRowQuantization(
  nodes: ReadonlyArray<GraphNode>,
  renamed: ReadonlyMap<string, string>
): RowQuantization | null {
  const byRun = nodes.filter(({ operator }) => BY_RUN.test(operator))
  if (byRun.length === 0 || byRun.some((node) => !isReplaceable(node, nodes))) return null
  const graph = new OnnxGraph("helixflow", { nodes: "helixflow.rows" })
  const scalar = (name: string, value: number) =>
    graph.initializer(`helixflow.rows.${name}`, "float32", [], Float32Array.of(value))
  for (const { inputs, outputs } of byRun) {
    const [quantized = "", scale = "", zero = ""] = outputs
    const input = renamed.get(quantized) ?? inputs[0] ?? ""
    const name = (part: string) => `helixflow.rows.${part}.${quantized}`
    graph.nodeInto("Abs", [input], [name("magnitudes")])
    // takes tokens for channels; unlike ReduceMax, it is the same in all operator sets
    graph.nodeInto("GlobalMaxPool", [name("magnitudes")], [name("greatest")])
    graph.nodeInto("Max", [name("greatest"), scalar("smallest", SMALLEST)], [name("reach")])
    graph.nodeInto("Div", [name("reach"), scalar("steps", REACH)], [scale])
    graph.nodeInto("Div", [input, scale], [name("scaled")])
    graph.nodeInto("Round", [name("scaled")], [name("rounded")])
    graph.nodeInto("Add", [name("rounded"), scalar("zero", ZERO)], [name("shifted")])
    graph.nodeInto("Cast", [name("shifted")], [quantized], { attributes: { to: { int: TensorTypeNumber.uint8 } } })
    graph.initializer(zero, "uint8", [], Uint8Array.of(ZERO))
  }
  return { added: graph, removed: byRun.flatMap(({ outputs }) => outputs.slice(0, 1)) }
}

/** What a product is scaled by is multiplied with other scales alone, which a scale for each row may be as well. */
function isReplaceable({ operator, outputs }: GraphNode, nodes: ReadonlyArray<GraphNode>): boolean {
  const [quantized = "", scale = "", zero = ""] = outputs
  const users = (value: string) => nodes.filter(({ inputs }) => inputs.includes(value))
  const isProduct = (node: GraphNode) => node.operator === "MatMulInteger" && node.inputs[0] === quantized
  return (
    operator === QUANTIZE &&
    zero !== "" &&
    users(quantized).every(isProduct) &&
    users(zero).every((node) => isProduct(node) && node.inputs[2] === zero) &&
    users(scale).every((node) => node.operator === "Mul")
  )
}
