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

/** Ids that the masks which are kept may have together: 4 bytes each. */
const MOST_IDS = 4 * 1024 * 1024

export class TokenMasks {
  readonly #trie: VocabularyTrie
  /** By state, those used last at the end. */
  readonly #kept = new Map<GrammarState, TokenMask>()
  #ids = 0
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
      if (this.#ids <= MOST_IDS || oldest === state) break
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
      if (plain[node] === 1 && takesAllPlain(before)) {
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

  #allow(first: number, end: number): number {
    const { tokens } = this.#trie
    for (let index = first; index < end; index++) this.#isAllowed[tokens[index] ?? 0] = 1
    return end - first
  }
}

const loops = new WeakMap<GrammarState, boolean>()

/** Whether plain bytes don't change the state: whatever is made of them may follow. */
const takesAllPlain = (state: GrammarState): boolean => {
  let known = loops.get(state)
  if (known === undefined) {
    known = PLAIN_BYTES.every((byte) => state.next(byte) === state)
    loops.set(state, known)
  }
  return known
}
