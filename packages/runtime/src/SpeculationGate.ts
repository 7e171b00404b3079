/**
 * Whether speculation pays now, by what it has cost and brought. A step that checks drafted tokens takes longer than a plain one;
 * it pays while the tokens it yields per second are more. What is decided here changes the speed, never the text. Pure.
 */

/** Weight of the newest observation. */
const NEWEST = 0.1
/** Drafts that are passed over before one is tried again, when they did not pay: twice as many after each that did not either. */
const RETRY_AFTER = { least: 16, most: 1024 }

export class SpeculationGate {
  /** Milliseconds of a plain step; null until one was seen. */
  #plain: number | null = null
  /** Milliseconds and tokens of a step with a draft. */
  #drafted: { readonly millis: number; readonly tokens: number } | null = null
  #passedOver = 0
  #retryAfter = RETRY_AFTER.least

  /** Another text than before: it may repeat itself where the last one didn't. */
  begin(): void {
    this.#retryAfter = Math.min(this.#retryAfter, 2 * RETRY_AFTER.least)
  }

  observePlain(millis: number): void {
    this.#plain = blend(this.#plain, millis)
  }

  /** `tokens`: those that the step yielded, one at least. */
  observeDrafted(millis: number, tokens: number): void {
    this.#drafted = {
      millis: blend(this.#drafted?.millis ?? null, millis),
      tokens: blend(this.#drafted?.tokens ?? null, tokens)
    }
    this.#retryAfter = this.#pays() ? RETRY_AFTER.least : Math.min(RETRY_AFTER.most, this.#retryAfter * 2)
  }

  /** To be asked once for each draft there is. The first ones are tried: nothing is known of them. */
  admits(): boolean {
    if (this.#plain === null) return false
    if (this.#drafted === null || this.#pays()) return true
    this.#passedOver = (this.#passedOver + 1) % this.#retryAfter
    return this.#passedOver === 0
  }

  #pays(): boolean {
    return this.#drafted !== null && this.#drafted.millis < (this.#plain ?? 0) * this.#drafted.tokens
  }
}

const blend = (before: number | null, now: number) => (before === null ? now : before + NEWEST * (now - before))
