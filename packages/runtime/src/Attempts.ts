/**
 * Work on a replica that outlives replicas: a place is asked for, held while the work runs and given back, and when the worker
 * is lost meanwhile the work is placed anew, a bounded number of times.
 */
import type { Caller, QueueProgress } from "@helixflow/schema/Caller"
import {
  type ActorUnreachable,
  AttemptsExhausted,
  type MailboxFull,
  type ReplicaNotReady,
  type WorkerLost
} from "@helixflow/schema/Errors"
import { type ReplicaId, RequestId, ReservationId, type SessionId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import type { ModelActor } from "@helixflow/schema/ModelActor"
import type { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import type { SessionError } from "@helixflow/schema/SessionActor"
import { Duration, Effect, type Scope, Stream } from "effect"
import type { ClientOf } from "./Actor.ts"

export interface AttemptsOptions {
  readonly session: SessionId
  /** The living scheduler, which after a restart is another. */
  readonly scheduler: Effect.Effect<ClientOf<typeof SchedulerActor>, ActorUnreachable>
  readonly replica: (id: ReplicaId) => Effect.Effect<ClientOf<typeof ModelActor>, ActorUnreachable>
}

/** Ends an attempt, not the request. */
export type Lost = WorkerLost | ReplicaNotReady | ActorUnreachable | MailboxFull

/** How a place is waited for. */
export interface Wait {
  readonly timeoutMillis: number
  readonly caller: Caller | undefined
  /** Is told how it stands, for as long as it lasts. */
  readonly onProgress?: (progress: QueueProgress) => void
}

/** A replica with a slot reserved. */
export interface Place {
  readonly id: ReplicaId
  readonly replica: ClientOf<typeof ModelActor>
  /** 0 for the first. */
  readonly attempt: number
  /** What the place was used for so far; whoever uses it writes it down. */
  readonly served: { input: number; output: number }
}

/** With the pause doubling from one to the next, the attempts span about a second and a half besides their own time. */
const maxAttempts = 6
const firstPause = Duration.millis(50)

/** Runs `use` with a place for one sequence of the model. `name` tells the sequences of a session apart. */
export const make =
  (options: AttemptsOptions) =>
  <A>(
    model: ModelSpec,
    name: string,
    wait: Wait,
    use: (place: Place) => Effect.Effect<A, SessionError | Lost, Scope.Scope>
  ): Effect.Effect<A, SessionError> => {
    const attempt = (n: number): Effect.Effect<A, SessionError> =>
      once(n).pipe(
        Effect.catchIf(isLost, (failure) =>
          n + 1 >= maxAttempts
            ? new AttemptsExhausted({
                request: RequestId.make(options.session),
                attempts: n + 1,
                lastFailure: failure.message
              })
            : Effect.logWarning("a request lost its replica and is placed again").pipe(
                Effect.annotateLogs({ session: options.session, choice: name, reason: failure.message }),
                Effect.zipRight(Effect.delay(attempt(n + 1), Duration.times(firstPause, 2 ** n)))
              )
        )
      )

    const once = (n: number): Effect.Effect<A, SessionError | Lost> => {
      const request = RequestId.make(`${options.session}/${name}@${n}`)
      return Effect.flatMap(options.scheduler, (scheduler) => {
        const served = { input: 0, output: 0 }
        const giveBack = (reservation: ReservationId) =>
          Effect.ignoreLogged(Effect.suspend(() => scheduler.Complete({ reservation, served })))
        const { caller, onProgress, timeoutMillis } = wait
        const place = scheduler.Place({ request, model: model.id, not: [], timeoutMillis, caller }).pipe(
          Effect.interruptible,
          // the answer may have been on its way; its reservation has the request's name
          Effect.onInterrupt(() => giveBack(ReservationId.make(request)))
        )
        return Effect.acquireUseRelease(
          onProgress === undefined ? place : tellingProgress(place, scheduler.Progress({ request }), onProgress),
          ({ replica: id }) =>
            Effect.flatMap(options.replica(id), (replica) => Effect.scoped(use({ id, replica, attempt: n, served }))),
          ({ reservation }) => giveBack(reservation)
        )
      })
    }
    return attempt(0)
  }

/** A request that has a place at once is told nothing. */
const progressDelay = Duration.millis(100)

/** The place, and meanwhile how it stands. What is told is for the reader's patience alone: its failures are nobody's. */
const tellingProgress = <A, E>(
  place: Effect.Effect<A, E>,
  progress: Stream.Stream<QueueProgress, MailboxFull | ActorUnreachable>,
  onProgress: (progress: QueueProgress) => void
): Effect.Effect<A, E> =>
  Effect.scoped(
    Stream.runForEach(progress, (news) => Effect.sync(() => onProgress(news))).pipe(
      Effect.ignore,
      // the wait may not have begun when it was first looked
      Effect.delay(progressDelay),
      Effect.forever,
      Effect.interruptible,
      Effect.forkScoped,
      Effect.zipRight(place)
    )
  )

const lostTags: ReadonlySet<string> = new Set<Lost["_tag"]>([
  "WorkerLost",
  "ReplicaNotReady",
  "ActorUnreachable",
  "MailboxFull"
])

const isLost = (error: SessionError | Lost): error is Lost => lostTags.has(error._tag)
