/**
 * Keys and values of prompts that were computed before, in blocks of tokens, so that a shared prefix is not computed twice
 * (vLLM's automatic prefix caching, SGLang's RadixAttention). Pure bookkeeping: blocks are copied into and out of the KV cache's
 * slots by the engine, in single synchronous steps, so a block is never in use when it is evicted.
 *
 * A block is known by its parent and its tokens, the first by its tenant's salt: two tenants share nothing, and equal tokens after
 * different beginnings are different blocks. It holds exact tokens, not a hash of them, so no collision can mix up two prompts.
 *
 *     salt "a" ── [1 2 3 4] ── [5 6 7 8]
 *                          └── [5 6 9 9]
 *     salt "b" ── [1 2 3 4]
 *
 * Invariants: at most `capacity` blocks; the parent of a block is there; a parent was used no earlier than its children, hence the
 * least recently used block is a leaf and can go alone.
 */

import type { Floats } from "./Floats.ts"

export interface Block {
  /** Its name as a parent; 0 is nobody's. */
  readonly id: number
  readonly parent: Block | null
  /** Salt, or its tokens: its name among its parent's children. */
  readonly name: string
  /** What the engine has put into it: the block's keys and values of all layers. */
  readonly data: Floats
  /** References: while it has children it can't be evicted. */
  children: number
}

export interface PrefixCacheOptions {
  /** Tokens of a block. Smaller ones share more and cost more bookkeeping. */
  readonly blockTokens: number
  /** Most blocks; 0 turns the cache off. */
  readonly capacity: number
}

export class PrefixCache {
  readonly blockTokens: number
  readonly #capacity: number
  /** By parent's identity and name, least recently used first. */
  readonly #blocks = new Map<string, Block>()
  #lastId = 0
  #bytes = 0

  constructor({ blockTokens, capacity }: PrefixCacheOptions) {
    this.blockTokens = blockTokens
    this.#capacity = capacity
  }

  /** Whether it keeps nothing. */
  get isOff(): boolean {
    return this.#capacity === 0
  }

  get size(): number {
    return this.#blocks.size
  }

  /** Bytes of the keys and values that are kept. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * The blocks that hold the beginning of `tokens`, in order; at most as many as leave one token to be computed, since the logits
   * that follow the last one are not kept.
   */
  match(salt: string, tokens: ReadonlyArray<number>): ReadonlyArray<Block> {
    const found: Array<Block> = []
    for (let end = this.blockTokens; end < tokens.length; end += this.blockTokens) {
      const block = this.#blocks.get(this.#key(found.at(-1) ?? null, this.#name(salt, tokens, end)))
      if (block === undefined) break
      found.push(block)
    }
    this.#touch(found.at(-1) ?? null)
    return found
  }

  /**
   * Keeps the full blocks of `tokens`, of which the first `length` are computed. `read` gives a block's keys and values from the token
   * `from` on, and is called for those that are not there yet.
   */
  insert(salt: string, tokens: ReadonlyArray<number>, length: number, read: (from: number) => Floats): void {
    let parent: Block | null = null
    for (let end = this.blockTokens; end <= length; end += this.blockTokens) {
      const name = this.#name(salt, tokens, end)
      const known = this.#blocks.get(this.#key(parent, name))
      const block: Block | null = known ?? this.#add(parent, name, () => read(end - this.blockTokens))
      if (block === null) break
      parent = block
    }
    this.#touch(parent)
  }

  /** Null where there is no room: all that is there leads to this very block. */
  #add(parent: Block | null, name: string, read: () => Floats): Block | null {
    if (this.#blocks.size >= this.#capacity && !this.#evictOne(parent)) return null
    if (parent !== null) parent.children++
    const block = { id: ++this.#lastId, parent, name, data: read(), children: 0 }
    this.#bytes += block.data.byteLength
    this.#blocks.set(this.#key(parent, name), block)
    return block
  }

  #evictOne(keep: Block | null): boolean {
    for (const [key, block] of this.#blocks) {
      // ancestors of `keep` have children, so only itself has to be spared
      if (block === keep || block.children > 0) continue
      this.#blocks.delete(key)
      this.#bytes -= block.data.byteLength
      if (block.parent !== null) block.parent.children--
      return true
    }
    return false
  }

  /** The block and its ancestors become the most recently used, the ancestors last. */
  #touch(leaf: Block | null): void {
    for (let block = leaf; block !== null; block = block.parent) {
      const key = this.#key(block.parent, block.name)
      this.#blocks.delete(key)
      this.#blocks.set(key, block)
    }
  }

  #name(salt: string, tokens: ReadonlyArray<number>, end: number): string {
    const own = tokens.slice(end - this.blockTokens, end).join()
    return end === this.blockTokens ? `${salt}\n${own}` : own
  }

  #key(parent: Block | null, name: string): string {
    return `${parent?.id ?? 0}:${name}`
  }
}
