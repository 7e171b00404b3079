/**
 * Which tokens may follow a state of a grammar: those whose bytes it takes, found by walking the vocabulary and the grammar together. What
 * was found is kept for the states that were asked about last.
 */
import type { GrammarState } from "./GrammarState.ts"
import { PLAIN_BYTES, type VocabularyTrie } from "./VocabularyTrie.ts"

/** The shorter list says it: in a string nearly all tokens may follow, and behind it hardly any. */
export interface TokenMask {
  /** Whether `ids` are those that may follow, or those that may not. */
  readonly says: "allowed" | "forbidden"
  readonly ids: Uint32Array
}

/** Ids that the masks which are kept may have together, in a vocabulary of so many tokens: 64 times all of them, up to a bound. */
const mostIds = (vocabulary: number): number => Math.min(4 * 1024 * 1024, 64 * vocabulary)

/** What the masks which are kept take at most. */
export const maskBytes = (vocabulary: number): number => Uint32Array.BYTES_PER_ELEMENT * mostIds(vocabulary)

export class TokenMasks {
  readonly #trie: VocabularyTrie
  /** By state, those used last at the end. */
  readonly #kept = new Map<GrammarState, TokenMask>()
  #ids = 0
  readonly #runs = new WeakMap<GrammarState, number>()
  readonly #isAllowed: Uint8Array
  readonly #path: Array<GrammarState>

  /** @param vocabulary ids that the model knows, with and without text */
  constructor(
    trie: VocabularyTrie,
    readonly vocabulary: number
  ) {
    this.#trie = trie
    this.#isAllowed = new Uint8Array(vocabulary)
    this.#path = []
  }

  of(state: GrammarState): TokenMask {
    const known = this.#kept.get(state)
    if (known !== undefined) this.#kept.delete(state)
    const mask = known ?? this.#make(state)
    this.#kept.set(state, mask)
    if (known !== undefined) return mask
    this.#ids += mask.ids.length
    for (const [oldest, { ids }] of this.#kept) {
      if (this.#ids <= mostIds(this.vocabulary) || oldest === state) break
      this.#kept.delete(oldest)
      this.#ids -= ids.length
    }
    return mask
  }

  #make(state: GrammarState): TokenMask {
    const isAllowed = this.#isAllowed.fill(0)
    const count = this.#walk(state)
    const says = count <= this.vocabulary / 2 ? "allowed" : "forbidden"
    const ids = new Uint32Array(says === "allowed" ? count : this.vocabulary - count)
    const wanted = says === "allowed" ? 1 : 0
    let next = 0
    for (let id = 0; id < this.vocabulary; id++) if (isAllowed[id] === wanted) ids[next++] = id
    return { says, ids }
  }

  /** Marks the tokens that may follow, and counts them. */
  #walk(start: GrammarState): number {
    const { bytes, depths, ends, firsts, plain } = this.#trie
    const path = this.#path
    let count = 0
    for (let node = 0; node < bytes.length; ) {
      const depth = depths[node] ?? 0
      const before = depth === 0 ? start : (path[depth - 1] ?? start)
      const end = ends[node] ?? node + 1
      const height = plain[node] ?? 0
      if (height > 0 && height <= this.#plainRun(before)) {
        count += this.#allow(firsts[node] ?? 0, firsts[end] ?? 0)
        node = end
        continue
      }
      const state = before.next(bytes[node] ?? 0)
      if (state === null) {
        node = end
        continue
      }
      path[depth] = state
      count += this.#allow(firsts[node] ?? 0, firsts[node + 1] ?? 0)
      node++
    }
    return count
  }

  /** How many plain bytes may follow, whichever they are, up to the longest token: in a string any number, or what is left of its length. */
  #plainRun(state: GrammarState): number {
    let run = this.#runs.get(state)
    if (run !== undefined) return run
    run = 0
    for (let at = nextIfPlain(state); at !== null && run < this.#trie.longest; at = nextIfPlain(at)) run++
    this.#runs.set(state, run)
    return run
  }

  #allow(first: number, end: number): number {
    const { tokens } = this.#trie
    for (let index = first; index < end; index++) this.#isAllowed[tokens[index] ?? 0] = 1
    return end - first
  }
}

/** Of a state: where each plain byte leads, if it is the same state for all; else null. */
const afterPlain = new WeakMap<GrammarState, GrammarState | null>()

const nextIfPlain = (state: GrammarState): GrammarState | null => {
  const known = afterPlain.get(state)
  if (known !== undefined) return known
  const [first = 0, ...others] = PLAIN_BYTES
  const next = state.next(first)
  const same = next !== null && others.every((byte) => state.next(byte) === next) ? next : null
  afterPlain.set(state, same)
  return same
}
