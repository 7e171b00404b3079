/**
 * Whether a key may make a request now: so many a minute, so many tokens a minute, so many at once. In memory, on this node.
 *
 * Tokens are charged when they are known, after the request: one is let in while less than the limit was used in the last minute, and may
 * then use more than what was left. What it used beyond the limit keeps the next ones out for as long.
 */
import type { KeyLimits } from "@helixflow/runtime/KeyStore"
import { RateLimitExceeded } from "@helixflow/schema/Errors"
import { Clock, Context, Effect } from "effect"
import { RateWindow } from "./RateWindow.ts"

type Limits = Omit<KeyLimits, "weight">

/** A request that was let in. */
export interface Lease {
  readonly _tag: "Lease"
  /** Counts tokens that it has used. */
  readonly charge: (tokens: number, now: number) => void
  /** Ends it; a second time does nothing. */
  readonly release: () => void
}

export interface Admission {
  /** `now` in milliseconds. */
  readonly enter: (now: number) => Lease | RateLimitExceeded
  /** How it stands, as OpenAI's `x-ratelimit-*` header fields. */
  readonly headers: (now: number) => Readonly<Record<string, string>>
}

/** Charges the request at hand, where somebody counts. */
export class Meter extends Context.Reference<Meter>()("@helixflow/gateway/Meter", {
  defaultValue: (): Pick<Lease, "charge"> => ({ charge: () => {} })
}) {}

/** Charges the request at hand for its tokens. */
export const charge = (tokens: number): Effect.Effect<void> =>
  Effect.flatMap(Meter, (meter) => Effect.map(Clock.currentTimeMillis, (now) => meter.charge(tokens, now)))

const free: Lease = { _tag: "Lease", charge: () => {}, release: () => {} }

export const unlimited: Admission = { enter: () => free, headers: () => ({}) }

/** `20ms`, `1.5s`, `1m0s`: as OpenAI writes it. */
export const spellDuration = (millis: number): string => {
  if (millis < 1000) return `${Math.ceil(millis)}ms`
  const minutes = Math.floor(millis / 60_000)
  return `${minutes > 0 ? `${minutes}m` : ""}${(millis - minutes * 60_000) / 1000}s`
}

/** What is used of one limit. */
const headersOf = (name: string, limit: number | null, window: RateWindow, now: number) =>
  limit === null
    ? {}
    : {
        [`x-ratelimit-limit-${name}`]: String(limit),
        [`x-ratelimit-remaining-${name}`]: String(Math.max(0, limit - window.used(now))),
        [`x-ratelimit-reset-${name}`]: spellDuration(window.until(0, now))
      }

const exceeded = (what: string, limit: number, millis: number) =>
  new RateLimitExceeded({ what, limit, retryAfterSeconds: Math.max(1, millis / 1000) })

export const limited = ({ concurrency, rpm, tpm }: Limits): Admission => {
  const requests = new RateWindow()
  const tokens = new RateWindow()
  let active = 0
  return {
    enter: (now) => {
      if (concurrency !== null && active >= concurrency) return exceeded("requests at once", concurrency, 0)
      if (rpm !== null && requests.used(now) >= rpm) {
        return exceeded("requests per minute", rpm, requests.until(rpm - 1, now))
      }
      if (tpm !== null && tokens.used(now) >= tpm) return exceeded("tokens per minute", tpm, tokens.until(tpm - 1, now))
      active++
      requests.add(1, now)
      let released = false
      return {
        _tag: "Lease",
        charge: (count, at) => tokens.add(count, at),
        release: () => {
          if (!released) active--
          released = true
        }
      }
    },
    headers: (now) => ({
      ...headersOf("requests", rpm, requests, now),
      ...headersOf("tokens", tpm, tokens, now)
    })
  }
}

/** Of a key with these limits. */
export const admissionOf = (limits: Limits): Admission =>
  limits.rpm === null && limits.tpm === null && limits.concurrency === null ? unlimited : limited(limits)
