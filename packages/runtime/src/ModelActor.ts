/**
 * The behaviour of a replica: a model loaded on a device in a worker process of its own.
 *
 *     absent -- Load --> loading --> ready -- Drain --> draining -- Unload --> absent
 *                           |          |                   |
 *                           +----------+--- worker lost ---+--> failed
 *
 * A lost worker ends the actor: its supervisor starts it anew, and the sessions whose sequences it held place them again.
 */
import { localDevice } from "@helixflow/schema/Device"
import {
  type ActorUnreachable,
  EngineFailed,
  LoadFailed,
  type ModelReplaced,
  Preempted,
  ReplicaNotReady,
  WorkerLost
} from "@helixflow/schema/Errors"
import type { LoadedModel, TokenBatch } from "@helixflow/schema/Generation"
import {
  type Bytes,
  type DeviceId,
  Millis,
  type ReplicaId,
  type RequestId,
  type ReservationId
} from "@helixflow/schema/Ids"
import { unknownShortage } from "@helixflow/schema/MemoryShortage"
import {
  type EngineChoice,
  type ModelSpec,
  type ReplicaPart,
  type ReplicaState,
  ReplicaStatus
} from "@helixflow/schema/Model"
import { ModelActor } from "@helixflow/schema/ModelActor"
import { Clock, Data, Deferred, Effect, ExecutionStrategy, Exit, Option, Scope, Stream } from "effect"
import * as Latest from "./Latest.ts"
import type { ServerSettings } from "./ServerSettings.ts"
import * as StreamMailbox from "./StreamMailbox.ts"
import { byAttributes, prefixCacheUsed } from "./Telemetry.ts"
import * as WorkerProcess from "./WorkerProcess.ts"

export interface ReplicaOptions {
  readonly replica: ReplicaId
  readonly device: DeviceId
  readonly reservation: ReservationId
  /** The parts on further devices, where the model is split. */
  readonly parts: ReadonlyArray<ReplicaPart>
  readonly model: ModelSpec
  /** The model's folder. */
  readonly path: string
  readonly engine: EngineChoice
  /** The program that serves the model, where no engine of ours does, and what the driver calls the GPUs that it has. */
  readonly server: (ServerSettings & { readonly gpus: ReadonlyArray<string> }) | null
  /** Threads of one operator of the engine. */
  readonly threads: number
  readonly worker: Omit<WorkerProcess.SpawnOptions, "replica">
}

/** What is said of a replica first and last. */
export const absent = (options: ReplicaOptions) =>
  Effect.map(
    Clock.currentTimeMillis,
    (now) =>
      new ReplicaStatus({
        replica: options.replica,
        device: options.device,
        model: options.model.id,
        reservation: options.reservation,
        parts: options.parts,
        revision: options.model.revision,
        state: "absent",
        active: 0,
        slots: options.model.slots,
        pid: null,
        rss: null,
        since: Millis.make(now),
        lastFailure: null
      })
  )

/** A running sequence: where its tokens go. */
interface Running {
  readonly sink: StreamMailbox.Inlet<TokenBatch, Ending>
  /** Milliseconds of the process's own clock. */
  readonly since: number
  /** When it has got further for as long as it took to begin; `Infinity`: it has no token yet. */
  worthwhile: number
}
type Ending = WorkerLost | EngineFailed | ReplicaNotReady | Preempted

type Life =
  | { readonly _tag: "absent" | "failed" }
  | { readonly _tag: "loading"; readonly loaded: Deferred.Deferred<LoadedModel, LoadFailed | ModelReplaced> }
  | { readonly _tag: "ready" | "draining"; readonly worker: WorkerProcess.WorkerProcess; readonly loaded: LoadedModel }

/** A worker that somebody kills while it loads is tried again: that says nothing of the model. */
const loadAttempts = 10

/** How long it may take until a worker that doesn't answer is known to have ended. */
const exitNews = "5 seconds"

/** The part of its size by which a worker's memory must have changed to be news. */
const newsworthy = 1 / 64

const countPrefixBytes = byAttributes(prefixCacheUsed, ["model", "device"])

/** Somebody has killed the worker before it had loaded. */
class KilledWhileLoading extends Data.TaggedError("KilledWhileLoading")<{ readonly reason: string }> {}

/** The handlers of a replica, and what its supervisor waits for: `lost` fails when the worker is gone unasked. */
export const make = Effect.fnUntraced(function* (options: ReplicaOptions) {
  const { model, replica } = options
  const scope = yield* Effect.scope
  const lost = yield* Deferred.make<never, WorkerLost>()
  const sinks = new Map<RequestId, Running>()
  const whenIdle = new Set<(idle: Effect.Effect<void>) => void>()
  let life: Life = { _tag: "absent" }
  let workerScope: Option.Option<Scope.CloseableScope> = Option.none()
  let rss: Bytes | null = null
  /** Of computed prefixes that the worker keeps. */
  let prefixBytes = 0
  const status = yield* Latest.make(yield* absent(options))

  /** The status with how many sequences run: a number that changes with every request and is no news to watchers. */
  const current = () => new ReplicaStatus({ ...status.get(), rss, active: sinks.size }, { disableValidation: true })

  const become = Effect.fnUntraced(function* (next: Life, lastFailure: string | null = status.get().lastFailure) {
    life = next
    const state: ReplicaState = next._tag
    const pid = "worker" in next ? next.worker.pid : null
    const since = Millis.make(yield* Clock.currentTimeMillis)
    status.set(new ReplicaStatus({ ...current(), state, pid, rss, since, lastFailure }, { disableValidation: true }))
  })

  /** Ends a sequence's stream; false when it had ended. */
  const settle = (request: RequestId, exit: Exit.Exit<void, Ending>) => {
    const running = sinks.get(request)
    if (running === undefined) return false
    sinks.delete(request)
    running.sink.done(exit)
    if (sinks.size === 0) for (const resume of whenIdle) resume(Effect.void)
    return true
  }

  /** Succeeds when no sequence runs. */
  const idle = Effect.async<void>((resume) => {
    if (sinks.size === 0) return resume(Effect.void)
    whenIdle.add(resume)
    return Effect.sync(() => whenIdle.delete(resume))
  })

  /** Ends a stream here, so that its session continues it elsewhere or later; false when it had ended. */
  const interrupt = (worker: WorkerProcess.WorkerProcess, request: RequestId, why: ReplicaNotReady | Preempted) =>
    Effect.suspend(() =>
      settle(request, Exit.fail(why))
        ? Effect.as(Effect.ignore(worker.client.Cancel({ request })), true)
        : Effect.succeed(false)
    )

  const handOverAll = (worker: WorkerProcess.WorkerProcess) =>
    Effect.forEach(
      [...sinks.keys()],
      (request) => interrupt(worker, request, new ReplicaNotReady({ replica, state: "draining" })),
      { discard: true }
    )

  const onLost = Effect.fnUntraced(function* ({ crashed, reason }: WorkerProcess.WorkerEnd) {
    const failure = new WorkerLost({ replica, reason, crashed })
    yield* become({ _tag: "failed" }, reason)
    for (const request of [...sinks.keys()]) settle(request, Exit.fail(failure))
    yield* Deferred.fail(lost, failure)
  })

  /** Hands the tokens of every step to their sequences. No Effect per token. */
  const dispatch = (worker: WorkerProcess.WorkerProcess) =>
    worker.client.Events().pipe(
      Stream.runForEachChunk((events) =>
        Effect.sync(() => {
          for (const { batches, failures } of events) {
            for (const batch of batches) {
              const running = sinks.get(batch.request)
              if (running === undefined) continue
              if (running.worthwhile === Number.POSITIVE_INFINITY) {
                running.worthwhile = 2 * performance.now() - running.since
              }
              running.sink.offer(batch)
              if (batch.finish !== null) settle(batch.request, Exit.void)
            }
            for (const { request, reason } of failures) {
              settle(request, Exit.fail(new EngineFailed({ request, reason })))
            }
          }
        })
      )
    )

  const keepPrefixes = (bytes: number) => {
    countPrefixBytes(bytes - prefixBytes, model.id, options.device)
    prefixBytes = bytes
  }

  const heartbeat = (worker: WorkerProcess.WorkerProcess) =>
    worker.keepAlive(
      Effect.map(worker.client.Health(), (health) => {
        const told = status.get().rss ?? 0
        rss = health.rss
        keepPrefixes(health.prefixCache)
        if (Math.abs(health.rss - told) > told * newsworthy) status.set(current())
      })
    )

  const load = Effect.fnUntraced(function* (processScope: Scope.Scope) {
    const failed = (reason: string, memory: LoadFailed["memory"] = null) =>
      new LoadFailed({ model: model.id, reason, file: null, memory })
    const ended = ({
      crashed,
      outOfMemory = false,
      reason
    }: WorkerProcess.WorkerEnd): Effect.Effect<never, LoadFailed | KilledWhileLoading> =>
      crashed
        ? failed(`its worker ended: ${reason}`, outOfMemory ? unknownShortage : null)
        : new KilledWhileLoading({ reason })
    const worker = yield* WorkerProcess.spawn({ replica, ...options.worker }).pipe(
      Scope.extend(processScope),
      Effect.catchTags({
        ActorUnreachable: ({ reason }) => failed(reason),
        WorkerEnded: ended
      })
    )
    // from here on it takes memory
    status.set(new ReplicaStatus({ ...current(), pid: worker.pid }, { disableValidation: true }))
    const exited = Effect.flatMap(worker.exited, ended)
    const loaded = yield* worker.client
      .Load({
        model: model.id,
        path: options.path,
        ...(model.revision !== "" && { revision: model.revision }),
        task: model.task,
        context: model.context,
        slots: model.slots,
        prefixCache: model.prefixCache,
        device: localDevice(options.device),
        threads: options.threads,
        engine: options.engine
      })
      .pipe(
        // its connection ends a moment before the process is known to be gone, and why
        Effect.catchTag("ActorUnreachable", ({ reason }) =>
          Effect.timeoutFail(exited, { duration: exitNews, onTimeout: () => failed(reason) })
        ),
        Effect.raceFirst(exited)
      )
    rss = loaded.rss
    yield* become({ _tag: "ready", worker, loaded }, null)
    yield* Effect.forkIn(Effect.ignore(dispatch(worker)), processScope)
    yield* Scope.addFinalizer(
      processScope,
      Effect.sync(() => keepPrefixes(0))
    )
    yield* Effect.forkIn(heartbeat(worker), processScope)
    yield* Effect.forkIn(Effect.flatMap(worker.exited, onLost), processScope)
    return loaded
  })

  /** Ends the worker, waiting until the process is gone. */
  const unload = Effect.suspend(() => {
    const processScope = workerScope
    workerScope = Option.none()
    return Option.match(processScope, { onNone: () => Effect.void, onSome: (scope) => Scope.close(scope, Exit.void) })
  })

  const start = Effect.fnUntraced(function* () {
    const loaded = yield* Deferred.make<LoadedModel, LoadFailed | ModelReplaced>()
    yield* become({ _tag: "loading", loaded })
    const attempt = Effect.gen(function* () {
      const processScope = yield* Scope.fork(scope, ExecutionStrategy.sequential)
      workerScope = Option.some(processScope)
      return yield* Effect.onError(load(processScope), () => unload)
    })
    yield* attempt.pipe(
      Effect.tapErrorTag("KilledWhileLoading", ({ reason }) =>
        Effect.logWarning("a worker was killed while it loaded").pipe(Effect.annotateLogs({ replica, reason }))
      ),
      Effect.retry({ times: loadAttempts - 1, while: ({ _tag }) => _tag === "KilledWhileLoading" }),
      Effect.catchTag("KilledWhileLoading", ({ reason }) =>
        Effect.fail(new LoadFailed({ model: model.id, reason: `its worker was lost: ${reason}`, file: null }))
      ),
      Effect.tapError((error) => become({ _tag: "failed" }, error.message)),
      Effect.intoDeferred(loaded),
      // a caller that leaves does not abort a load that others wait for
      Effect.forkIn(scope)
    )
    return yield* Deferred.await(loaded)
  })

  /** The worker, while the replica computes. New work needs `ready`, work under way may finish while draining. */
  const whileServing = Effect.suspend(() =>
    life._tag === "ready"
      ? Effect.succeed(life.worker.client)
      : Effect.fail(new ReplicaNotReady({ replica, state: life._tag }))
  )

  /** The connection ends a moment before the process is known to be gone, and why. */
  const workerLost = ({ reason }: ActorUnreachable) =>
    Effect.timeoutFail(Deferred.await(lost), {
      duration: exitNews,
      onTimeout: () => new WorkerLost({ replica, reason, crashed: false })
    })

  const handlers = ModelActor.of({
    Load: Effect.fn("ModelActor.Load")(function* () {
      if (life._tag === "loading") return yield* Deferred.await(life.loaded)
      return "loaded" in life ? life.loaded : yield* start()
    }),
    Tokenize: Effect.fn("ModelActor.Tokenize")(function* (payload) {
      const worker = yield* whileServing
      return yield* worker.Tokenize(payload).pipe(Effect.catchTag("ActorUnreachable", workerLost))
    }),
    Detokenize: Effect.fn("ModelActor.Detokenize")(function* (payload) {
      const worker = yield* whileServing
      return yield* worker.Detokenize(payload).pipe(Effect.catchTag("ActorUnreachable", workerLost))
    }),
    Generate: Effect.fn("ModelActor.Generate")(function* (sequence) {
      const worker = yield* whileServing
      // holds at most one completion
      const sink = yield* StreamMailbox.inlet<TokenBatch, Ending>()
      const running = { sink, since: performance.now(), worthwhile: Number.POSITIVE_INFINITY }
      sinks.set(sequence.request, running)
      yield* Scope.addFinalizer(
        yield* Effect.scope,
        Effect.suspend(() =>
          sinks.get(sequence.request) === running && settle(sequence.request, Exit.void)
            ? Effect.ignore(worker.Cancel({ request: sequence.request }))
            : Effect.void
        )
      )
      yield* worker.Submit(sequence).pipe(Effect.catchTag("ActorUnreachable", workerLost))
      return sink.mailbox
    }),
    Preempt: Effect.fn("ModelActor.Preempt")(function* ({ request }) {
      const running = sinks.get(request)
      // else more would be computed again than has been got
      const isWorthwhile = running !== undefined && performance.now() >= running.worthwhile
      if (life._tag !== "ready" || !isWorthwhile) return false
      return yield* interrupt(life.worker, request, new Preempted({ replica }))
    }),
    Embed: Effect.fn("ModelActor.Embed")(function* (payload) {
      const worker = yield* whileServing
      return yield* worker.Embed(payload).pipe(Effect.catchTag("ActorUnreachable", workerLost))
    }),
    Classify: Effect.fn("ModelActor.Classify")(function* (payload) {
      const worker = yield* whileServing
      return yield* worker.Classify(payload).pipe(Effect.catchTag("ActorUnreachable", workerLost))
    }),
    Drain: Effect.fn("ModelActor.Drain")(function* ({ handOver }) {
      if (life._tag === "ready") yield* become({ ...life, _tag: "draining" })
      if (handOver && life._tag === "draining") yield* handOverAll(life.worker)
      yield* idle
    }),
    Unload: Effect.fn("ModelActor.Unload")(function* () {
      yield* unload
      rss = null
      yield* become({ _tag: "absent" })
    }),
    Status: () => Effect.sync(current),
    Watch: () => Stream.map(status.changes, current)
  })

  return { handlers, lost: Deferred.await(lost) }
})
