/** What a text graph is given besides its cache, for a run of some tokens of some sequences. Pure. */
import type { DecoderGraph, IntegerType } from "./DecoderGraph.ts"
import { LOGITS_OF } from "./LogitsPatch.ts"

/** A run of `count` new tokens for each of `lengths.length` slots from `first` on. */
export interface DecoderRun {
  readonly first: number
  /** New tokens, row by row. */
  readonly tokens: ReadonlyArray<number>
  /** New tokens per row. */
  readonly count: number
  /** Tokens that each row's slot holds. */
  readonly lengths: ReadonlyArray<number>
  /** For how many of the last tokens of a row logits are wanted; graphs that can't choose compute more. */
  readonly keep: number
}

export interface IntegerInput {
  readonly data: BigInt64Array | Int32Array
  readonly dims: ReadonlyArray<number>
}

/** Columns of the cache that are given to the graph, of the `capacity` that there are. */
export function pastLength({ attention }: DecoderGraph, { lengths }: DecoderRun, capacity: number): number {
  if (lengths.every((length) => length === 0)) return 0
  return attention === "exact" ? (lengths[0] ?? 0) : capacity
}

/** The integer inputs by name. `past`: columns of the cache that are given. */
export function integerInputs(graph: DecoderGraph, run: DecoderRun, past: number): ReadonlyMap<string, IntegerInput> {
  const inputs = new Map<string, IntegerInput>()
  for (const [name, type] of graph.integers) inputs.set(name, integerInput(name, type, { graph, run, past }))
  return inputs
}

interface Given {
  readonly graph: DecoderGraph
  readonly run: DecoderRun
  readonly past: number
}

function integerInput(name: string, type: IntegerType, { graph, run, past }: Given): IntegerInput {
  const rows = run.lengths.length
  switch (name) {
    case "input_ids":
      return { data: tokensOf(run, type), dims: [rows, run.count] }
    case "position_ids":
      return { data: positionsOf(run, type), dims: [rows, run.count] }
    case "attention_mask":
      return attentionMask(graph, run, past, type)
    case LOGITS_OF:
      return { data: chosenTokens(run), dims: [1, rows * run.keep, 2] }
    default: {
      // 0 would ask for all
      const keep = Math.max(1, run.keep)
      return { data: type === "int64" ? BigInt64Array.of(BigInt(keep)) : Int32Array.of(keep), dims: [] }
    }
  }
}

function tokensOf({ tokens }: DecoderRun, type: IntegerType): IntegerInput["data"] {
  if (type === "int32") return Int32Array.from(tokens)
  const data = new BigInt64Array(tokens.length)
  for (const [index, token] of tokens.entries()) data[index] = BigInt(token)
  return data
}

/** Row and place in it of every token whose logits are wanted. */
function chosenTokens({ lengths, count, keep }: DecoderRun): BigInt64Array {
  const chosen = new BigInt64Array(lengths.length * keep * 2)
  for (let index = 0; index < lengths.length * keep; index++) {
    chosen[2 * index] = BigInt(Math.floor(index / keep))
    chosen[2 * index + 1] = BigInt(count - keep + (index % keep))
  }
  return chosen
}

/** Shape of a run's logits. */
export function logitsShape(graph: DecoderGraph, rows: number, perRow: number): ReadonlyArray<number> {
  return graph.integers.has(LOGITS_OF) ? [1, rows * perRow, graph.vocabulary] : [rows, perRow, graph.vocabulary]
}

/** Rows of logits that a graph gives for each sequence of a run. */
export function logitsPerRow(graph: DecoderGraph, { count, keep }: DecoderRun): number {
  if (graph.lastLogitsOnly) return 1
  if (graph.integers.has(LOGITS_OF)) return keep
  return graph.logitsToKeep === null ? count : Math.max(1, keep)
}

function positionsOf({ lengths, count }: DecoderRun, type: IntegerType): IntegerInput["data"] {
  const positions = lengths.flatMap((length) => Array.from({ length: count }, (_, index) => length + index))
  return type === "int32" ? Int32Array.from(positions) : BigInt64Array.from(positions, BigInt)
}

/** Row by row, 1 for each column that holds a token; filled by ranges, because it is as large as all of the sequences. */
function attentionMask(
  { attention }: DecoderGraph,
  { lengths, count }: DecoderRun,
  past: number,
  type: IntegerType
): IntegerInput {
  const columns = attention === "grouped" ? Math.max(...lengths) + count : past + count
  const size = lengths.length * columns
  const data = type === "int64" ? new BigInt64Array(size) : new Int32Array(size)
  const fill = (start: number, end: number) => {
    if (data instanceof BigInt64Array) data.fill(1n, start, end)
    else data.fill(1, start, end)
  }
  for (const [row, length] of lengths.entries()) {
    const start = row * columns
    fill(start, start + (attention === "grouped" ? length + count : length))
    if (attention !== "grouped") fill(start + past, start + columns)
  }
  return { data, dims: [lengths.length, columns] }
}
