/** An engine's process: started, connected and, when its scope closes, gone. */
import { type ChildProcess, fork } from "node:child_process"
import { join } from "node:path"
import { ActorUnreachable } from "@helixflow/schema/Errors"
import type { ReplicaId } from "@helixflow/schema/Ids"
import { Worker } from "@helixflow/schema/Worker"
import { Data, Deferred, Effect, ExecutionStrategy, Schedule, Scope } from "effect"
import type { ClientOf } from "./Actor.ts"
import * as Liveness from "./Liveness.ts"
import * as Orphans from "./Orphans.ts"
import * as ProcessState from "./ProcessState.ts"
import * as UnixSocket from "./UnixSocket.ts"
import type { WorkerEntry } from "./WorkerEntry.ts"

export interface WorkerProcess {
  readonly pid: number
  readonly client: ClientOf<typeof Worker>
  /** Succeeds when the process has ended, whatever ended it. */
  readonly exited: Effect.Effect<WorkerEnd>
  /**
   * From now on the worker must answer: `ask` is asked again and again, and a worker that is frozen is killed. Ends with the
   * process.
   */
  readonly keepAlive: (ask: Effect.Effect<void, unknown>) => Effect.Effect<void>
}

/** How a worker ended. `crashed`: by its own doing; else somebody has killed or stopped it. */
export type WorkerEnd = Liveness.Verdict

/** It ended before it listened. */
export class WorkerEnded extends Data.TaggedError("WorkerEnded")<WorkerEnd> {}

export interface SpawnOptions {
  readonly replica: ReplicaId
  readonly entry: WorkerEntry
  /** A folder only this user can open, with a short path: socket paths are limited to about 100 bytes. */
  readonly socketDir: string
  readonly liveness: Liveness.LivenessLimits
  /** Where it is written down, so that it is found should it outlive us. */
  readonly records: string
}

/** How long a worker may take from its start until it listens, and from our hanging up until it is gone. */
const startTimeout = "60 seconds"
const stopTimeout = "5 seconds"

/** How often a worker is looked at, in milliseconds, and asked for a sign of life, the answer to the last one being there. */
const pulse = 250
const heartbeatInterval = 500

let spawned = 0

/** Fails when the process ends (`WorkerEnded`), or says nothing (`ActorUnreachable`), before it listens. */
export const spawn = Effect.fnUntraced(function* (
  options: SpawnOptions
): Effect.fn.Return<WorkerProcess, ActorUnreachable | WorkerEnded, Scope.Scope> {
  const name = `the worker of ${options.replica}`
  const unreachable = (reason: string) => new ActorUnreachable({ actor: name, reason })
  const path = join(options.socketDir, `${process.pid}-${++spawned}.sock`)
  const exit = yield* Deferred.make<WorkerEnd>()
  const listening = yield* Deferred.make<void>()
  const memoryKills = ProcessState.memoryKills()
  /** Why we have killed it. */
  let sentence: WorkerEnd | null = null
  // closes when the process is gone
  const recorded = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = fork(options.entry.path, [path], {
        execArgv: [...options.entry.execArgv, youngGeneration],
        env: workerEnvironment(),
        // nothing a worker prints may get between the lines of a program that embeds us
        stdio: ["ignore", 2, 2, "ipc"]
      })
      // its only message over the IPC channel: that its socket listens
      child.once("message", () => Deferred.unsafeDone(listening, Effect.void))
      child.once("exit", (code, signal) => {
        const outOfMemory = ProcessState.memoryKills() > memoryKills
        Deferred.unsafeDone(exit, Effect.succeed(sentence ?? endOf(code, signal, outOfMemory)))
      })
      child.once("error", (error) => {
        Deferred.unsafeDone(exit, Effect.succeed({ reason: error.message, crashed: true }))
      })
      return child
    }),
    (child) => stop(child, Deferred.await(exit))
  )
  const exited = Deferred.await(exit)
  const pid = child.pid ?? 0
  yield* Scope.extend(Orphans.record({ folder: options.records, sockets: options.socketDir }, pid), recorded)

  /** Looks at the process until it must be killed. `hasAnswered`: since the last look, or it owes no answer. */
  const watch = (hasAnswered: () => boolean) =>
    Effect.suspend(() => {
      let liveness = Liveness.initial
      const look = Effect.sync(() => {
        liveness = Liveness.look(liveness, ProcessState.read(pid), hasAnswered(), pulse)
        const verdict = Liveness.judge(liveness, options.liveness)
        if (verdict === null || child.exitCode !== null) return
        sentence ??= verdict
        child.kill("SIGKILL")
      })
      return Effect.repeat(look, Schedule.spaced(pulse))
    }).pipe(Effect.raceFirst(exited), Effect.asVoid)

  const keepAlive = (ask: Effect.Effect<void, unknown>) =>
    Effect.suspend(() => {
      let answered = true
      const asked = Effect.tap(ask, () =>
        Effect.sync(() => {
          answered = true
        })
      ).pipe(Effect.repeat(Schedule.spaced(heartbeatInterval)), Effect.ignore, Effect.zipRight(Effect.never))
      const hasAnswered = () => {
        const since = answered
        answered = false
        return since
      }
      return Effect.raceFirst(watch(hasAnswered), asked)
    })

  // whoever stops it while it starts or loads stops it too
  yield* Effect.forkScoped(watch(() => true))
  yield* Deferred.await(listening).pipe(
    Effect.raceFirst(Effect.flatMap(exited, (end) => new WorkerEnded(end))),
    Effect.timeoutFail({ duration: startTimeout, onTimeout: () => unreachable("it did not start in time") })
  )
  const client = yield* UnixSocket.connect(Worker, { name, path })
  return { pid, client, exited, keepAlive }
})

/**
 * MiB of V8's semi-spaces at most, in which a step's numbers are made and thrown away. By default they grow to 16 with the number of streams, which
 * is 48 of resident memory that nobody is charged for.
 */
const youngGeneration = "--max-semi-space-size=2"

/** Signals that programs and people send; a crash comes with others, and with SIGKILL where memory ran out. */
const sentSignals: ReadonlySet<NodeJS.Signals> = new Set(["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])

const endOf = (code: number | null, signal: NodeJS.Signals | null, outOfMemory: boolean): WorkerEnd => {
  if (signal === null) return { reason: `it exited with code ${code}`, crashed: code !== 0 }
  return signal === "SIGKILL" && outOfMemory
    ? { reason: "killed by SIGKILL as the system was out of memory", crashed: true, outOfMemory: true }
    : { reason: `killed by ${signal}`, crashed: !sentSignals.has(signal) }
}

const stop = (child: ChildProcess, exited: Effect.Effect<unknown>) =>
  Effect.sync(() => (child.connected ? child.disconnect() : child.kill("SIGKILL"))).pipe(
    Effect.zipRight(exited),
    Effect.timeoutTo({
      duration: stopTimeout,
      onSuccess: () => Effect.void,
      onTimeout: () =>
        Effect.zipRight(
          Effect.sync(() => void child.kill("SIGKILL")),
          Effect.asVoid(exited)
        )
    }),
    Effect.flatten
  )

/**
 * Workers are given no setting and so no secret of ours: all they need comes by message. CUDA's devices are numbered as they were
 * detected, by their place on the bus.
 */
export const workerEnvironment = () => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("HELIX_"))),
  CUDA_DEVICE_ORDER: "PCI_BUS_ID"
})
