/**
 * Where a text is in its grammar: the set of all places that its bytes may have led to, each with the rules that it is inside of (a pushdown
 * automaton, made deterministic as far as texts go). States are values: the same place is the same object for as long as it is remembered,
 * and what was found out of it, such as the tokens that may follow, can be kept by it.
 *
 * Invariant: from every state bytes lead to an end. Places from which none do are left out when they are reached.
 */
import { ByteAutomaton, type Part } from "./ByteAutomaton.ts"

/** Rules inside of one another: more would only be brackets that are opened. */
const MOST_CALLS = 64

/** Places that a text may be in at once: a grammar with more leaves open for too long which alternative is meant. */
const MOST_PLACES = 64

/** States that are remembered, at about 2 KB. */
const MOST_STATES = 2048

export class GrammarAmbiguous extends Error {
  override readonly name = "GrammarAmbiguous"
  constructor() {
    super("the grammar has too many alternatives that begin alike")
  }
}

interface Place {
  readonly node: number
  /** Where the text goes on behind the rule that `node` is in; null: nowhere. */
  readonly caller: Place | null
  readonly calls: number
  /** The same for equal places. */
  readonly key: string
}

const place = (node: number, caller: Place | null): Place => ({
  node,
  caller,
  calls: caller === null ? 0 : caller.calls + 1,
  key: caller === null ? `${node}` : `${caller.key}.${node}`
})

export class GrammarState {
  readonly #grammar: CompiledGrammar
  readonly #places: ReadonlyArray<Place>
  /** By byte; null: none, undefined: not known yet. */
  #next: Array<GrammarState | null | undefined> = []
  /** Whether the text may end here. */
  readonly mayEnd: boolean

  constructor(grammar: CompiledGrammar, places: ReadonlyArray<Place>, mayEnd: boolean) {
    this.#grammar = grammar
    this.#places = places
    this.mayEnd = mayEnd
  }

  /** Whether nothing can follow. */
  get mustEnd(): boolean {
    return this.#places.length === 0
  }

  /** The state after one more byte; null where none of the places takes it. */
  next(byte: number): GrammarState | null {
    const known = this.#next[byte]
    return known === undefined ? this.#find(byte) : known
  }

  /** Forgets what follows. */
  forget(): void {
    this.#next = []
  }

  #find(byte: number): GrammarState | null {
    const reached: Array<Place> = []
    // bytes around this one that lead to the same
    let low = 0
    let high = 255
    for (const { node, caller } of this.#places) {
      for (const edge of this.#grammar.edges[node] ?? []) {
        if (edge._tag !== "Bytes") continue
        if (edge.high < byte) low = Math.max(low, edge.high + 1)
        else if (edge.low > byte) high = Math.min(high, edge.low - 1)
        else {
          low = Math.max(low, edge.low)
          high = Math.min(high, edge.high)
          reached.push(place(edge.to, caller))
        }
      }
    }
    const state = reached.length === 0 ? null : this.#grammar.stateOf(reached)
    if (this.#next.length === 0) this.#next = new Array<GrammarState | null | undefined>(256).fill(undefined)
    this.#next.fill(state, low, high + 1)
    return state
  }
}

export class CompiledGrammar {
  readonly edges: ByteAutomaton["edges"]
  readonly #ends: ReadonlySet<number>
  readonly #depths: Float64Array
  readonly #states = new Map<string, GrammarState>()
  readonly start: GrammarState

  /** Throws an `Error` for a grammar that no text ends. */
  constructor(part: Part) {
    const automaton = new ByteAutomaton()
    const start = automaton.rule(part, part)
    this.edges = automaton.edges
    this.#ends = automaton.ends
    this.#depths = automaton.depths(MOST_CALLS)
    if ((this.#depths[start] ?? 0) > MOST_CALLS) throw new Error("nothing finite is described by it")
    this.start = this.stateOf([place(start, null)])
  }

  /** The state of these places and those that they lead to without a byte. Throws {@link GrammarAmbiguous}. */
  stateOf(places: ReadonlyArray<Place>): GrammarState {
    const pending = [...places]
    const seen = new Set<string>()
    const taking: Array<Place> = []
    let mayEnd = false
    const go = (node: number, caller: Place | null) => {
      const next = place(node, caller)
      if (next.calls + (this.#depths[node] ?? 0) > MOST_CALLS || seen.has(next.key)) return
      seen.add(next.key)
      pending.push(next)
    }
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      if (at.calls + (this.#depths[at.node] ?? 0) > MOST_CALLS) continue
      if (this.#ends.has(at.node)) {
        if (at.caller === null) mayEnd = true
        else go(at.caller.node, at.caller.caller)
      }
      let takes = false
      for (const edge of this.edges[at.node] ?? []) {
        if (edge._tag === "Empty") go(edge.to, at.caller)
        else if (edge._tag === "Call") go(edge.start, place(edge.to, at.caller))
        else takes = true
      }
      if (takes) taking.push(at)
      if (taking.length > MOST_PLACES) throw new GrammarAmbiguous()
    }
    const sorted = [...new Map(taking.map((one) => [one.key, one])).values()].sort((a, b) => (a.key < b.key ? -1 : 1))
    return this.#remember(sorted, mayEnd)
  }

  #remember(places: ReadonlyArray<Place>, mayEnd: boolean): GrammarState {
    const key = `${mayEnd}|${places.map((one) => one.key).join("|")}`
    const known = this.#states.get(key)
    if (known !== undefined) return known
    if (this.#states.size >= MOST_STATES) {
      for (const state of this.#states.values()) state.forget()
      this.#states.clear()
    }
    const state = new GrammarState(this, places, mayEnd)
    this.#states.set(key, state)
    return state
  }
}
