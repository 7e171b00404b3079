/**
 * What a folder of Hugging Face files holds, learned from its small JSON files and the headers of its ONNX files: no runtime is
 * loaded and no weights are read, so the model store can ask about every folder. A folder that can't be served is refused with the
 * reason and the file.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type { DeviceKind } from "@helixflow/schema/Device"
import { LoadFailed } from "@helixflow/schema/Errors"
import type { SamplingDefaults } from "@helixflow/schema/Generation"
import type { ModelTask } from "@helixflow/schema/Model"
import { Either, ParseResult, Schema } from "effect"
import type { Activation } from "./Activation.ts"
import { type ChatTemplates, readChatTemplates } from "./ChatTemplates.ts"
import { isClassifier, readClassifierFiles } from "./ClassificationFolder.ts"
import { recogniseClassifier } from "./ClassifierGraph.ts"
import { kvBytes, recogniseDecoder } from "./DecoderGraph.ts"
import { recogniseEmbedder } from "./EmbedderGraph.ts"
import { type EmbeddingPrompts, noPrompts, type Pooling, readSentenceFiles } from "./EmbeddingFolder.ts"
import { loadedBytes } from "./MemoryEstimate.ts"
import { GenerationConfig, ModelConfig, TokenizerConfig } from "./ModelConfig.ts"
import { findGraphs, type ModelGraph, type UnusableGraph } from "./ModelGraph.ts"
import { ModelSettings } from "./ModelSettings.ts"
import type { OnnxFile } from "./OnnxFile.ts"

export interface ModelFolder {
  readonly path: string
  readonly task: ModelTask
  /** Class of the model in `transformers`, e.g. `LlamaForCausalLM`; empty if the folder doesn't say. */
  readonly architecture: string
  /** The ONNX file to load. */
  readonly graph: string
  /** Others to load if the runtime refuses it, best first: none of them takes more memory. */
  readonly otherGraphs: ReadonlyArray<string>
  /** Bytes of the ONNX file and the weights beside it. */
  readonly graphBytes: number
  /** Tokens that the model knows; null: the files don't say. */
  readonly vocabulary: number | null
  /** Most tokens of a sequence. */
  readonly context: number
  /** Bytes of the KV cache per token; 0 for other tasks than text. */
  readonly kvPerToken: number
  /** What a worker takes once the model is loaded, before any request: an estimate in bytes. */
  readonly weights: number
  /** Ends a completion. */
  readonly eosTokenIds: ReadonlyArray<number>
  readonly padTokenId: number
  /** `generation_config.json`'s sampling, where it has any. */
  readonly sampling: SamplingDefaults
  /** Tokens that attend to each other at most; null: all. */
  readonly slidingWindow: number | null
  /** Null: the model is none for chats. */
  readonly chatTemplates: ChatTemplates | null
  /** Whether clients may write special tokens in messages. */
  readonly specialTokensInMessages: boolean
  readonly tokenizerConfig: TokenizerConfig
  /** How token vectors become one vector, in an embedding model. */
  readonly pooling: Pooling
  /** Put before texts that are embedded. */
  readonly embeddingPrompts: EmbeddingPrompts
  /** What a classifier's logits stand for, in their order; none for other tasks. */
  readonly labels: ReadonlyArray<string>
  /** From a classifier's logits to its scores. */
  readonly activation: Activation
}

/** Describes a folder for a kind of device. Throws `LoadFailed`, with `model` as the name to blame. */
export function describeModelFolder(folder: string, model: string, device: DeviceKind = "cpu"): ModelFolder {
  const refuse = (reason: string, file: string | null): never => {
    throw new LoadFailed({ model, reason, file })
  }
  const read = makeJsonReader(folder, refuse)
  const config =
    read("config.json", ModelConfig) ?? refuse("the folder has no config.json", path.join(folder, "config.json"))
  const generation = read("generation_config.json", GenerationConfig)
  const tokenizerConfig = read("tokenizer_config.json", TokenizerConfig) ?? {}
  const tokenizer = path.join(folder, "tokenizer.json")
  if (!fs.existsSync(tokenizer)) refuse("the folder has no tokenizer.json", tokenizer)

  const architecture = config.architectures?.[0] ?? ""
  // cross-encoders may have the files of sentence-transformers too, and don't embed
  const sentence = isClassifier(architecture) ? null : readSentenceFiles(folder, read, refuse)
  const task =
    detectTask(architecture, sentence !== null) ??
    refuse(`architecture \`${architecture}\` is not supported`, path.join(folder, "config.json"))
  const classifier = task === "classification" ? readClassifierFiles(folder, read, refuse) : null
  const settings = read("helixflow.json", ModelSettings)
  const slidingWindow = config.use_sliding_window === false ? null : (config.sliding_window ?? null)
  const vocabulary = config.vocab_size ?? null
  const recognise = recogniseFor(task, { slidingWindow, vocabulary, labels: classifier?.labels.length ?? 0 })
  const { usable, unusable } = findGraphs(folder, { ...settings, device }, recognise)
  const [best] = usable
  if (best === undefined) return refuse(...explain(folder, unusable))
  const memoryOf = ({ bytes: files, format }: ModelGraph<KnownGraph>) =>
    loadedBytes({ device, format, files, vocabulary, isText: task === "text-generation" })
  const context = contextOf(config, tokenizerConfig, sentence?.context ?? null)
  if (context === null) return refuse("the context length is not in config.json", path.join(folder, "config.json"))
  return {
    path: folder,
    task,
    architecture,
    graph: best.path,
    otherGraphs: usable
      .slice(1)
      .flatMap((other) =>
        memoryOf(other) <= memoryOf(best) && other.graph.kvPerToken <= best.graph.kvPerToken ? [other.path] : []
      ),
    graphBytes: best.bytes,
    vocabulary,
    context,
    kvPerToken: best.graph.kvPerToken,
    weights: memoryOf(best),
    eosTokenIds: [generation?.eos_token_id ?? config.eos_token_id ?? []].flat(),
    padTokenId: Math.max(0, config.pad_token_id ?? 0),
    sampling: samplingOf(generation),
    slidingWindow,
    chatTemplates: readChatTemplates(folder, tokenizerConfig),
    specialTokensInMessages: settings?.specialTokensInMessages ?? false,
    tokenizerConfig,
    pooling: sentence?.pooling ?? "mean",
    embeddingPrompts: sentence?.prompts ?? noPrompts,
    labels: classifier?.labels ?? [],
    activation: classifier?.activation ?? "identity"
  }
}

/** Reads and decodes a JSON file below the folder; null if there is none. */
export type JsonReader = <A, I>(file: string, schema: Schema.Schema<A, I>) => A | null

function makeJsonReader(folder: string, refuse: (reason: string, file: string) => never): JsonReader {
  return (name, schema) => {
    const file = path.join(folder, name)
    if (!fs.existsSync(file)) return null
    const decoded = Schema.decodeUnknownEither(Schema.parseJson(schema))(fs.readFileSync(file, "utf8"))
    if (Either.isRight(decoded)) return decoded.right
    const [issue] = ParseResult.ArrayFormatter.formatErrorSync(decoded.left)
    const where = issue === undefined || issue.path.length === 0 ? "" : `\`${issue.path.join(".")}\`: `
    return refuse(`${where}${issue?.message ?? "malformed JSON"}`, file)
  }
}

function detectTask(architecture: string, isSentenceModel: boolean): ModelTask | null {
  if (isClassifier(architecture)) return "classification"
  if (isSentenceModel) return "embedding"
  if (/(ForCausalLM|LMHeadModel)$/.test(architecture)) return "text-generation"
  // the bare encoder, e.g. BertModel: token vectors to be pooled
  if (/Model$/.test(architecture)) return "embedding"
  return null
}

/** What is to know of a graph before it is loaded: how much its cache takes. */
interface KnownGraph {
  readonly kvPerToken: number
}

function recogniseFor(
  task: ModelTask,
  given: { readonly slidingWindow: number | null; readonly vocabulary: number | null; readonly labels: number }
): (file: OnnxFile) => KnownGraph {
  switch (task) {
    case "text-generation":
      return (file) => ({ kvPerToken: kvBytes(recogniseDecoder(file, given)) })
    case "embedding":
      return (file) => {
        recogniseEmbedder(file)
        return { kvPerToken: 0 }
      }
    case "classification":
      return (file) => {
        recogniseClassifier(file, given.labels)
        return { kvPerToken: 0 }
      }
  }
}

/** Why none of a folder's graphs can be loaded. */
function explain(folder: string, unusable: ReadonlyArray<UnusableGraph>): readonly [reason: string, file: string] {
  const [first] = unusable
  if (first === undefined) return ["the folder has no ONNX file of a known name (onnx/model.onnx, …)", folder]
  if (unusable.length === 1) return [first.reason, first.path]
  return [unusable.map(({ path: file, reason }) => `${path.relative(folder, file)}: ${reason}`).join("; "), first.path]
}

/** Families whose positions count from behind the padding's: their `max_position_embeddings` are more than there are to use. */
const POSITIONS_BEHIND_PADDING = new Set(["camembert", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl"])

/** The smallest of the limits that the files name, or null where they name none. */
function contextOf(config: ModelConfig, tokenizer: TokenizerConfig, sentence: number | null): number | null {
  const positions = config.max_position_embeddings ?? config.n_positions ?? config.n_ctx ?? config.max_seq_len ?? null
  const unused = POSITIONS_BEHIND_PADDING.has(config.model_type ?? "") ? (config.pad_token_id ?? 1) + 1 : 0
  // tokenizers without a limit say 1e30
  const limits = [positions === null ? null : positions - unused, tokenizer.model_max_length ?? null, sentence].filter(
    (limit) => limit !== null && Number.isSafeInteger(limit)
  )
  return limits.reduce<number | null>((least, limit) => Math.min(least ?? Number.POSITIVE_INFINITY, limit ?? 0), null)
}

/** A model whose configuration turns sampling off is greedy by default, as in `transformers`. */
function samplingOf(generation: GenerationConfig | null): SamplingDefaults {
  if (generation === null) return {}
  const { temperature, top_p, top_k, min_p, typical_p, repetition_penalty } = generation
  return {
    ...(generation.do_sample === false
      ? { temperature: 0 }
      : temperature == null
        ? {}
        : { temperature: Math.min(2, temperature) }),
    ...(top_p == null ? {} : { topP: top_p }),
    ...(top_k == null ? {} : { topK: top_k }),
    ...(min_p == null ? {} : { minP: min_p }),
    ...(typical_p == null ? {} : { typicalP: typical_p }),
    ...(repetition_penalty == null ? {} : { repetitionPenalty: repetition_penalty })
  }
}
