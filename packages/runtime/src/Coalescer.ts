/**
 * Puts together what steps gave that are faster than anybody reads. An event costs the worker, the server and the client the same whether it has
 * one token or ten, and a model of a few megabytes takes less for a step than they do for an event. So an event goes out at once if the
 * last one is {@link SPACING} ago, if a sequence says its first token or its last in it, or has failed; else with what comes until then.
 */
import { TokenBatch } from "@helixflow/schema/Generation"
import type { SequenceFailure, StepResult } from "./Engine.ts"

/** Milliseconds between two events; a screen shows no more than every other one. */
export const SPACING = 8

export interface CoalescerOptions {
  /** Takes an event; the next one waits for it. */
  readonly publish: (event: StepResult) => Promise<void>
  /** Milliseconds that only ever grow. */
  readonly now?: () => number
}

export class Coalescer {
  readonly #publish: CoalescerOptions["publish"]
  readonly #now: () => number
  #batches: Array<TokenBatch> = []
  #failures: Array<SequenceFailure> = []
  #last = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | null = null
  #published: Promise<void> = Promise.resolve()

  constructor({ now = () => performance.now(), publish }: CoalescerOptions) {
    this.#publish = publish
    this.#now = now
  }

  /** Takes what a step gave. Settles when what has gone out by now was taken, so that who doesn't read slows the steps down. */
  async take({ batches, failures }: StepResult): Promise<void> {
    this.#batches.push(...batches)
    this.#failures.push(...failures)
    const wait = this.#last + SPACING - this.#now()
    if (wait <= 0 || failures.length > 0 || batches.some(isUrgent)) this.#send()
    else if (batches.length > 0) this.#timer ??= setTimeout(() => this.#send(), wait)
    await this.#published
  }

  #send(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#batches.length === 0 && this.#failures.length === 0) return
    const event = { batches: together(this.#batches), failures: this.#failures }
    this.#batches = []
    this.#failures = []
    this.#last = this.#now()
    this.#published = this.#published.then(() => this.#publish(event))
    // whoever gives the next step's result is told
    this.#published.catch(() => {})
  }
}

const isUrgent = ({ finish, promptLogprobs, seq }: TokenBatch): boolean =>
  seq === 0 || finish !== null || promptLogprobs !== undefined

/** One batch for each attempt of a sequence, in the order of the first ones. */
function together(batches: ReadonlyArray<TokenBatch>): ReadonlyArray<TokenBatch> {
  const attempts = new Map<string, [TokenBatch, ...Array<TokenBatch>]>()
  for (const batch of batches) {
    const attempt = `${batch.request}\n${batch.epoch}`
    const earlier = attempts.get(attempt)
    if (earlier === undefined) attempts.set(attempt, [batch])
    else earlier.push(batch)
  }
  return Array.from(attempts.values(), join)
}

function join([first, ...others]: readonly [TokenBatch, ...Array<TokenBatch>]): TokenBatch {
  if (others.length === 0) return first
  const all = [first, ...others]
  const logprobs = first.logprobs === null ? null : all.flatMap((batch) => batch.logprobs ?? [])
  return TokenBatch.make(
    {
      ...first,
      tokens: all.flatMap(({ tokens }) => tokens),
      text: all.map(({ text }) => text).join(""),
      logprobs,
      finish: all.at(-1)?.finish ?? null,
      cachedTokens: all.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0)
    },
    // joined of what is valid
    { disableValidation: true }
  )
}
