/**
 * Sends what steps gave that are faster than anybody reads together. A message costs the worker and the server nearly the same whether it has one
 * step or ten, and a model of a few megabytes takes less for a step than they do for a message. So one goes out at once if the last one
 * is {@link SPACING} ago, if a sequence says its first token or its last in it, or has failed; else with what comes until then.
 *
 * Batches are left as they are: when a stream is computed again after a loss, its events have to be those that it had, by number.
 */
import type { TokenBatch } from "@helixflow/schema/Generation"
import type { SequenceFailure, StepResult } from "./Engine.ts"

/** Milliseconds between two messages; a screen shows no more than every other one. */
export const SPACING = 8

export interface CoalescerOptions {
  /** Takes what goes out; the next waits for it. */
  readonly publish: (message: StepResult) => Promise<void>
}

export class Coalescer {
  readonly #publish: CoalescerOptions["publish"]
  #batches: Array<TokenBatch> = []
  #failures: Array<SequenceFailure> = []
  #last = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | null = null
  #published: Promise<void> = Promise.resolve()

  constructor({ publish }: CoalescerOptions) {
    this.#publish = publish
  }

  /** Takes what a step gave. Settles when what has gone out by now was taken, so that who doesn't read slows the steps down. */
  async take({ batches, failures }: StepResult): Promise<void> {
    this.#batches.push(...batches)
    this.#failures.push(...failures)
    const wait = this.#last + SPACING - performance.now()
    if (wait <= 0 || failures.length > 0 || batches.some(isUrgent)) this.#send()
    else if (batches.length > 0) this.#timer ??= setTimeout(() => this.#send(), wait)
    await this.#published
  }

  #send(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#batches.length === 0 && this.#failures.length === 0) return
    const message = { batches: this.#batches, failures: this.#failures }
    this.#batches = []
    this.#failures = []
    this.#last = performance.now()
    this.#published = this.#published.then(() => this.#publish(message))
    // whoever gives the next step's result is told
    this.#published.catch(() => {})
  }
}

const isUrgent = ({ finish, promptLogprobs, seq }: TokenBatch): boolean =>
  seq === 0 || finish !== null || promptLogprobs !== undefined
