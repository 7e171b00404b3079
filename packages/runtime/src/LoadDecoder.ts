/**
 * Chooses how a text graph is computed here, the fastest way first:
 * - `ffi`: the runtime's C API. Grouped attention writes into the cache itself, other graphs are patched.
 * - `binding`: the runtime's binding for Node.js with the graph patch, or, where the graph can't be patched, without.
 *
 * GPUs are left to the binding: the C API would have to be given memory of theirs for the cache, and is given ours.
 */
import * as path from "node:path"
import type { LocalDevice } from "@helixflow/schema/Device"
import type { EngineChoice } from "@helixflow/schema/Model"
import type { Decoder } from "./Decoder.ts"
import { computesAlike } from "./DecoderCheck.ts"
import { type DecoderGraph, recogniseDecoder } from "./DecoderGraph.ts"
import { isGpu, nameOf, PROCESSOR } from "./ExecutionProvider.ts"
import { FfiDecoder } from "./FfiDecoder.ts"
import { type GraphPatch, makeGraphPatch, writesInPlace } from "./GraphPatch.ts"
import { readLeanModel } from "./LeanModel.ts"
import { LOGITS_OF, type LogitsPatch, makeLogitsPatch } from "./LogitsPatch.ts"
import { type OnnxFile, readOnnxFile } from "./OnnxFile.ts"
import { OrtApi } from "./OrtApi.ts"
import { ProviderUnavailable } from "./OrtProvider.ts"
import { OrtSession } from "./OrtSession.ts"
import { makeRowQuantization, type RowQuantization } from "./RowQuantization.ts"
import { continuesWithSeveral, TokenwiseDecoder } from "./TokenwiseDecoder.ts"

export interface LoadDecoderOptions {
  /** The model's public name, for messages. */
  readonly model: string
  /** The ONNX file. */
  readonly graph: string
  readonly slidingWindow: number | null
  readonly vocabulary: number | null
  readonly slots: number
  readonly threads: number
  /** The processor when absent. */
  readonly device?: LocalDevice
  readonly engine?: EngineChoice
  /** Whether graphs may be patched. */
  readonly patch: boolean
  /** The runtime's library, instead of the one that is bundled. */
  readonly library?: string
}

/** Files of older exporters, whose graphs may have been traced with one new token. So may merged ones, whatever their name. */
const TRACED_WITH_CACHE = /with_past/

interface Graph {
  readonly file: OnnxFile
  readonly decoder: DecoderGraph
  /** Returns what is new in the cache alone; null where the graph makes it in a way that is not known. */
  readonly patch: GraphPatch | null
  /** Computes no more logits than are wanted; null where it is not known what makes them. */
  readonly logits: LogitsPatch | null
  /** Rounds each token's numbers by themselves; null where nothing is rounded by the run, or it is not known how. */
  readonly rows: RowQuantization | null
}

/** Rejects with `UnsupportedGraph` or the runtime's `Error`. What doesn't work though it should is told on stderr. */
export async function loadDecoder(options: LoadDecoderOptions): Promise<Decoder> {
  const file = readOnnxFile(options.graph)
  const decoder = recogniseDecoder(file, options)
  const patch = options.patch ? makeGraphPatch(file.nodes, decoder) : null
  const logits = options.patch ? makeLogitsPatch(file.nodes, decoder) : null
  const chosen = new Map(logits?.rewired.map(({ node, by }) => [node, by]))
  const rows = options.patch ? makeRowQuantization(file.nodes, chosen) : null
  const loaded = await loadDirectly(options, { file, decoder, patch, logits, rows })
  if (options.device !== undefined && isGpu(options.device.kind) && !(await computesAlike(loaded))) {
    await loaded.close()
    throw new Error(
      `${nameOf(options.device)} computes the graph wrongly: the same tokens give other logits together than in parts`
    )
  }
  const isDoubtful = decoder.merged || TRACED_WITH_CACHE.test(path.basename(options.graph))
  if (!isDoubtful || (await continuesWithSeveral(loaded))) return loaded
  console.error(`${options.model} continues prompts token by token: its graph can't compute several after a cache`)
  return new TokenwiseDecoder(loaded)
}

async function loadDirectly(options: LoadDecoderOptions, graph: Graph): Promise<Decoder> {
  const { device = PROCESSOR, engine = "auto", threads } = options
  const { file, decoder } = graph
  const inPlace = writesInPlace(file.nodes, decoder)
  if (engine === "ffi" && isGpu(device.kind)) {
    throw new Error(
      `\`engine\` \`ffi\` computes on the processor alone, and ${nameOf(device)} is none; use \`binding\``
    )
  }
  if (engine === "ffi" || (engine === "auto" && !isGpu(device.kind) && (inPlace || graph.patch !== null))) {
    try {
      return await loadFfi(options, graph, inPlace)
    } catch (cause) {
      if (engine === "ffi") throw cause
      tell(options.model, "with the runtime's binding", cause)
    }
  }
  if (graph.patch !== null) {
    try {
      return await loadPatched(options, graph, graph.patch)
    } catch (cause) {
      if (cause instanceof ProviderUnavailable) throw cause
      tell(options.model, "as it is", cause)
    }
  }
  tellOfRounding(options.model, decoder)
  const { OnnxDecoder, OnnxSession } = await loadBinding()
  const session = await OnnxSession.load(options.graph, { device, threads })
  return new OnnxDecoder({ session, graph: decoder, slots: options.slots, newColumns: "none" })
}

async function loadFfi(options: LoadDecoderOptions, graph: Graph, inPlace: boolean): Promise<Decoder> {
  const { slots, threads } = options
  const api = await OrtApi.load(options.library)
  if (!inPlace && graph.patch === null) throw new Error("the graph makes its cache in a way that is not known")
  const { decoder: loaded, model } = edited(options.graph, graph, inPlace ? null : graph.patch)
  tellOfRounding(options.model, loaded)
  const decoder = new FfiDecoder({ session: await OrtSession.load(api, model, threads), graph: loaded, slots })
  try {
    // outputs whose shapes are not as expected show here, before a request meets them
    await decoder.prefill({ slot: 0, tokens: [0, 0], from: 0, logits: true })
    return decoder
  } catch (cause) {
    await decoder.close()
    throw cause
  }
}

async function loadPatched(options: LoadDecoderOptions, graph: Graph, patch: GraphPatch) {
  const { device = PROCESSOR, slots, threads } = options
  const { decoder, model } = edited(options.graph, graph, patch)
  tellOfRounding(options.model, decoder)
  const { OnnxDecoder, OnnxSession } = await loadBinding()
  const session = await OnnxSession.load(model, { device, threads })
  return new OnnxDecoder({ session, graph: decoder, slots, newColumns: patch.columns })
}

/** Only where it is needed: it takes a tenth of a worker's start. */
async function loadBinding() {
  const [{ OnnxDecoder }, { OnnxSession }] = await Promise.all([import("./OnnxDecoder.ts"), import("./OnnxSession.ts")])
  return { OnnxDecoder, OnnxSession }
}

/** The graph with its patches, and what it is then. */
function edited(file: string, { decoder, logits, rows }: Graph, patch: GraphPatch | null) {
  const added = [patch, logits, rows].flatMap((edit) => (edit === null ? [] : [edit.added]))
  const model = readLeanModel(file, { added, rewired: logits?.rewired ?? [], removed: rows?.removed ?? [] })
  const integers = logits === null ? [] : [[LOGITS_OF, "int64"] as const]
  return {
    model,
    decoder: {
      ...decoder,
      integers: new Map([...decoder.integers, ...integers]),
      roundsByRun: decoder.roundsByRun && rows === null
    }
  }
}

function tellOfRounding(model: string, { roundsByRun }: DecoderGraph): void {
  if (roundsByRun)
    console.error(`${model} rounds numbers by all tokens of a run: a text depends on what is computed beside it`)
}

function tell(model: string, way: string, cause: unknown): void {
  console.error(`${model} is loaded ${way}, which is slower: ${String(cause)}`)
}
