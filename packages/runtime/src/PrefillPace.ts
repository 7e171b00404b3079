/**
 * How much of prompts is computed at once, and how much between two decode steps. What takes longer than the step itself more than doubles
 * the time between two tokens of the streams that run; what takes less than it might keeps newcomers waiting. What prompts take is
 * known only from having computed some, so the sizes follow what was measured. They change the speed, never the text. Pure.
 *
 * Each prompt that waits has a share as long as the decode step: one prompt at most doubles the time between two tokens. Where more
 * prompts wait than streams run, they weigh as much more as they are more: decoding the few soon would only keep the batch small for
 * long, and the many waiting. No burst holds streams up for longer than a bound.
 */

/** Tokens. A smaller share costs nearly as much: the weights are read once for each. */
const SMALLEST = 12
const LARGEST = 128
/** Milliseconds that streams may be held up for by prompts that come at once. */
const BURST = 500
/** Milliseconds in which a prompt is finished at once. */
const QUICK = 250
/** Milliseconds that one step may compute prompts for: so long others wait for what it gave, and the worker's health is not known. */
const STEP = 1000
/** Tokens of one step's prompts, whatever they take; `first` before anything is known. */
const CHUNK = { least: 64, first: 128, most: 256 }
/** The part of a decode step that a share may take; the rest is what measurements vary by. */
const SHARE = 0.8
/** A share that took less than this part of what it might grows again. */
const SLACK = 0.7
const SHRINK = { most: 0.25, least: 0.75 }
const GROW = 1.25
/** Weight of the newest measurement. */
const NEWEST = 0.3

/** Who waits. */
export interface Waiting {
  /** For their next token. */
  readonly streams: number
  /** For their first. */
  readonly prompts: number
}

/** What was computed of prompts. */
export interface Prefilled {
  readonly tokens: number
  readonly millis: number
}

export class PrefillPace {
  /** What was computed of prompts since running streams had their last token, and who waited at first. */
  #between: (Prefilled & { readonly waiting: Waiting }) | null = null
  /** Tokens of each prompt between two decode steps. */
  #share = LARGEST
  /** Prompt tokens per millisecond; null until some were computed. */
  #rate: number | null = null

  /** Prompt tokens of one step. */
  get chunk(): number {
    return this.#rate === null
      ? CHUNK.first
      : Math.max(CHUNK.least, Math.min(CHUNK.most, Math.floor(STEP * this.#rate)))
  }

  /** Prompt tokens between two tokens of running streams. */
  rest(waiting: Waiting): number {
    const bound = this.#rate === null ? CHUNK.first : Math.floor(BURST * this.#rate)
    return Math.min(Math.floor(this.#share * shares(waiting)), Math.max(SMALLEST, bound))
  }

  /** Tokens of a prompt that is finished at once, whoever waits. */
  get quick(): number {
    return this.#rate === null ? 0 : Math.floor(QUICK * this.#rate)
  }

  /** Prompt tokens that were computed since running streams had their last token. */
  get spent(): number {
    return this.#between?.tokens ?? 0
  }

  /** What one step computed of prompts, and who waited when it began. */
  observePrompts({ millis, tokens }: Prefilled, waiting: Waiting): void {
    if (tokens > 0) {
      const rate = tokens / millis
      this.#rate = this.#rate === null ? rate : this.#rate + NEWEST * (rate - this.#rate)
    }
    const before = this.#between ?? { tokens: 0, millis: 0, waiting }
    this.#between =
      waiting.streams === 0 || before.tokens + tokens === 0
        ? null
        : { tokens: before.tokens + tokens, millis: before.millis + millis, waiting: before.waiting }
  }

  /** What running streams' next token took, in milliseconds. */
  observeStreams(decode: number): void {
    if (this.#between !== null) this.#adapt(this.#between, this.#between.waiting, decode)
    this.#between = null
  }

  /** What was computed between two decode steps, who waited at first, and what the later step took. */
  #adapt({ millis, tokens }: Prefilled, waiting: Waiting, decode: number): void {
    const allowed = SHARE * decode * shares(waiting)
    if (millis > allowed) {
      const shrink = Math.min(SHRINK.least, Math.max(SHRINK.most, allowed / millis))
      const used = tokens / shares(waiting)
      this.#share = Math.min(this.#share, Math.max(SMALLEST, Math.floor(used * shrink)))
    } else if (millis < SLACK * allowed && tokens >= SLACK * this.#share * shares(waiting)) {
      this.#share = Math.min(LARGEST, Math.ceil(this.#share * GROW))
    }
  }
}

const shares = ({ prompts, streams }: Waiting): number =>
  Math.max(1, prompts) * Math.max(1, prompts / Math.max(1, streams))
