/** The engine for Hugging Face folders with ONNX graphs: a folder becomes a running engine, or is refused with the reason and the file. */
import * as path from "node:path"
import { setImmediate } from "node:timers/promises"
import { LoadFailed } from "@helixflow/schema/Errors"
import { recogniseClassifier } from "./ClassifierGraph.ts"
import { ContinuousBatching } from "./ContinuousBatching.ts"
import { recogniseEmbedder } from "./EmbedderGraph.ts"
import type { EncoderInputs } from "./EncoderInputs.ts"
import type { ClassificationEngine, EmbeddingEngine, Engine, LoadEngine, LoadOptions, TextEngine } from "./Engine.ts"
import { PROCESSOR } from "./ExecutionProvider.ts"
import { BLOCK } from "./Grain.ts"
import { loadDecoder } from "./LoadDecoder.ts"
import { describeModelFolder, type ModelFolder } from "./ModelFolder.ts"
import type { OnnxEncoder } from "./OnnxEncoder.ts"
import { readOnnxFile } from "./OnnxFile.ts"
import { ProviderUnavailable } from "./OrtProvider.ts"
import { PrefixCache } from "./PrefixCache.ts"
import { loadTokenizer, readTokenizer, Tokenizer } from "./Tokenizer.ts"

export interface OnnxEngineOptions {
  /** Whether graphs are patched to return new keys and values alone; the fallback returns the whole cache at every step. */
  readonly patch: boolean
}

export const makeLoadOnnxEngine =
  (engineOptions: OnnxEngineOptions): LoadEngine =>
  async (options) => {
    const folder = describeModelFolder(options.path, options.model, options.device?.kind)
    const refuse = (reason: string, file: string) => new LoadFailed({ model: options.model, reason, file })
    if (folder.task !== options.task) {
      throw refuse(`the folder holds a model for ${folder.task}, not for ${options.task}`, folder.path)
    }
    const reasons: Array<string> = []
    for (const graph of [folder.graph, ...folder.otherGraphs]) {
      try {
        return await loadFolder({ ...folder, graph }, options, engineOptions)
      } catch (cause) {
        // a file of the folder that all graphs share
        if (cause instanceof LoadFailed) throw cause
        if (cause instanceof ProviderUnavailable) {
          throw new LoadFailed({ model: options.model, reason: cause.message, file: null })
        }
        const reason = cause instanceof Error ? cause.message : String(cause)
        reasons.push(folder.otherGraphs.length === 0 ? reason : `${path.basename(graph)}: ${reason}`)
        console.error(`${options.model} can't be loaded from ${graph}: ${reason}`)
      }
    }
    throw refuse(reasons.join("; "), folder.graph)
  }

export const loadOnnxEngine: LoadEngine = makeLoadOnnxEngine({ patch: true })

function loadFolder(folder: ModelFolder, options: LoadOptions, engineOptions: OnnxEngineOptions): Promise<Engine> {
  switch (folder.task) {
    case "text-generation":
      return loadGenerator(folder, options, engineOptions)
    case "embedding":
      return loadEmbedder(folder, options)
    case "classification":
      return loadClassifier(folder, options)
  }
}

async function loadGenerator(
  folder: ModelFolder,
  options: LoadOptions,
  { patch }: OnnxEngineOptions
): Promise<TextEngine> {
  const [decoder, parts] = await Promise.all([
    loadDecoder({ ...options, ...folder, patch }),
    // by then the runtime loads the graph, on a thread of its own
    setImmediate().then(() => readTokenizer(folder, options.model))
  ])
  const context = Math.min(options.context, folder.context)
  const tokenizer = new Tokenizer({ ...parts, vocabulary: decoder.vocabulary, context })
  // chat models may end their turn with another token than their configuration says
  const ends = new Set([...folder.eosTokenIds, ...(tokenizer.eosTokenId === null ? [] : [tokenizer.eosTokenId])])
  return new ContinuousBatching({
    decoder,
    tokenizer,
    context,
    slots: options.slots,
    eosTokenIds: [...ends],
    prefixCache: new PrefixCache({
      blockTokens: BLOCK,
      // a folder that doesn't say what a token takes can't be charged for what is kept
      capacity: folder.kvPerToken === 0 ? 0 : Math.floor((options.prefixCache ?? 0) / (BLOCK * folder.kvPerToken))
    })
  })
}

async function loadEmbedder(folder: ModelFolder, options: LoadOptions): Promise<EmbeddingEngine> {
  const { OnnxEmbedder } = await import("./OnnxEmbedder.ts")
  const { inputs, output } = recogniseEmbedder(readOnnxFile(folder.graph))
  const context = Math.min(options.context, folder.context)
  return new OnnxEmbedder({
    encoder: await loadEncoder(folder, options, inputs),
    output,
    tokenizer: loadTokenizer(folder, { model: options.model, vocabulary: folder.vocabulary, context }),
    pooling: folder.pooling,
    context,
    slots: options.slots
  })
}

async function loadClassifier(folder: ModelFolder, options: LoadOptions): Promise<ClassificationEngine> {
  const { OnnxClassifier } = await import("./OnnxClassifier.ts")
  const { activation, labels } = folder
  const { inputs, output } = recogniseClassifier(readOnnxFile(folder.graph), labels.length)
  const context = Math.min(options.context, folder.context)
  return new OnnxClassifier({
    encoder: await loadEncoder(folder, options, inputs),
    output,
    labels: labels.length,
    activation,
    tokenizer: loadTokenizer(folder, { model: options.model, vocabulary: folder.vocabulary, context }),
    context,
    slots: options.slots
  })
}

async function loadEncoder(folder: ModelFolder, options: LoadOptions, inputs: EncoderInputs): Promise<OnnxEncoder> {
  const [{ OnnxEncoder }, { OnnxSession }] = await Promise.all([import("./OnnxEncoder.ts"), import("./OnnxSession.ts")])
  const session = await OnnxSession.load(folder.graph, {
    device: options.device ?? PROCESSOR,
    threads: options.threads
  })
  return new OnnxEncoder({ session, inputs, padTokenId: folder.padTokenId })
}
