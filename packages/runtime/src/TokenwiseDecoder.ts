/**
 * Graphs that were traced with one new token after a cache may compute only that: their tokens see each other's future where several
 * are given, and nothing about the graph says so. Whether a graph is one is found out by computing.
 */
import type { Decoder } from "./Decoder.ts"
import { areAlike } from "./DecoderCheck.ts"

/** Continues sequences one token at a time; only their beginnings are computed together. */
export class TokenwiseDecoder implements Decoder {
  readonly vocabulary: number
  readonly width: number
  readonly prefill: Decoder["prefill"]
  readonly decode: Decoder["decode"]
  readonly reserve: Decoder["reserve"]
  readonly read: Decoder["read"]
  readonly alike: Decoder["alike"]
  readonly restore: Decoder["restore"]
  readonly swap: Decoder["swap"]
  readonly copy: Decoder["copy"]
  readonly clear: Decoder["clear"]
  readonly close: Decoder["close"]

  constructor(decoder: Decoder) {
    this.vocabulary = decoder.vocabulary
    this.width = decoder.width
    this.alike = decoder.alike
    this.prefill = (request) => prefillTokenwise(decoder, request)
    this.decode = decoder.decode
    this.reserve = decoder.reserve
    this.read = decoder.read
    this.restore = decoder.restore
    this.swap = decoder.swap
    this.copy = decoder.copy
    this.clear = decoder.clear
    this.close = decoder.close
  }
}

const prefillTokenwise = async (decoder: Decoder, request: Parameters<Decoder["prefill"]>[0]) => {
  if (request.from === 0) return decoder.prefill(request)
  let row: Float32Array | null = null
  for (const [index, token] of request.tokens.entries()) {
    const logits = request.logits && index === request.tokens.length - 1
    row = await decoder.prefill({ slot: request.slot, tokens: [token], from: request.from + index, logits })
  }
  return row
}

const BEGINNING = [0, 1, 2]
const CONTINUATION = [3, 2, 1, 0]

/** How much of the logits' range may be rounding. */
const TOLERANCE = 0.02

/** Whether several tokens after a cache give what they give one at a time. Computes a few tokens in the first slot. */
export async function continuesWithSeveral(decoder: Decoder): Promise<boolean> {
  const logitsOf = async (continued: Decoder) => {
    await continued.prefill({ slot: 0, tokens: BEGINNING, from: 0, logits: false })
    const row = await continued.prefill({ slot: 0, tokens: CONTINUATION, from: BEGINNING.length, logits: true })
    return row?.slice() ?? new Float32Array(0)
  }
  const together = await logitsOf(decoder)
  const oneByOne = await logitsOf(new TokenwiseDecoder(decoder))
  decoder.clear(0)
  return areAlike(together, oneByOne, TOLERANCE)
}
