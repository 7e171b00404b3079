/**
 * Which sequence has which slot of a decoder, and what of it is there. Sequences with a slot have the first ones, without a hole, so that a
 * decode step spans exactly those it computes; what moves a sequence moves its keys and values with it.
 *
 * Slots change hands between two computations alone.
 */
import type { Decoder } from "./Decoder.ts"
import type { PrefixCache } from "./PrefixCache.ts"
import type { Sequence } from "./Sequence.ts"

/** Tokens of a completion that there is room for at once; no fewer than a draft. */
const AHEAD = 64

export class Slots {
  readonly #decoder: Decoder
  readonly #prefixCache: PrefixCache
  /** By slot: those that decode first, in any order. */
  readonly #held: Array<Sequence> = []

  constructor(decoder: Decoder, prefixCache: PrefixCache) {
    this.#decoder = decoder
    this.#prefixCache = prefixCache
  }

  /** Its slot, or -1. */
  indexOf(sequence: Sequence): number {
    return this.#held.indexOf(sequence)
  }

  /** Those in `count` slots from `first` on. */
  range(first: number, count: number): ReadonlyArray<Sequence> {
    return this.#held.slice(first, first + count)
  }

  /** Gives a slot to each. */
  admit(sequences: ReadonlyArray<Sequence>): void {
    // side by side where they are of like length: those share runs
    this.#held.push(...[...sequences].sort((one, other) => one.tokens.length - other.tokens.length))
  }

  /**
   * Makes room for whole prompts, and for what follows them: a cache that grew with each chunk, or soon after the prompt, would be copied
   * each time.
   */
  reserve(): void {
    const lengths = this.#held.map(({ completion, tokens }) => tokens.length + Math.min(completion.left, AHEAD))
    if (lengths.length > 0) this.#decoder.reserve(Math.max(...lengths), this.#held.length)
  }

  /** Whether more of the sequence is known than is in its slot; that counts as cached from now on. */
  lookUp(sequence: Sequence): boolean {
    // what was computed before has no logits any more
    if (sequence.promptLogprobs !== null) return false
    const { grain, request } = sequence
    const prefix = this.#prefixCache.match(request.cacheSalt, grain === null ? sequence.tokens : request.prompt)
    const known = prefix.length * this.#prefixCache.blockTokens
    if (known <= sequence.cached) return false
    sequence.prefix = prefix
    sequence.restored = Math.floor(sequence.cached / this.#prefixCache.blockTokens)
    sequence.found += Math.max(0, Math.min(known, request.prompt.length) - sequence.cached)
    sequence.cached = known
    return true
  }

  /** Copies what was found into the slots. */
  restorePrefixes(): void {
    const { blockTokens } = this.#prefixCache
    for (const [slot, sequence] of this.#held.entries()) {
      for (const [index, { data }] of sequence.prefix.entries()) {
        if (index >= sequence.restored) this.#decoder.restore(slot, index * blockTokens, blockTokens, data)
      }
      sequence.prefix = []
    }
  }

  /** Keeps what a slot holds for prompts that begin alike. */
  keepPrefix(sequence: Sequence, slot: number): void {
    const { blockTokens } = this.#prefixCache
    const length = Math.min(sequence.cached, sequence.grain?.body ?? Number.POSITIVE_INFINITY)
    this.#prefixCache.insert(sequence.request.cacheSalt, sequence.tokens, length, (from) =>
      this.#decoder.read(slot, from, blockTokens)
    )
  }

  /** Brings these sequences into the first slots. */
  arrange(sequences: ReadonlySet<Sequence>): void {
    let next = sequences.size
    for (let slot = 0; slot < sequences.size; slot++) {
      const sequence = this.#held[slot]
      if (sequence === undefined || sequences.has(sequence)) continue
      for (let other = this.#held[next]; other !== undefined && !sequences.has(other); ) other = this.#held[++next]
      const other = this.#held[next]
      if (other === undefined) continue
      this.#decoder.swap(slot, next)
      this.#held[slot] = other
      this.#held[next] = sequence
    }
  }

  /** Forgets what was computed of a sequence: nothing of it is worth keeping. */
  clear(sequence: Sequence): void {
    sequence.cached = 0
    this.#decoder.clear(this.indexOf(sequence))
  }

  /** Frees the slots of sequences that have ended: the last slot moves into the hole. */
  sweep(): void {
    for (let slot = this.#held.length - 1; slot >= 0; slot--) {
      const ended = this.#held[slot]
      if (ended?.ended !== true) continue
      // what was generated is the beginning of a conversation's next prompt
      this.keepPrefix(ended, slot)
      const last = this.#held.pop()
      if (last === undefined || slot === this.#held.length) continue
      this.#decoder.copy(this.#held.length, slot)
      this.#held[slot] = last
    }
  }
}
