/**
 * Work on a replica that outlives replicas: a place is asked for, held while the work runs and given back, and when the worker
 * is lost meanwhile the work is placed anew, within the limits of `Losses.ts`. Who was there at two crashes is tried alone, and
 * if that worker crashes too, to blame. See `Isolation.ts`, and `SharedTrials.ts` for where there is no room for another worker.
 *
 * Work that is preempted has lost nothing: it asks for a place as it did before, and waits for it as long as it takes.
 */
import { asLongAsItTakes } from "@helixflow/scheduler/Preempting"
import { anonymous, Caller, type QueueProgress } from "@helixflow/schema/Caller"
import {
  type ActorUnreachable,
  AttemptsExhausted,
  type MailboxFull,
  type Preempted,
  QueueTimeout,
  type ReplicaNotReady,
  type WorkerLost
} from "@helixflow/schema/Errors"
import { deviceOf, type ReplicaId, RequestId, ReservationId, type SessionId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import type { ModelActor } from "@helixflow/schema/ModelActor"
import type { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import type { SessionError } from "@helixflow/schema/SessionActor"
import { Clock, Data, Duration, Effect, Option, type Scope, Stream } from "effect"
import type { ClientOf } from "./Actor.ts"
import { blinded, type Conversations } from "./Conversations.ts"
import type { Isolation } from "./Isolation.ts"
import * as Losses from "./Losses.ts"
import type { Quarantine, Subject } from "./Quarantine.ts"
import type { LinePlace } from "./SharedTrials.ts"
import { Attribute, byAttributes, continuations, preemptedEvent, preemptions, quarantined } from "./Telemetry.ts"

export interface AttemptsOptions {
  readonly session: SessionId
  /** The living scheduler, which after a restart is another. */
  readonly scheduler: Effect.Effect<ClientOf<typeof SchedulerActor>, ActorUnreachable>
  readonly replica: (id: ReplicaId) => Effect.Effect<ClientOf<typeof ModelActor>, ActorUnreachable>
  readonly continuation: Losses.ContinuationLimits
  readonly isolation: Isolation
  readonly quarantine: Quarantine
  readonly conversations: Conversations
}

/** Ends an attempt, not the request. */
export type Lost = WorkerLost | ReplicaNotReady | ActorUnreachable | MailboxFull

/** How a place is waited for. */
export interface Wait {
  readonly timeoutMillis: number
  readonly caller: Caller | undefined
  /** See `Conversations.ts`. */
  readonly conversation?: string | undefined
  /** Is told how it stands, for as long as it lasts. */
  readonly onProgress?: (progress: QueueProgress) => void
}

/** What else ends an attempt: there is no fault in it. */
export type Ended = Lost | Cleared | Preempted

/** Work that was tried alone has got further than any attempt before: it may go on among others. */
export class Cleared extends Data.TaggedError("Cleared") {}

/** A replica with a slot reserved. */
export interface Place {
  readonly id: ReplicaId
  readonly replica: ClientOf<typeof ModelActor>
  /** Of the model that it has loaded. */
  readonly revision: string
  /** 0 for the first. */
  readonly attempt: number
  /** What the place was used for so far, and when work that had lost its place got further; whoever uses it writes it down. */
  readonly served: { input: number; output: number; resumedAt: number | null }
  /** What the attempt before was called, if it was preempted: what the work had is computed again at nobody's charge. */
  readonly resumes: RequestId | null
  /** A suspect's, and others wait for the turn: to be left (`Cleared`) once the work has got further. */
  readonly alone: boolean
  /** When the attempt before was lost, in milliseconds; null for the first, and where none was. */
  readonly lostAt: number | null
}

/** A place but for where it is. */
interface Turn extends Omit<Place, "id" | "replica" | "revision"> {
  /** The replica that it was on last, where that is worth something. */
  readonly prefer: ReplicaId | undefined
}

const turnOf = (turn: Pick<Turn, "attempt" | "alone" | "lostAt" | "prefer" | "resumes">): Turn => ({
  ...turn,
  served: { input: 0, output: 0, resumedAt: null }
})

const firstTurn = () => turnOf({ attempt: 0, alone: false, lostAt: null, prefer: undefined, resumes: null })

export interface Work<A> {
  readonly model: ModelSpec
  /** Tells the sequences of a session apart. */
  readonly name: string
  /** How it waits for its first place. For later ones it waits as long as it may continue, and goes first: it has begun. */
  readonly wait: Wait
  /** The only revision of the model that it can go on with, if it has begun. */
  readonly revision?: () => string | undefined
  /** Tokens so far. */
  readonly reached: () => number
  /** What a worker is given of it. */
  readonly subject: () => Subject
  /** Whether it can be interrupted at any time and go on where it was. */
  readonly preemptible: boolean
  readonly use: (place: Place) => Effect.Effect<A, SessionError | Ended, Scope.Scope>
}

type Used<A> = Effect.Effect<A, SessionError | Ended>

/** What came before an attempt. */
interface Past extends Pick<Turn, "attempt" | "prefer" | "resumes"> {
  readonly losses: Losses.Losses
}

const countContinuation = byAttributes(continuations, [Attribute.responseModel, Attribute.errorType])
const countPreemption = byAttributes(preemptions, [Attribute.responseModel])
const countQuarantined = byAttributes(quarantined, [Attribute.responseModel])

/** Runs work with a place for one sequence of its model. */
export const make = (options: AttemptsOptions) => {
  const { trials } = options.isolation

  /** The work's place, and what a worker is given of it, in this attempt. */
  const nameOf = <A>(work: Work<A>, { attempt }: Pick<Turn, "attempt">) =>
    RequestId.make(`${options.session}/${work.name}@${attempt}`)

  /** A worker that crashes has been killed by the work, if it was alone there. */
  const blaming = <A>(work: Work<A>, isAccompanied: () => boolean, use: Used<A>): Used<A> =>
    Effect.catchAll(use, (error) => {
      if (!isCrash(error) || isAccompanied()) return Effect.fail(error)
      return Effect.logWarning("a request is put into quarantine: it killed a worker that it was alone in").pipe(
        Effect.annotateLogs({ session: options.session, choice: work.name, reason: error.message }),
        Effect.tap(() => Effect.sync(() => countQuarantined(1, work.model.id))),
        Effect.zipRight(options.quarantine.convict(work.subject))
      )
    })

  /** Uses a place in a worker where others may be. */
  const useShared = <A>(work: Work<A>, place: Place) =>
    trials.stay(place.id, (stay) => {
      const used = Effect.scoped(work.use(place))
      return place.alone ? blaming(work, () => stay.accompanied, used) : used
    })

  /** In a place that the scheduler gives; not while a suspect is tried there. */
  const shared = <A>(work: Work<A>, wait: Wait, turn: Turn) =>
    trials.isClosed(work.model.id)
      ? trials.opened(work.model.id).pipe(
          Effect.timed,
          Effect.timeoutFail({
            duration: wait.timeoutMillis,
            onTimeout: () =>
              new QueueTimeout({ model: work.model.id, waitedMillis: wait.timeoutMillis, reasons: [beingTried] })
          }),
          Effect.flatMap(([waited]) => {
            const timeoutMillis = Math.max(1, wait.timeoutMillis - Duration.toMillis(waited))
            return placed(work, { ...wait, timeoutMillis }, turn)
          })
        )
      : placed(work, wait, turn)

  const placed = <A>(work: Work<A>, wait: Wait, turn: Turn) => {
    const { caller, conversation, onProgress, timeoutMillis } = wait
    const request = nameOf(work, turn)
    return Effect.flatMap(options.scheduler, (scheduler) => {
      const giveBack = (reservation: ReservationId) =>
        Effect.ignoreLogged(Effect.suspend(() => scheduler.Complete({ reservation, served: turn.served })))
      const affinity =
        work.model.policy === "affinity" && conversation !== undefined ? blinded(conversation) : undefined
      const key = work.model.replicas > 1 ? conversation : undefined
      const asked = {
        request,
        model: work.model.id,
        not: [],
        timeoutMillis,
        caller,
        affinity,
        prefer: turn.prefer ?? (key === undefined ? undefined : options.conversations.at(key)),
        revision: work.revision?.(),
        preemptible: work.preemptible && !turn.alone,
        resumes: turn.resumes ?? undefined
      }
      const place = scheduler.Place(asked).pipe(
        Effect.interruptible,
        // the answer may have been on its way; its reservation has the request's name
        Effect.onInterrupt(() => giveBack(ReservationId.make(request)))
      )
      return Effect.acquireUseRelease(
        onProgress === undefined ? place : tellingProgress(place, scheduler.Progress({ request }), onProgress),
        ({ replica: id, revision }) =>
          Effect.flatMap(options.replica(id), (replica) => {
            if (key !== undefined) options.conversations.went(key, id)
            return useShared(work, { ...turn, id, replica, revision })
          }),
        ({ reservation }) => giveBack(reservation)
      )
    })
  }

  /** In a worker that nobody else is in, or soon is, one suspect at a time. */
  const alone = <A>(work: Work<A>, wait: Wait, turn: Turn, line: LinePlace) =>
    Effect.suspend((): Used<A> => {
      line.take()
      return options.isolation.alone(
        work.model,
        Option.match({
          onNone: () => {
            line.close()
            return placed(work, wait, turn)
          },
          onSome: (cell) => blaming(work, () => false, Effect.scoped(work.use({ ...turn, ...cell })))
        })
      )
    })

  const again = <A>(work: Work<A>, { losses, ...past }: Past, line: LinePlace): Effect.Effect<A, SessionError> => {
    const isSuspect = Losses.isSuspect(losses)
    const lostAt = losses.inVain === 0 ? null : losses.since
    const turn = turnOf({ ...past, alone: isSuspect, lostAt })
    const wait = past.resumes === null ? afterLoss(work.wait) : { ...work.wait, timeoutMillis: asLongAsItTakes }
    return (isSuspect ? alone(work, wait, turn, line) : shared(work, wait, turn)).pipe(
      Effect.withSpan(past.resumes === null ? "SessionActor.continue" : "SessionActor.resume", {
        captureStackTrace: false,
        attributes: {
          [Attribute.responseModel]: work.model.id,
          [Attribute.attempt]: past.attempt,
          [Attribute.continuedFrom]: work.reached(),
          [Attribute.alone]: isSuspect
        }
      }),
      Effect.catchAll((error) => goOn(work, turn, losses, error, line))
    )
  }

  /** Who has begun waits for as long as it may continue, and goes first. */
  const afterLoss = ({ caller = anonymous, ...wait }: Wait): Wait => ({
    ...wait,
    timeoutMillis: Math.max(wait.timeoutMillis, options.continuation.millis),
    caller: new Caller({ ...caller, tier: "priority" }, { disableValidation: true })
  })

  /** After an attempt that did not end the work: another, or what it fails with. */
  const goOn = <A>(
    work: Work<A>,
    turn: Turn,
    losses: Losses.Losses,
    error: SessionError | Ended,
    line: LinePlace
  ): Effect.Effect<A, SessionError> => {
    if (error._tag === "Preempted") return onPreempted(work, turn, losses, error, line)
    if (error._tag === "Cleared") {
      line.leave()
      const cleared = Losses.cleared(work.reached(), losses)
      return again(work, { attempt: turn.attempt + 1, losses: cleared, prefer: undefined, resumes: null }, line)
    }
    return isLost(error) || isPassing(error) ? onLost(work, turn, losses, error, line) : Effect.fail(error)
  }

  /** It has lost nothing, and nothing of this counts against it. */
  const onPreempted = <A>(
    work: Work<A>,
    turn: Turn,
    losses: Losses.Losses,
    { replica }: Preempted,
    line: LinePlace
  ): Effect.Effect<A, SessionError> =>
    Effect.clockWith((clock) => {
      countPreemption(1, work.model.id)
      const past = {
        attempt: turn.attempt + 1,
        losses: Losses.over(losses, turn.served.resumedAt),
        prefer: replica,
        resumes: nameOf(work, turn)
      }
      return Effect.zipRight(tellSpan(clock.unsafeCurrentTimeNanos(), replica), again(work, past, line))
    })

  const onLost = <A>(
    work: Work<A>,
    { attempt, served }: Turn,
    before: Losses.Losses,
    failure: Lost | Passing,
    line: LinePlace
  ) =>
    Effect.flatMap(Clock.currentTimeMillis, (now): Effect.Effect<A, SessionError> => {
      // who had company in a crash stays in the line meanwhile, or it would have company again
      if (!isCrash(failure)) line.leave()
      const losses = Losses.lost(before, work.reached(), isCrash(failure), now, served.resumedAt)
      if (Losses.isOver(losses, options.continuation, now)) {
        return Effect.fail(
          new AttemptsExhausted({
            request: RequestId.make(options.session),
            attempts: attempt + 1,
            lastFailure: failure.message
          })
        )
      }
      if (isCrash(failure)) options.isolation.crashedOn(deviceOf(failure.replica))
      countContinuation(1, work.model.id, failure._tag)
      return Effect.logWarning("a request lost its replica and is placed again").pipe(
        Effect.annotateLogs({ session: options.session, choice: work.name, reason: failure.message }),
        Effect.zipRight(
          Effect.delay(
            again(work, { attempt: attempt + 1, losses, prefer: undefined, resumes: null }, line),
            Losses.pause(losses)
          )
        )
      )
    })

  const inLine = <A>(work: Work<A>, use: (line: LinePlace) => Effect.Effect<A, SessionError>) =>
    Effect.suspend(() => {
      const line = trials.placeInLine(work.model.id)
      return Effect.ensuring(use(line), Effect.sync(line.leave))
    })

  return <A>(work: Work<A>): Effect.Effect<A, SessionError> => {
    // begun under another server, or before a pause
    if (work.reached() > 0) {
      const past = { attempt: 0, losses: Losses.none, prefer: undefined, resumes: null }
      return inLine(work, (line) => again(work, past, line))
    }
    const first = firstTurn()
    return Effect.catchAll(shared(work, work.wait, first), (error) =>
      error._tag === "Preempted" || isLost(error)
        ? inLine(work, (line) => goOn(work, first, Losses.none, error, line))
        : error._tag === "Cleared"
          ? // only work that is alone is ever cleared
            Effect.dieMessage("work was cleared without having been alone")
          : Effect.fail(error)
    )
  }
}

/** Marks the time at which a request made way, in the span that it is computed in. */
const tellSpan = (now: bigint, replica: ReplicaId) =>
  Effect.flatMap(Effect.option(Effect.currentSpan), (span) =>
    Effect.sync(() => {
      if (Option.isSome(span)) span.value.event(preemptedEvent, now, { replica })
    })
  )

const beingTried = "a request that may have made workers fail is being tried alone"

type Passing = Extract<SessionError, { readonly _tag: "LoadFailed" | "NoDeviceFits" | "QueueFull" | "QueueTimeout" }>

/** What keeps newcomers out passes, or so hopes who has begun. */
const isPassing = (error: SessionError | Ended): error is Passing =>
  error._tag === "LoadFailed" ||
  error._tag === "NoDeviceFits" ||
  error._tag === "QueueFull" ||
  error._tag === "QueueTimeout"

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

const isLost = (error: SessionError | Ended): error is Lost => lostTags.has(error._tag)

const isCrash = (error: { readonly _tag: string }): error is WorkerLost =>
  error._tag === "WorkerLost" && "crashed" in error && error.crashed === true
