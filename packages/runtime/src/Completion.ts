/**
 * The completion of one sequence as it grows: which tokens, which text may be shown, whether and why it has ended. Pure; a
 * completion that is continued elsewhere is rebuilt by pushing the tokens it had.
 *
 * The end-of-sequence token, a stop token and the tokens of a stop string are tokens of the completion (they were computed and
 * are counted in its usage) but have no text.
 */
import type { FinishReason, Stopping } from "@helixflow/schema/Generation"
import { Detokenizer } from "./Detokenizer.ts"
import type { GrammarState } from "./GrammarState.ts"
import type { SamplingHistory } from "./Sampler.ts"
import { StopStrings } from "./StopStrings.ts"
import type { TokenBytes } from "./TokenBytes.ts"

export interface CompletionOptions {
  readonly stopping: Stopping
  readonly eosTokenIds: ReadonlyArray<number>
  /** Most tokens: `maxTokens`, or what the context leaves. */
  readonly limit: number
  readonly table: TokenBytes
  readonly prompt: ReadonlyArray<number>
  /** Where the text begins in its grammar; null where it has none. */
  readonly grammar: GrammarState | null
}

export class Completion implements SamplingHistory {
  readonly #options: CompletionOptions
  readonly #endTokens: ReadonlySet<number>
  readonly #detokenizer: Detokenizer
  readonly #stops: StopStrings
  readonly emitted = new Map<number, number>()
  readonly prompt: ReadonlySet<number>
  #grammar: GrammarState | null
  #length = 0
  #finish: FinishReason | null = null

  constructor(options: CompletionOptions) {
    this.#options = options
    const { stopping, eosTokenIds } = options
    this.#endTokens = new Set([...(stopping.ignoreEos ? [] : eosTokenIds), ...stopping.stopTokenIds])
    this.#detokenizer = new Detokenizer(options.table)
    this.#stops = new StopStrings(stopping.stop)
    this.prompt = new Set(options.prompt)
    this.#grammar = options.grammar
  }

  /** Tokens so far, hence the position of the next one. */
  get length(): number {
    return this.#length
  }

  /** Tokens that may still come. */
  get left(): number {
    return this.#finish === null ? this.#options.limit - this.#length : 0
  }

  get finish(): FinishReason | null {
    return this.#finish
  }

  /** Where the text is in its grammar; null where it has none. */
  get grammar(): GrammarState | null {
    return this.#grammar
  }

  /** Tokens that end the text and are not shown. */
  get endTokens(): Iterable<number> {
    return this.#endTokens
  }

  /** Tokens that would end the completion before its least length. */
  get forbidden(): Iterable<number> {
    return this.#length < this.#options.stopping.minTokens ? this.#endTokens : []
  }

  /** Whether the token ends the text and is not shown. */
  isEnd(token: number): boolean {
    return this.#endTokens.has(token)
  }

  /**
   * Takes the next token and gives the text that is certain with it; all that is left, if the completion ends. Throws an `Error` for a token
   * that the grammar doesn't have here.
   */
  push(token: number): string {
    this.#length++
    this.emitted.set(token, (this.emitted.get(token) ?? 0) + 1)
    if (this.isEnd(token)) return this.#end("stop")
    this.#advance(token)
    const piece = this.#detokenizer.push(token)
    // what comes before the least length can't end the text, so it is not searched
    const text = this.#length < this.#options.stopping.minTokens ? piece : this.#stops.push(piece)
    if (this.#stops.stopped) {
      this.#finish = "stop"
      return text
    }
    // nothing is left to be said: an end token would cost a step more
    if (this.#grammar?.mustEnd) return text + this.#end("stop")
    return this.#length >= this.#options.limit ? text + this.#end("length") : text
  }

  #advance(token: number): void {
    if (this.#grammar === null) return
    let state: GrammarState | null = this.#grammar
    for (const byte of this.#options.table.bytes(token)) state = state?.next(byte) ?? null
    if (state === null) throw new Error(`the token ${token} is outside of the grammar`)
    this.#grammar = state
  }

  #end(reason: FinishReason): string {
    this.#finish = reason
    const tail = this.#stops.push(this.#detokenizer.flush())
    if (this.#stops.stopped) this.#finish = "stop"
    return tail + this.#stops.flush()
  }
}
