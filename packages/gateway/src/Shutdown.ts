/**
 * The orderly end of a server, as those see it who do work for clients:
 *
 *     serving -- begin --> stopping -- all work has ended, or the deadline --> ended
 *
 * While it is stopping no new work is taken: `/readyz` says so, `/v1` answers 503, and what runs goes on. What has not ended by the
 * deadline is told so (`expired`) and then cut off.
 *
 * ```ts
 * const shutdown = yield* Shutdown
 * yield* Effect.forkScoped(Effect.zipRight(shutdown.begun, sayGoodbye)) // e.g. close a WebSocket with 1001
 * ```
 */
import { Context, Deferred, Effect } from "effect"

export interface ShutdownShape {
  /** Whether new work is refused. */
  readonly stopping: () => boolean
  /** Succeeds when new work begins to be refused. */
  readonly begun: Effect.Effect<void>
  /** Succeeds when what still runs must end now. */
  readonly expired: Effect.Effect<void>
  /**
   * Counts a piece of work that the end waits for, until what it gives is called. `onExpired` is called, once, if the work has not
   * ended when the time is up.
   */
  readonly enter: (onExpired: () => void) => () => void
}

/** Who has no say in its own end (a test, a program that embeds the gateway) is never stopping. */
export class Shutdown extends Context.Reference<Shutdown>()("@helixflow/gateway/Shutdown", {
  defaultValue: (): ShutdownShape => ({
    stopping: () => false,
    begun: Effect.never,
    expired: Effect.never,
    enter: () => () => {}
  })
}) {}

/** A shutdown and the one who begins it: `run` takes until all work has ended, or `graceMillis` have passed. */
export const make = (
  graceMillis: number
): Effect.Effect<{ readonly shutdown: ShutdownShape; readonly run: Effect.Effect<"ended" | "expired"> }> =>
  Effect.gen(function* () {
    const begun = yield* Deferred.make<void>()
    const expired = yield* Deferred.make<void>()
    const idle = yield* Deferred.make<void>()
    let stopping = false
    const active = new Set<() => void>()
    const settle = () => {
      if (stopping && active.size === 0) Deferred.unsafeDone(idle, Effect.void)
    }
    const expire = Effect.zipRight(
      Deferred.succeed(expired, undefined),
      Effect.sync(() => {
        for (const onExpired of active) onExpired()
      })
    )
    return {
      shutdown: {
        stopping: () => stopping,
        begun: Deferred.await(begun),
        expired: Deferred.await(expired),
        enter: (onExpired) => {
          active.add(onExpired)
          return () => {
            active.delete(onExpired)
            settle()
          }
        }
      },
      run: Effect.gen(function* () {
        stopping = true
        yield* Deferred.succeed(begun, undefined)
        settle()
        return yield* Deferred.await(idle).pipe(
          Effect.timeoutTo({
            duration: graceMillis,
            onSuccess: () => "ended" as const,
            onTimeout: () => "expired" as const
          }),
          Effect.tap((outcome) => (outcome === "expired" ? expire : Effect.void))
        )
      })
    }
  })
