/**
 * Guesses of what a sequence says next, from its own text (prompt-lookup decoding, https://github.com/apoorvumang/prompt-lookup-decoding), where
 * they pay.
 */
import { PromptLookup } from "./PromptLookup.ts"
import type { Sequence } from "./Sequence.ts"
import { SpeculationGate } from "./SpeculationGate.ts"

/** Tokens that are guessed and checked at once, and how many have to repeat for a guess. */
const DRAFT = 6
const ORDER = 3

export class Drafts {
  readonly #context: number
  readonly #gate = new SpeculationGate()

  /** `context`: most tokens of a sequence. */
  constructor(context: number) {
    this.#context = context
  }

  /** Tokens that may follow, or none. */
  of(sequence: Sequence): ReadonlyArray<number> {
    const count = this.#room(sequence)
    if (count <= 0) return []
    if (sequence.lookup === null) {
      sequence.lookup = new PromptLookup(sequence.tokens, ORDER)
      this.#gate.begin()
    }
    const draft = sequence.lookup.draft(count)
    return draft.length > 0 && this.#gate.admits() ? draft : []
  }

  /** What a step took, in milliseconds, and what it yielded: with a draft, or without. */
  observe(millis: number, tokens: number, isDrafted: boolean): void {
    if (isDrafted) this.#gate.observeDrafted(millis, tokens)
    else this.#gate.observePlain(millis)
  }

  /** Guesses for which there is room: the last token of a completion, or of the context, is none. */
  #room({ completion, grain, tokens }: Sequence): number {
    if (grain !== null) return 0
    return Math.max(0, Math.min(DRAFT, completion.left - 1, this.#context - tokens.length - 1))
  }
}
