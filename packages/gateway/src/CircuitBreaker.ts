/**
 * When to leave a failing server alone, and when to try it again. Pure: the clock's readings are given.
 * https://martinfowler.com/bliki/CircuitBreaker.html
 *
 *     Closed -- too many failures in a row --> Open -- its time is up --> HalfOpen -- success --> Closed
 *                                               ^                            |
 *                                               +------- failure ------------+   (for twice as long)
 *
 * Invariant: a half-open breaker has admitted exactly one request whose outcome it waits for.
 */
export type CircuitBreaker =
  | { readonly _tag: "Closed"; readonly failures: number }
  /** `openings`: how often in a row it opened without a success between. */
  | { readonly _tag: "Open"; readonly until: number; readonly openings: number }
  | { readonly _tag: "HalfOpen"; readonly since: number; readonly openings: number }

export interface CircuitBreakerLimits {
  /** Failures in a row that open it. */
  readonly failures: number
  /** How long it stays open the first time, milliseconds; doubled each time until `longestMillis`. */
  readonly openMillis: number
  readonly longestMillis: number
}

export const defaults: CircuitBreakerLimits = { failures: 3, openMillis: 1_000, longestMillis: 60_000 }

export const closed: CircuitBreaker = { _tag: "Closed", failures: 0 }

const openFor = ({ longestMillis, openMillis }: CircuitBreakerLimits, openings: number): number =>
  Math.min(longestMillis, openMillis * 2 ** (openings - 1))

const open = (limits: CircuitBreakerLimits, openings: number, now: number): CircuitBreaker => ({
  _tag: "Open",
  until: now + openFor(limits, openings),
  openings
})

/** The breaker after a request asked to pass, and whether it may. A trial whose outcome never came counts as failed in time. */
export const admit = (
  breaker: CircuitBreaker,
  limits: CircuitBreakerLimits,
  now: number
): readonly [CircuitBreaker, admitted: boolean] => {
  switch (breaker._tag) {
    case "Closed":
      return [breaker, true]
    case "Open":
      return now < breaker.until
        ? [breaker, false]
        : [{ _tag: "HalfOpen", since: now, openings: breaker.openings }, true]
    case "HalfOpen":
      return now < breaker.since + limits.longestMillis
        ? [breaker, false]
        : [{ _tag: "HalfOpen", since: now, openings: breaker.openings }, true]
  }
}

export const succeeded = (): CircuitBreaker => closed

/** Failures of requests that were admitted before it opened change nothing more. */
export const failed = (breaker: CircuitBreaker, limits: CircuitBreakerLimits, now: number): CircuitBreaker => {
  switch (breaker._tag) {
    case "Closed": {
      const failures = breaker.failures + 1
      return failures < limits.failures ? { _tag: "Closed", failures } : open(limits, 1, now)
    }
    case "HalfOpen":
      return open(limits, breaker.openings + 1, now)
    case "Open":
      return breaker
  }
}

/** Milliseconds until a request may pass again; 0 if one may now. */
export const waitMillis = (breaker: CircuitBreaker, limits: CircuitBreakerLimits, now: number): number => {
  switch (breaker._tag) {
    case "Closed":
      return 0
    case "Open":
      return Math.max(0, breaker.until - now)
    case "HalfOpen":
      return Math.min(limits.openMillis, Math.max(0, breaker.since + limits.longestMillis - now))
  }
}
