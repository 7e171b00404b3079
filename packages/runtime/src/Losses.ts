/**
 * What a request has lost on its way, and what to do next. Pure.
 *
 * Attempts and time count from the last token: a request that gets further each time may be interrupted as often as it likes, and
 * ends all the same, since its tokens are numbered; but all that it has waited for continuations together is bounded too. A request in whose worker's crashes it has had a part twice is a suspect, and is
 * tried alone; once it has got further alone than it had, it has to be there at one more crash to be tried alone again.
 */

export interface Losses {
  /** Attempts that got no further, one after the other. */
  readonly inVain: number
  /** When the first of them was lost; milliseconds. */
  readonly since: number
  /** How far the request had come: tokens. */
  readonly reached: number
  /** Crashes of workers that it was in. */
  readonly crashes: number
  /** Milliseconds from losses to the next tokens, of all losses that are over. */
  readonly spent: number
}

export interface ContinuationLimits {
  /** Most attempts in a row that get no further. */
  readonly attempts: number
  /** The longest time without getting further after a loss, in milliseconds. */
  readonly millis: number
  /** The longest time that all losses together may take from a request, in milliseconds. */
  readonly totalMillis: number
}

export const none: Losses = { inVain: 0, since: 0, reached: 0, crashes: 0, spent: 0 }

/** A crash may be anybody's in the worker; two are too many to be a coincidence. */
export const suspicious = 2

/** An attempt was lost when the request had `reached` so many tokens, the first of which it had got at `resumedAt`, if any. */
export const lost = (
  before: Losses,
  reached: number,
  crashed: boolean,
  now: number,
  resumedAt: number | null
): Losses => {
  const further = before.inVain === 0 || reached > before.reached
  const pause = before.inVain === 0 || !further ? 0 : Math.max(0, (resumedAt ?? now) - before.since)
  return {
    inVain: further ? 1 : before.inVain + 1,
    since: further ? now : before.since,
    reached,
    crashes: before.crashes + (crashed ? 1 : 0),
    spent: before.spent + pause
  }
}

/** Tried alone, it got further. */
export const cleared = (reached: number, { spent }: Losses): Losses => ({
  inVain: 0,
  since: 0,
  reached,
  crashes: suspicious - 1,
  spent
})

/** It got further by itself, the first time at `resumedAt` after its last loss: what it lost before is over. */
export const over = (before: Losses, resumedAt: number | null): Losses =>
  before.inVain === 0
    ? before
    : { ...before, inVain: 0, since: 0, spent: before.spent + Math.max(0, (resumedAt ?? before.since) - before.since) }

export const isSuspect = ({ crashes }: Losses): boolean => crashes >= suspicious

export const isOver = ({ inVain, since, spent }: Losses, limits: ContinuationLimits, now: number): boolean =>
  inVain >= limits.attempts || now - since >= limits.millis || spent + now - since >= limits.totalMillis

const firstPause = 25
const longestPause = 2_000

/** Milliseconds until the next attempt. News of a lost worker takes a moment to reach those who decide where it goes. */
export const pause = ({ inVain }: Losses): number => Math.min(longestPause, firstPause * 2 ** (inVain - 1))
