/**
 * Who finishes the sessions that are finished whether anybody listens or not. Each is leased by the server that does so; when that is gone
 * its lease runs out, and whichever server has the database next goes on with it. Two that go on with the same one, since their clocks or
 * the database kept one of them from renewing in time, say the same.
 */
import { randomUUID } from "node:crypto"
import type { SqlError } from "@effect/sql/SqlError"
import type { SessionNotFound, StorageUnavailable } from "@helixflow/schema/Errors"
import type { SessionId } from "@helixflow/schema/Ids"
import { Cause, Clock, Duration, Effect, FiberMap, type Scope } from "effect"
import type { Lease, SessionStore } from "./SessionStore.ts"

export interface SessionLeases {
  /** A lease of this server from now on. */
  readonly lease: Effect.Effect<Lease>
  /** Renews what is held and takes over what nobody holds, to be called every `leaseEvery`. */
  readonly keep: Effect.Effect<void, SqlError>
  /** Leaves all to others. */
  readonly release: Effect.Effect<void, SqlError>
}

export interface SessionLeasesOptions {
  readonly store: SessionStore
  /** The sessions that this server finishes now. */
  readonly held: () => ReadonlyArray<SessionId>
  /** Goes on with a session to its end, however that is. */
  readonly finish: (session: SessionId) => Effect.Effect<void, SessionNotFound | StorageUnavailable>
}

/** How long others leave a session to a server that says nothing more, and how often one that lives looks. */
const leaseTime = Duration.seconds(10)
export const leaseEvery = Duration.seconds(3)

/** Sessions of servers that are gone that are finished at once: whoever asks now must not wait for the past. */
const mostFinishing = 8

/** Ends what it has taken over with the scope. */
export const make = ({ finish, held, store }: SessionLeasesOptions): Effect.Effect<SessionLeases, never, Scope.Scope> =>
  Effect.gen(function* () {
    const owner = randomUUID()
    const run = yield* FiberMap.makeRuntime<never, SessionId>()
    const finishing = new Set<SessionId>()

    const lease = Effect.map(
      Clock.currentTimeMillis,
      (now): Lease => ({ owner, until: now + Duration.toMillis(leaseTime) })
    )

    const finishOne = (session: SessionId) =>
      finish(session).pipe(
        // how it ends is its client's to read, and what is gone needs no end
        Effect.catchAll((error) => Effect.logDebug("a session was not gone on with", error.message)),
        Effect.catchAllDefect((defect) =>
          Effect.logError("a session can't be gone on with", Cause.die(defect)).pipe(
            Effect.zipRight(Effect.ignoreLogged(store.abandon(session)))
          )
        ),
        Effect.annotateLogs({ session }),
        Effect.ensuring(Effect.sync(() => finishing.delete(session)))
      )

    return {
      lease,
      keep: Effect.gen(function* () {
        const current = yield* lease
        yield* store.renew(held(), current)
        for (const session of yield* store.claim(current, mostFinishing - finishing.size)) {
          finishing.add(session)
          run(session, finishOne(session))
        }
      }),
      release: store.release(owner)
    }
  })
