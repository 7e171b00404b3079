/** What was to be expected of each token of a prompt: for `echo` with `logprobs`, which want the logits of all of them. */
import type { Decoder } from "./Decoder.ts"
import { firstOfPrompt, promptLogprob, tokenLogprob } from "./Logprobs.ts"
import type { Sampler } from "./Sampler.ts"
import type { Sequence } from "./Sequence.ts"
import type { TokenBytes } from "./TokenBytes.ts"

/** Tokens that are computed at once: each has a row of logits, and these are long. */
const AT_ONCE = 16

export interface PromptScorerOptions {
  readonly decoder: Decoder
  readonly sampler: Sampler
  readonly table: TokenBytes
}

export class PromptScorer {
  readonly #options: PromptScorerOptions

  constructor(options: PromptScorerOptions) {
    this.#options = options
  }

  /**
   * Computes `tokens` of a prompt at the positions from `from` on and adds to the sequence's `promptLogprobs` what follows each. Gives the logits
   * after the last one.
   */
  async score(
    sequence: Sequence,
    { slot, tokens, from }: Parameters<NonNullable<Decoder["verify"]>>[0]
  ): Promise<Float32Array | null> {
    const { decoder, table } = this.#options
    let row: Float32Array | null = null
    if (from === 0) sequence.promptLogprobs?.push(firstOfPrompt(sequence.tokens[0] ?? 0, table))
    for (let first = 0; first < tokens.length; first += AT_ONCE) {
      const piece = tokens.slice(first, first + AT_ONCE)
      const rows = await decoder.verify?.({ slot, tokens: piece, from: from + first })
      if (rows === undefined) return null
      for (let index = 0; index < piece.length; index++) {
        row = rows.subarray(index * decoder.vocabulary, (index + 1) * decoder.vocabulary)
        this.#add(sequence, row, from + first + index + 1)
      }
    }
    return row
  }

  /** Adds what `row` says of the token at `position`, if the prompt has one there. */
  #add({ promptLogprobs, request, tokens }: Sequence, row: Float32Array, position: number): void {
    const { sampler, table } = this.#options
    const token = tokens[position]
    if (token === undefined) return
    const logSumExp = sampler.logSumExp(row)
    promptLogprobs?.push(promptLogprob(tokenLogprob({ row, logSumExp, token, count: request.logprobs ?? 0, table })))
  }
}
