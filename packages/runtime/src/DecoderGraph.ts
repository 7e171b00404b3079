/**
 * Recognises a text generation graph by its inputs, outputs and operators, in the naming of `optimum` and `transformers.js`. What
 * is not recognised is refused with its reason: a wrong guess would compute nonsense. Pure.
 */

import { FLOAT_BYTES, type FloatType, isFloatType } from "./Floats.ts"
import type { Alike } from "./Grain.ts"
import type { GraphValue, OnnxFile } from "./OnnxFile.ts"
import { roundsByRun } from "./RowQuantization.ts"

/**
 * How the graph tells the sequences of a batch apart, and where it puts new keys and values:
 * - `grouped`: GroupQueryAttention. The sum of a row of the attention mask is the sequence's length; new columns follow its last
 *   one within the capacity given.
 * - `masked`: keys are concatenated after the whole capacity, columns without a token are masked; positions are an input, or are
 *   counted from the mask.
 * - `exact`: positions follow from the shape, so a sequence is computed alone and with exactly the columns it has.
 */
export type AttentionKind = "grouped" | "masked" | "exact"

/** A layer's keys or values. */
export interface KvValue {
  /** `past_key_values.0.key` */
  readonly past: string
  /** `present.0.key` */
  readonly present: string
  readonly heads: number
  readonly dimension: number
}

export type IntegerType = "int64" | "int32"

export interface DecoderGraph {
  readonly attention: AttentionKind
  readonly kv: ReadonlyArray<KvValue>
  readonly kvType: FloatType
  readonly vocabulary: number
  readonly logitsType: FloatType
  /** Integer inputs by name; a graph has `input_ids` and may have the others. */
  readonly integers: ReadonlyMap<string, IntegerType>
  /** Input that says for how many of the last tokens logits are computed, if the graph has one. */
  readonly logitsToKeep: string | null
  /** Whether logits are computed for the last token alone, as exporters do that are told to prune the head. */
  readonly lastLogitsOnly: boolean
  /**
   * Two graphs in one, as `optimum` merges them: an input chooses the branch. The one without a cache ignores what it is given as
   * one, but wants columns in it; the other may have been traced with a single new token and be wrong for several.
   */
  readonly merged: boolean
  /** Whether numbers between its operators are rounded to few bits, so that what differs in the last bits doesn't stay there. */
  readonly coarse: boolean
  /** Whether they are rounded by what all tokens of a run have, so that a text depends on what is computed beside it. */
  readonly roundsByRun: boolean
}

/** Which runs of the graph give the same numbers; none: all do. */
export const alikeOf = ({ attention, coarse }: Pick<DecoderGraph, "attention" | "coarse">): Alike | undefined =>
  coarse ? (attention === "grouped" ? "several" : "blocks") : undefined

/** Operators that round what they multiply to 8 bits, or may. */
const COARSE =
  /^(MatMulNBits|MatMulInteger|MatMulIntegerToFloat|DynamicQuantize|QLinear|QuantizeLinear|QAttention|QGemm)/

/** Bytes of the cache per token. */
export const kvBytes = ({ kv, kvType }: Pick<DecoderGraph, "kv" | "kvType">): number =>
  FLOAT_BYTES[kvType] * kv.reduce((sum, { heads, dimension }) => sum + heads * dimension, 0)

/** The graph is none that text can be generated with. */
export class UnsupportedGraph extends Error {
  override readonly name = "UnsupportedGraph"
}

const LOGITS_TO_KEEP = ["num_logits_to_keep", "logits_to_keep"]
const INTEGERS = ["input_ids", "attention_mask", "position_ids", ...LOGITS_TO_KEEP]
/** Chooses the branch of a merged graph. */
export const CACHE_BRANCH = "use_cache_branch"
const PAST = /^past_key_values\.(\d+\.(?:key|value))$/

export interface RecogniseOptions {
  /** Tokens that attend to each other at most, from the configuration; null: all. */
  readonly slidingWindow: number | null
  /** Tokens that the configuration says that there are, for graphs that don't; null: it doesn't either. */
  readonly vocabulary: number | null
}

type Graph = Pick<OnnxFile, "inputs" | "outputs" | "nodes" | "innerNodes">

/** Throws {@link UnsupportedGraph}. */
export function recogniseDecoder(file: Graph, { slidingWindow, vocabulary }: RecogniseOptions): DecoderGraph {
  const past = file.inputs.filter(({ name }) => PAST.test(name))
  const kvType =
    past[0]?.type ?? refuse("the graph has no inputs `past_key_values.N.key`: it can't be used token by token")
  const kv = past.map((input) => recogniseKv(input, file.outputs, kvType))
  const integers = new Map<string, IntegerType>()
  for (const { name, type } of file.inputs) if (INTEGERS.includes(name)) integers.set(name, integerType(name, type))
  if (!integers.has("input_ids")) refuse("the graph has no input `input_ids`")
  const merged = file.inputs.some(({ name }) => name === CACHE_BRANCH)
  const unknown = file.inputs.find(({ name }) => !integers.has(name) && !PAST.test(name) && name !== CACHE_BRANCH)
  if (unknown !== undefined) refuse(`the graph has an input \`${unknown.name}\` that is not known`)
  const logits = file.outputs.find(({ name }) => name === "logits") ?? refuse("the graph has no output `logits`")
  const width = logits.shape[2]
  const nodes = [...file.nodes, ...file.innerNodes]
  return {
    attention: attentionOf(file, integers, slidingWindow !== null),
    kv,
    kvType: isFloatType(kvType) ? kvType : refuse(`a KV cache of type ${kvType} is not supported`),
    vocabulary: typeof width === "number" ? width : (vocabulary ?? fixed(logits, 2)),
    logitsType: isFloatType(logits.type) ? logits.type : refuse(`logits of type ${logits.type} are not supported`),
    integers,
    logitsToKeep: LOGITS_TO_KEEP.find((name) => integers.has(name)) ?? null,
    lastLogitsOnly: logits.shape[1] === 1,
    merged,
    coarse: kvType === "float16" || nodes.some(({ operator }) => COARSE.test(operator)),
    roundsByRun: roundsByRun(nodes)
  }
}

/** Windows are cut by column in the graph, and columns are positions only in `grouped` and `exact`. */
function attentionOf(file: Graph, inputs: DecoderGraph["integers"], windowed: boolean): AttentionKind {
  const uses = (operator: string) => [...file.nodes, ...file.innerNodes].some((node) => node.operator === operator)
  const isMasked = inputs.has("attention_mask")
  if (uses("GroupQueryAttention")) {
    return isMasked
      ? "grouped"
      : refuse("a graph with GroupQueryAttention and without `attention_mask` is not supported")
  }
  // without position_ids, exporters count positions as the cumulative sum of the mask, or else take columns for positions
  return isMasked && !windowed && (inputs.has("position_ids") || uses("CumSum")) ? "masked" : "exact"
}

function recogniseKv(past: GraphValue, outputs: ReadonlyArray<GraphValue>, type: string): KvValue {
  const present = past.name.replace("past_key_values.", "present.")
  const output = outputs.find(({ name }) => name === present) ?? refuse(`the graph has no output \`${present}\``)
  if (past.shape.length !== 4) refuse(`\`${past.name}\` has ${past.shape.length} dimensions instead of 4`)
  const other = [past, output].find((value) => value.type !== type)
  if (other !== undefined) refuse(`\`${other.name}\` is of type ${other.type}, others of the cache are ${type}`)
  return { past: past.name, present, heads: fixed(past, 1), dimension: fixed(past, 3) }
}

function integerType(name: string, type: string): IntegerType {
  return type === "int64" || type === "int32" ? type : refuse(`\`${name}\` of type ${type} is not supported`)
}

function fixed(value: GraphValue, axis: number): number {
  const size = value.shape[axis]
  return typeof size === "number" && size > 0 ? size : refuse(`dimension ${axis} of \`${value.name}\` is not fixed`)
}

function refuse(reason: string): never {
  throw new UnsupportedGraph(reason)
}
