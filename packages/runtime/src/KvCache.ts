/**
 * The KV cache: per layer and kind one array `[slots, heads, capacity, dimension]`, batch outermost, so that the first n slots are
 * one contiguous view and a step copies nothing in. Capacity is a multiple of `BUCKET` tokens, common to all slots, and follows
 * the longest sequence; a view costs what its capacity is, so it shrinks again some steps after the longest sequence has left.
 */

import { type Floats, type FloatType, makeFloats } from "./Floats.ts"

/** Tokens by which capacity grows: few re-layouts, little padding to compute over. */
const BUCKET = 64

/**
 * Steps with twice the room that they need until it is given back; fewer where it is more. Streams come one after the other, and to make the
 * cache anew for each takes the time of several steps, most of it the garbage collector's.
 */
const PATIENCE = 256

/** Shape of one array: `heads` KV heads of `dimension` numbers per token. */
export interface KvShape {
  readonly heads: number
  readonly dimension: number
}

/** Columns of keys or values as a graph returns them: `[rows, heads, length, dimension]`. */
export interface KvColumns {
  readonly data: Floats
  readonly length: number
  /** Row and first column to take. */
  readonly row: number
  readonly from: number
  readonly count: number
}

export class KvCache {
  readonly #type: FloatType
  #arrays: Array<Floats>
  #capacity = BUCKET
  /** Steps that had room to spare since the last that had not, weighted by how many times too much. */
  #spared = 0

  constructor(
    readonly shapes: ReadonlyArray<KvShape>,
    readonly slots: number,
    type: FloatType = "float32",
    readonly patience = PATIENCE
  ) {
    this.#type = type
    this.#arrays = shapes.map((shape) => this.#allocate(shape, BUCKET))
  }

  /** Tokens that fit into a slot now. */
  get capacity(): number {
    return this.#capacity
  }

  /**
   * To be called for each step. Re-lays the cache out if slots of `tokens` don't fit, or have fit in half the room for a while. Only the
   * first `used` slots are kept.
   */
  reserve(tokens: number, used: number): void {
    const capacity = Math.max(BUCKET, Math.ceil(tokens / BUCKET) * BUCKET)
    const halves = this.#capacity / capacity / 2
    this.#spared = halves < 1 ? 0 : this.#spared + halves
    if (capacity <= this.#capacity && this.#spared < this.patience) return
    this.#spared = 0
    for (const [index, old] of this.#arrays.entries()) {
      const shape = this.#shape(index)
      const array = this.#allocate(shape, capacity)
      const kept = Math.min(capacity, this.#capacity) * shape.dimension
      for (let row = 0; row < used * shape.heads; row++) {
        const start = row * this.#capacity * shape.dimension
        array.set(old.subarray(start, start + kept), row * capacity * shape.dimension)
      }
      // one at a time, so that the old one may be collected before the next is made
      this.#arrays[index] = array
    }
    this.#capacity = capacity
  }

  /** `count` slots from `first` on: `[count, heads, capacity, dimension]`, a view. */
  view(index: number, first: number, count: number): Floats {
    const size = this.#slotSize(index)
    return this.#array(index).subarray(first * size, (first + count) * size)
  }

  /** The first `length` tokens of one slot: `[1, heads, length, dimension]`, a copy. */
  gather(index: number, slot: number, length: number): Floats {
    const { heads, dimension } = this.#shape(index)
    const source = this.view(index, slot, 1)
    const out = makeFloats(this.#type, heads * length * dimension)
    for (let head = 0; head < heads; head++) {
      const start = head * this.#capacity * dimension
      out.set(source.subarray(start, start + length * dimension), head * length * dimension)
    }
    return out
  }

  /** Puts columns into a slot, from `position` on. */
  write(index: number, slot: number, position: number, columns: KvColumns): void {
    const { heads, dimension } = this.#shape(index)
    const target = this.#array(index)
    for (let head = 0; head < heads; head++) {
      const source = ((columns.row * heads + head) * columns.length + columns.from) * dimension
      const to = ((slot * heads + head) * this.#capacity + position) * dimension
      target.set(columns.data.subarray(source, source + columns.count * dimension), to)
    }
  }

  /** `count` tokens of a slot from `from` on, of all arrays one after the other: `[heads, count, dimension]` each, a copy. */
  read(slot: number, from: number, count: number): Floats {
    const width = this.shapes.reduce((sum, { heads, dimension }) => sum + heads * dimension, 0)
    const out = makeFloats(this.#type, width * count)
    this.#runs(slot, from, count, (array, at, packedAt, length) => {
      out.set(array.subarray(at, at + length), packedAt)
    })
    return out
  }

  /** Puts what `read` gave into a slot, from `from` on. */
  restore(slot: number, from: number, count: number, packed: Floats): void {
    this.#runs(slot, from, count, (array, at, packedAt, length) => {
      array.set(packed.subarray(packedAt, packedAt + length), at)
    })
  }

  copy(from: number, to: number): void {
    for (const [index, array] of this.#arrays.entries()) {
      const size = this.#slotSize(index)
      array.copyWithin(to * size, from * size, (from + 1) * size)
    }
  }

  swap(slot: number, other: number): void {
    for (const index of this.#arrays.keys()) {
      const kept = this.view(index, slot, 1).slice()
      this.view(index, slot, 1).set(this.view(index, other, 1))
      this.view(index, other, 1).set(kept)
    }
  }

  clear(slot: number): void {
    for (const index of this.#arrays.keys()) this.view(index, slot, 1).fill(0)
  }

  /** The contiguous runs that `count` tokens of a slot are in the cache and in `[heads, count, dimension]` per array. */
  #runs(
    slot: number,
    from: number,
    count: number,
    use: (array: Floats, at: number, packedAt: number, length: number) => void
  ): void {
    let packedAt = 0
    for (const [index, array] of this.#arrays.entries()) {
      const { heads, dimension } = this.#shape(index)
      for (let head = 0; head < heads; head++) {
        use(array, ((slot * heads + head) * this.#capacity + from) * dimension, packedAt, count * dimension)
        packedAt += count * dimension
      }
    }
  }

  #allocate({ heads, dimension }: KvShape, capacity: number): Floats {
    // the system gives zeroed pages only when they are touched, so slots that were never used cost nothing
    return makeFloats(this.#type, this.slots * heads * capacity * dimension)
  }

  #slotSize(index: number): number {
    const { heads, dimension } = this.#shape(index)
    return heads * this.#capacity * dimension
  }

  #array(index: number): Floats {
    return this.#arrays[index] ?? makeFloats(this.#type, 0)
  }

  #shape(index: number): KvShape {
    return this.shapes[index] ?? { heads: 0, dimension: 0 }
  }
}
