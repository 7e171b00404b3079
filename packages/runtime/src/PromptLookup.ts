/**
 * Guesses the next tokens of a text from the text itself: what followed the last time that its last tokens stood there (prompt
 * lookup decoding, Saxena 2023; n-gram speculation in vLLM). Costs a map access per token. Pure.
 */
export class PromptLookup {
  readonly #order: number
  /** Tokens so far; shared with its owner, who appends to it. */
  readonly #tokens: ReadonlyArray<number>
  /** The last `order` tokens before a position, as text, to the latest such position. */
  readonly #positions = new Map<string, number>()
  /** Tokens that are in `#positions`. */
  #indexed = 0
  /** Where the text went on after the latest earlier occurrence of its end. */
  #continuation: number | undefined = undefined

  /** `order`: how many tokens have to be the same. */
  constructor(tokens: ReadonlyArray<number>, order: number) {
    this.#tokens = tokens
    this.#order = order
  }

  /**
   * As many tokens that may come next, or none where the end of the text has not been seen before. What repeats itself again and again is
   * shorter than that and is repeated here too, as in a copy that overlaps itself (LZ77).
   */
  draft(count: number): ReadonlyArray<number> {
    while (this.#indexed < this.#tokens.length) this.#index(++this.#indexed)
    if (this.#continuation === undefined) return []
    const draft = this.#tokens.slice(this.#continuation, this.#continuation + count)
    const period = draft.length
    while (draft.length < count) draft.push(draft[draft.length - period] ?? 0)
    return draft
  }

  #index(end: number): void {
    if (end < this.#order) return
    const key = this.#tokens.slice(end - this.#order, end).join()
    this.#continuation = this.#positions.get(key)
    this.#positions.set(key, end)
  }
}
