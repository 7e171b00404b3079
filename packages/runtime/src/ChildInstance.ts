/** One run of a supervised child: a fiber and a scope, from its start until its resources are released or it is given up. */
import type { ChildId } from "@helixflow/schema/Ids"
import { Cause, Deferred, Effect, Exit, Fiber, Option, Scope } from "effect"
import type { ChildPlan, ExitReason } from "./SupervisionState.ts"

export interface ChildSpec<out E = unknown> extends ChildPlan {
  /**
   * How long the child may take to stop and release its resources before it is given up, in milliseconds. 5,000 unless said, as for
   * OTP's workers.
   */
  readonly shutdownMillis?: number
  /**
   * The outer effect is OTP's `init`: the child counts as started when it succeeds. The scope is the child's own and closed when it
   * ends. The inner effect is the child's run: success is a normal end, a failure or defect a failure, an interruption from within
   * a shutdown.
   */
  readonly start: Effect.Effect<Effect.Effect<unknown, unknown>, E, Scope.Scope>
  /** Whether what its run failed with was somebody else's doing, so that it may run again without counting; never unless said. */
  readonly isBlameless?: (error: unknown) => boolean
}

/** How an instance ended. `StartFailed`: it never ran. */
export type InstanceEnd =
  | { readonly _tag: "StartFailed"; readonly id: ChildId; readonly message: string }
  | { readonly _tag: "ChildExited"; readonly id: ChildId; readonly reason: ExitReason }

type Outcome =
  | { readonly _tag: "InitFailed"; readonly cause: Cause.Cause<unknown> }
  | { readonly _tag: "RunEnded"; readonly exit: Exit.Exit<unknown, unknown> }

/**
 * Runs a child until it ends by itself or `stop` is done, then stops it and releases its resources. An instance that takes longer
 * than its `shutdownMillis` for that is given up: nothing in JavaScript can kill it, so it is left to its own devices and reported as
 * a failure. `onStarted` runs between init and run.
 */
export const runInstance = (
  { id, isBlameless = () => false, shutdownMillis = 5_000, start }: ChildSpec,
  stop: Deferred.Deferred<void>,
  onStarted: Effect.Effect<void>
): Effect.Effect<InstanceEnd> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    // Daemons: a fiber that refuses to stop would hold up its parent's end. The second ends the first, whatever comes.
    const body = yield* Effect.forkDaemon(initAndRun(Scope.extend(start, scope), onStarted))
    yield* Effect.raceFirst(Fiber.await(body), Deferred.await(stop))
    const closing = yield* Fiber.interrupt(body).pipe(
      Effect.tap((exit) => Scope.close(scope, exit)),
      Effect.forkDaemon
    )
    const closed = yield* Effect.timeoutOption(Fiber.await(closing), shutdownMillis)
    if (Option.isSome(closed)) return endOf(id, Exit.flatten(closed.value), isBlameless)
    const message = `it did not stop within ${shutdownMillis} ms`
    yield* Effect.logError(`Child was given up: ${message}`)
    return { _tag: "ChildExited", id, reason: { _tag: "Failure", message } }
  })

const initAndRun = (
  init: Effect.Effect<Effect.Effect<unknown, unknown>, unknown>,
  onStarted: Effect.Effect<void>
): Effect.Effect<Outcome> =>
  Effect.matchCauseEffect(init, {
    onFailure: (cause) => Effect.succeed<Outcome>({ _tag: "InitFailed", cause }),
    onSuccess: (run) =>
      onStarted.pipe(
        Effect.zipRight(Effect.exit(run)),
        Effect.map((exit): Outcome => ({ _tag: "RunEnded", exit }))
      )
  })

/** A failed `outcome` is the interruption of one that was told to stop, or a finalizer's defect. */
const endOf = (id: ChildId, outcome: Exit.Exit<Outcome>, isBlameless: (error: unknown) => boolean): InstanceEnd => {
  if (Exit.isFailure(outcome)) return { _tag: "ChildExited", id, reason: reasonOf(outcome, isBlameless) }
  return outcome.value._tag === "RunEnded"
    ? { _tag: "ChildExited", id, reason: reasonOf(outcome.value.exit, isBlameless) }
    : { _tag: "StartFailed", id, message: messageOf(outcome.value.cause) }
}

const reasonOf = (exit: Exit.Exit<unknown, unknown>, isBlameless: (error: unknown) => boolean): ExitReason => {
  if (Exit.isSuccess(exit)) return { _tag: "Normal" }
  if (Cause.isInterruptedOnly(exit.cause)) return { _tag: "Shutdown" }
  const blameless = Option.exists(Cause.failureOption(exit.cause), isBlameless)
  return { _tag: "Failure", message: messageOf(exit.cause), blameless }
}

/** One line for logs and `ChildStatus`. */
const messageOf = (cause: Cause.Cause<unknown>): string =>
  Cause.isInterruptedOnly(cause)
    ? "interrupted"
    : Cause.prettyErrors(cause)
        .map(({ message }) => message)
        .join("; ")
