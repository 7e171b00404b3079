/**
 * A grammar as nodes with edges that take bytes. What occurs in several places, or within itself, is a rule: an edge calls it, and from its
 * end the text goes on behind that edge (a recursive transition network). Grammars are put together from parts: a part adds what it takes
 * behind a node, and gives the node where it has been taken.
 */

export type Edge =
  | { readonly _tag: "Bytes"; readonly low: number; readonly high: number; readonly to: number }
  | { readonly _tag: "Empty"; readonly to: number }
  | { readonly _tag: "Call"; readonly start: number; readonly to: number }

export type Part = (automaton: ByteAutomaton, from: number) => number

/** Nodes of a grammar at most: some 6 MB. */
const MOST_NODES = 30_000

export class GrammarTooLarge extends Error {
  override readonly name = "GrammarTooLarge"
  constructor() {
    super("it is too large")
  }
}

export class ByteAutomaton {
  readonly edges: Array<Array<Edge>> = []
  /** Where rules end. */
  readonly ends = new Set<number>()
  readonly #rules = new Map<unknown, number>()

  node(): number {
    if (this.edges.length >= MOST_NODES) throw new GrammarTooLarge()
    return this.edges.push([]) - 1
  }

  add(from: number, edge: Edge): number {
    this.edges[from]?.push(edge)
    return edge.to
  }

  /** The start of the rule that `key` stands for; its body may refer to it already. */
  rule(key: unknown, body: Part): number {
    const known = this.#rules.get(key)
    if (known !== undefined) return known
    const start = this.node()
    this.#rules.set(key, start)
    this.ends.add(body(this, start))
    return start
  }

  /**
   * By node how many calls deep, at least, whatever leads to the end of its rule goes; infinite where that is more than `most`, or where
   * nothing does, as for lists that need another list.
   */
  depths(most: number): Float64Array {
    const depths = new Float64Array(this.edges.length).fill(Number.POSITIVE_INFINITY)
    for (const end of this.ends) depths[end] = 0
    const at = (node: number) => depths[node] ?? 0
    const through = (edge: Edge) => (edge._tag === "Call" ? Math.max(1 + at(edge.start), at(edge.to)) : at(edge.to))
    for (let changed = true; changed; ) {
      changed = false
      // what follows was mostly made later
      for (let node = this.edges.length - 1; node >= 0; node--) {
        for (const edge of this.edges[node] ?? []) {
          const depth = through(edge)
          if (depth >= at(node) || depth > most) continue
          depths[node] = depth
          changed = true
        }
      }
    }
    return depths
  }
}

const encoder = new TextEncoder()

export const nothing: Part = (_, from) => from

export const byteRange =
  (low: number, high: number): Part =>
  (automaton, from) =>
    automaton.add(from, { _tag: "Bytes", low, high, to: automaton.node() })

export const text = (value: string): Part =>
  sequence(...[...encoder.encode(value)].map((byte) => byteRange(byte, byte)))

/** One of these ASCII characters. */
export const oneOf =
  (characters: string): Part =>
  (automaton, from) => {
    const to = automaton.node()
    for (const byte of encoder.encode(characters)) automaton.add(from, { _tag: "Bytes", low: byte, high: byte, to })
    return to
  }

export const sequence =
  (...parts: ReadonlyArray<Part>): Part =>
  (automaton, from) =>
    parts.reduce((node, part) => part(automaton, node), from)

export const choice =
  (...parts: ReadonlyArray<Part>): Part =>
  (automaton, from) => {
    const end = automaton.node()
    for (const part of parts) automaton.add(part(automaton, from), { _tag: "Empty", to: end })
    return end
  }

export const optional = (part: Part): Part => choice(part, nothing)

/** `most`: null for any number. */
export const repeat =
  (part: Part, least: number, most: number | null): Part =>
  (automaton, from) => {
    let node = from
    for (let count = 0; count < least; count++) node = part(automaton, node)
    const end = automaton.node()
    automaton.add(node, { _tag: "Empty", to: end })
    if (most === null) automaton.add(part(automaton, end), { _tag: "Empty", to: end })
    for (let count = least; most !== null && count < most; count++) {
      node = part(automaton, node)
      automaton.add(node, { _tag: "Empty", to: end })
    }
    return end
  }

/** Where `key` was called before, the body is not asked for again. */
export const call =
  (key: unknown, body: Part): Part =>
  (automaton, from) =>
    automaton.add(from, { _tag: "Call", start: automaton.rule(key, body), to: automaton.node() })
