/**
 * Lets a decoder's graph compute logits only of those tokens whose next one is wanted: the last ones of prompts. A vocabulary's product is a
 * quarter of what a model of 100 million parameters computes, and most exporters compute it for every token. Pure.
 */
import type { DecoderGraph } from "./DecoderGraph.ts"
import type { Rewiring } from "./LeanModel.ts"
import type { GraphNode } from "./OnnxFile.ts"
import { OnnxGraph } from "./OnnxWriter.ts"

export interface LogitsPatch {
  readonly added: OnnxGraph
  readonly rewired: ReadonlyArray<Rewiring>
}

/**
 * Input `[logits, 1, 2]`: row and place in it of every token that logits are computed of, which may be none. Logits are
 * `[logits, 1, vocabulary]` then.
 */
export const LOGITS_OF = "helixflow.logits_of"
const CHOSEN = "helixflow.chosen"

/** What may be between the vocabulary's product and the logits: biases, scales, caps and casts. */
const ELEMENTWISE = new Set(["Identity", "Cast", "Add", "Sub", "Mul", "Div", "Tanh"])
/** Products whose first operand is `[batch, sequence, hidden]`. */
const PRODUCTS = new Set(["MatMul", "MatMulNBits", "FusedMatMul"])

/** Null where it is not known what the logits are made of, or they are not of all tokens anyway. */
export function makeLogitsPatch(nodes: ReadonlyArray<GraphNode>, graph: DecoderGraph): LogitsPatch | null {
  if (graph.logitsToKeep !== null || graph.lastLogitsOnly) return null
  const head = findHead(nodes)
  const [hidden] = head?.inputs ?? []
  const [node] = head?.outputs ?? []
  if (hidden === undefined || node === undefined) return null
  const added = new OnnxGraph("helixflow", { nodes: "helixflow.logits" })
  added.input(LOGITS_OF, "int64", ["logits", 1, 2])
  added.nodeInto("GatherND", [hidden, LOGITS_OF], [CHOSEN])
  added.output("logits", graph.logitsType, ["logits", 1, graph.vocabulary])
  return { added, rewired: [{ node, input: hidden, by: CHOSEN }] }
}

/** The node whose first input has a row for every token, and which leads to nothing but the logits. */
function findHead(nodes: ReadonlyArray<GraphNode>): GraphNode | null {
  const producers = new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)))
  const uses = (value: string) => nodes.filter(({ inputs }) => inputs.includes(value)).length
  const isMade = (value: string) => producers.has(value) && producers.get(value)?.operator !== "Constant"
  for (let value = "logits"; ; ) {
    const node = producers.get(value)
    // what else uses it wants it of all tokens
    if (node === undefined || uses(value) > (value === "logits" ? 0 : 1)) return null
    if (PRODUCTS.has(node.operator)) return node
    if (node.operator === "MatMulInteger") {
      const quantizing = producers.get(node.inputs[0] ?? "")
      const isAlone = quantizing?.outputs.every((output) => output === "" || uses(output) === 1) ?? false
      return quantizing?.operator === "DynamicQuantizeLinear" && isAlone ? quantizing : null
    }
    const next = ELEMENTWISE.has(node.operator) ? node.inputs.find(isMade) : undefined
    if (next === undefined) return null
    value = next
  }
}
