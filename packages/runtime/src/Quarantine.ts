/**
 * Requests that are known to kill workers, by a fingerprint that tells nobody what they asked: refused for a while, so that a client
 * that tries again harms nobody. Bounded: the oldest is forgotten first.
 */
import { createHmac, randomBytes } from "node:crypto"
import { RequestQuarantined } from "@helixflow/schema/Errors"
import { Clock, Effect } from "effect"

export interface QuarantineLimits {
  /** How long a request is refused. */
  readonly millis: number
  readonly entries: number
}

/** What two requests that are the same for a worker have in common; anything that JSON can say. */
export type Subject = Readonly<Record<string, unknown>>

export interface Quarantine {
  /** Fails for a request that is in quarantine. */
  readonly check: (subject: () => Subject) => Effect.Effect<void, RequestQuarantined>
  /** Puts a request into quarantine, and fails with what its client is told. */
  readonly convict: (subject: () => Subject) => Effect.Effect<never, RequestQuarantined>
  readonly size: Effect.Effect<number>
}

export const make = (limits: QuarantineLimits): Quarantine => {
  const salt = randomBytes(32)
  /** When each is let go, in the order of their conviction and hence of their release. */
  const until = new Map<string, number>()

  const fingerprint = (subject: Subject) => createHmac("sha256", salt).update(JSON.stringify(subject)).digest("base64")

  const release = (now: number) => {
    for (const [key, end] of until) {
      if (end > now && until.size <= limits.entries) return
      until.delete(key)
    }
  }
  const refusal = (end: number, now: number) =>
    new RequestQuarantined({ retryAfterSeconds: Math.max(1, Math.ceil((end - now) / 1_000)) })

  return {
    // nearly always there is nobody to compare with
    check: (subject) =>
      until.size === 0
        ? Effect.void
        : Effect.flatMap(Clock.currentTimeMillis, (now) => {
            release(now)
            const end = until.get(fingerprint(subject()))
            return end === undefined ? Effect.void : refusal(end, now)
          }),
    convict: (subject) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const key = fingerprint(subject())
        const end = now + limits.millis
        until.delete(key)
        until.set(key, end)
        release(now)
        return refusal(end, now)
      }),
    size: Effect.map(Clock.currentTimeMillis, (now) => {
      release(now)
      return until.size
    })
  }
}
