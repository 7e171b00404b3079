/** What a text graph is given besides its cache, for a run of some tokens of some sequences. Pure. */
import { alikeOf, type DecoderGraph, type IntegerType } from "./DecoderGraph.ts"
import { LOGITS_OF } from "./LogitsPatch.ts"

/** A run of new tokens for each of `lengths.length` slots from `first` on. */
export interface DecoderRun {
  readonly first: number
  /** New tokens of each row. Shorter rows are padded on the right, where nothing that counts sees it. */
  readonly tokens: ReadonlyArray<ReadonlyArray<number>>
  /** Tokens that each row's slot holds. */
  readonly lengths: ReadonlyArray<number>
  /** For how many of the last tokens of a row logits are wanted; graphs that can't choose compute more. */
  readonly keep: number
}

export interface IntegerInput {
  readonly data: BigInt64Array | Int32Array
  readonly dims: ReadonlyArray<number>
}

/** Tokens of each row that are computed, padding included. */
export const widthOf = ({ tokens }: DecoderRun): number =>
  tokens.reduce((widest, row) => Math.max(widest, row.length), 0)

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
  const width = widthOf(run)
  switch (name) {
    case "input_ids":
      return { data: tokensOf(run, width, type), dims: [rows, width] }
    case "position_ids":
      return { data: positionsOf(run, width, type), dims: [rows, width] }
    case "attention_mask":
      return attentionMask({ graph, run, past }, width, type)
    case LOGITS_OF:
      return { data: chosenTokens(run), dims: [rows * run.keep, 1, 2] }
    default: {
      // 0 would ask for all
      const keep = Math.max(1, run.keep)
      return { data: type === "int64" ? BigInt64Array.of(BigInt(keep)) : Int32Array.of(keep), dims: [] }
    }
  }
}

function tokensOf({ tokens }: DecoderRun, width: number, type: IntegerType): IntegerInput["data"] {
  const size = tokens.length * width
  const data = type === "int64" ? new BigInt64Array(size) : new Int32Array(size)
  for (const [row, own] of tokens.entries()) {
    for (const [index, token] of own.entries()) {
      if (data instanceof BigInt64Array) data[row * width + index] = BigInt(token)
      else data[row * width + index] = token
    }
  }
  return data
}

/** Row and place in it of every token whose logits are wanted. */
function chosenTokens({ tokens, keep }: DecoderRun): BigInt64Array {
  const chosen = new BigInt64Array(tokens.length * keep * 2)
  for (const [row, { length }] of tokens.entries()) {
    for (let index = 0; index < keep; index++) {
      chosen[2 * (row * keep + index)] = BigInt(row)
      chosen[2 * (row * keep + index) + 1] = BigInt(length - keep + index)
    }
  }
  return chosen
}

/** Shape of a run's logits. */
export function logitsShape(graph: DecoderGraph, rows: number, perRow: number): ReadonlyArray<number> {
  return graph.integers.has(LOGITS_OF) ? [rows * perRow, 1, graph.vocabulary] : [rows, perRow, graph.vocabulary]
}

/** Rows of logits that a graph gives for each sequence of a run. */
export function logitsPerRow(graph: DecoderGraph, run: DecoderRun): number {
  if (graph.lastLogitsOnly) return 1
  if (graph.integers.has(LOGITS_OF)) return run.keep
  return graph.logitsToKeep === null ? widthOf(run) : Math.max(1, run.keep)
}

function positionsOf({ lengths }: DecoderRun, width: number, type: IntegerType): IntegerInput["data"] {
  const positions = lengths.flatMap((length) => Array.from({ length: width }, (_, index) => length + index))
  return type === "int32" ? Int32Array.from(positions) : BigInt64Array.from(positions, BigInt)
}

/** Row by row, 1 for each column that holds a token; filled by ranges, because it is as large as all of the sequences. */
function attentionMask({ graph, run, past }: Given, width: number, type: IntegerType): IntegerInput {
  const { lengths, tokens } = run
  const isGrouped = graph.attention === "grouped"
  const columns = isGrouped ? Math.max(...lengths) + width : past + width
  const size = lengths.length * columns
  const data = type === "int64" ? new BigInt64Array(size) : new Int32Array(size)
  const fill = (start: number, end: number) => {
    if (data instanceof BigInt64Array) data.fill(1n, start, end)
    else data.fill(1, start, end)
  }
  for (const [row, length] of lengths.entries()) {
    const start = row * columns
    const added = tokens[row]?.length ?? 0
    fill(start, start + (isGrouped ? length + added : length))
    if (!isGrouped) fill(start + past, start + past + added)
  }
  return { data, dims: [lengths.length, columns] }
}

/**
 * Whether prompts of different lengths can be computed from their beginnings in one run: their last tokens, whose logits are wanted, are at
 * different places. GroupQueryAttention refuses several sequences of several tokens only where there is a past.
 */
export const sharesPrompts = (graph: DecoderGraph): boolean =>
  graph.attention !== "exact" && graph.integers.has(LOGITS_OF) && alikeOf(graph) !== "blocks" && !graph.roundsByRun
