/**
 * What a worker's resident memory will be with full slots, estimated before it is loaded. Pure.
 *
 *     base + factor(format) * files + vocabulary + grammars + slots + KV cache + prefix cache
 *
 * The last two are exact and the ledger's own, and what grammars may take is bounded; the others were fitted to workers of generated text models between 2 and 500 MB and of
 * the bundled one, with 1, 4 and 16 slots of 256 to 2,048 tokens (`npm run bench -- engine g`). More than half of the base are
 * pages of Node.js and the runtime, which workers share.
 */
import type { DeviceKind } from "@helixflow/schema/Device"
import { isGpu } from "./ExecutionProvider.ts"
import { maskBytes } from "./TokenMasks.ts"

const MiB = 2 ** 20

/** How weights are stored. */
export type WeightFormat = "full" | "half" | "quantized" | "external"

/** A text model's weights are mapped from their file; what the runtime makes of them in its own layout is what counts. */
const TEXT = { base: 134 * MiB, factor: { full: 0.95, external: 0.95, half: 1.9, quantized: 1.25 } }

/** Others are loaded from the file itself, and compute up to 2,048 tokens at once. */
const ROWS = { base: 220 * MiB, factor: { full: 1.45, external: 1.15, half: 2.9, quantized: 2 } }

/** A token of the vocabulary, in the tokenizer and in the sampler. */
const TOKEN = 800

/** A token of the vocabulary in the trie that grammars are walked with: six nodes of 14 bytes. */
const TRIE_TOKEN = 84

/** A sequence: its text, its logits, and what JavaScript has not collected yet of its steps. */
const SLOT = 1.5 * MiB

/**
 * On a GPU: the driver's own and the runtime's workspace, and the weights once, as the file has them. Not measured: whoever knows better
 * says `memory` in `helixflow.json`.
 */
const GPU = { base: 512 * MiB, factor: 1.1 }

export interface Weighed {
  readonly device: DeviceKind
  readonly format: WeightFormat
  /** Bytes of the ONNX file and the weights beside it. */
  readonly files: number
  /** Tokens that the model knows; null: the files don't say. */
  readonly vocabulary: number | null
  /** Whether it has a KV cache. */
  readonly isText: boolean
}

/** Bytes that a loaded worker has, its peak while it loads included, before any sequence. */
export function loadedBytes({ device, files, format, isText, vocabulary }: Weighed): number {
  if (isGpu(device)) return Math.ceil(GPU.base + GPU.factor * files)
  const { base, factor } = isText ? TEXT : ROWS
  return Math.ceil(base + factor[format] * files + (isText ? vocabularyBytes(vocabulary ?? 0) : 0))
}

const vocabularyBytes = (vocabulary: number): number => (TOKEN + TRIE_TOKEN) * vocabulary + maskBytes(vocabulary)

/** What sequences take besides the KV cache. */
export const sequenceBytes = (slots: number): number => SLOT * slots
