/**
 * The behaviour of a replica whose model another program serves: started and watched, drained and stopped like a worker of our own, and
 * asked over HTTP by whoever has a place on it (`ReplicaStatus.url`). It knows nothing of tokens, so what needs them is refused.
 *
 *     absent -- Load --> loading -- ready URL answers --> ready -- Drain --> draining -- Unload --> absent
 *                           |                               |
 *                           +-------- process ended --------+--> failed
 */
import { type ChildProcess, spawn } from "node:child_process"
import { createServer } from "node:net"
import { EngineFailed, LoadFailed, WorkerLost } from "@helixflow/schema/Errors"
import { LoadedModel } from "@helixflow/schema/Generation"
import { Bytes, type DeviceId, Millis } from "@helixflow/schema/Ids"
import { partsOf, type ReplicaState, ReplicaStatus } from "@helixflow/schema/Model"
import { ModelActor } from "@helixflow/schema/ModelActor"
import { Clock, Deferred, Effect, ExecutionStrategy, Exit, Mailbox, Option, Schedule, Scope } from "effect"
import * as Latest from "./Latest.ts"
import * as Machine from "./Machine.ts"
import { absent, type ReplicaOptions } from "./ModelActor.ts"
import * as Orphans from "./Orphans.ts"
import { workerEnvironment } from "./WorkerProcess.ts"

/** How often it is asked whether it is ready, and later whether it still is. */
const readyInterval = "200 millis"
const aliveInterval = "2 seconds"
/** So many silences in a row are its end. */
const silences = 3
/** How long it may take to end when it is asked to. */
const stopTimeout = "10 seconds"

/** A port that was free a moment ago. */
const freePort: Effect.Effect<number> = Effect.async((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(address !== null && typeof address === "object" ? address.port : 0)))
  })
})

/** The process and all that it has started. */
const signal = (child: ChildProcess, name: NodeJS.Signals): void => {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, name)
  } catch {
    // it has ended already
  }
}

const stop = (child: ChildProcess, exited: Effect.Effect<unknown>) =>
  Effect.sync(() => signal(child, "SIGTERM")).pipe(
    Effect.zipRight(exited),
    Effect.timeoutOption(stopTimeout),
    // what it has started may have outlived it
    Effect.zipRight(Effect.sync(() => signal(child, "SIGKILL"))),
    Effect.zipRight(exited)
  )

/** Bytes that a server and what it has started take. */
const memoryOf = (pid: number): number => Machine.groupMemory(Machine.processGroups([pid]).get(pid) ?? [])?.owned ?? 0

/** `local/cuda:1` -> `cuda:1` */
const localName = (id: DeviceId): string => id.slice(id.indexOf("/") + 1)

const answers = (url: string): Effect.Effect<boolean> =>
  Effect.tryPromise((signal) => fetch(url, { signal })).pipe(
    Effect.tap((response) => Effect.promise(async () => response.body?.cancel())),
    Effect.map(({ status }) => status === 200),
    Effect.timeoutTo({ duration: aliveInterval, onSuccess: (ready) => ready, onTimeout: () => false }),
    Effect.orElseSucceed(() => false)
  )

/** The handlers of a replica, and what its supervisor waits for: as `ModelActor.make`. */
export const make = Effect.fnUntraced(function* (
  options: ReplicaOptions,
  settings: NonNullable<ReplicaOptions["server"]>
) {
  const { model, replica } = options
  const scope = yield* Effect.scope
  const lost = yield* Deferred.make<never, WorkerLost>()
  let serverScope: Option.Option<Scope.CloseableScope> = Option.none()
  let loading: Option.Option<Deferred.Deferred<LoadedModel, LoadFailed>> = Option.none()
  const status = yield* Latest.make(yield* absent(options))

  const become = Effect.fnUntraced(function* (state: ReplicaState, changes: Partial<ReplicaStatus> = {}) {
    const since = Millis.make(yield* Clock.currentTimeMillis)
    status.set(new ReplicaStatus({ ...status.get(), ...changes, state, since }))
  })

  const run = Effect.fnUntraced(function* (serverScope: Scope.Scope) {
    const startedAt = yield* Clock.currentTimeMillis
    const failed = (reason: string) => new LoadFailed({ model: model.id, reason, file: null })
    const port = yield* freePort
    const devices = partsOf(options).map(({ device }) => device)
    const fill = (text: string) =>
      text.replaceAll("{port}", String(port)).replaceAll("{devices}", devices.map(localName).join(","))
    // programs that know nothing of ours see no others
    const visible = settings.gpus.length === 0 ? {} : { CUDA_VISIBLE_DEVICES: settings.gpus.join(",") }
    const [program, ...args] = settings.command
    const exit = yield* Deferred.make<string>()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const env = Object.entries(settings.env).map(([name, value]) => [name, fill(value)] as const)
        const child = spawn(program, args.map(fill), {
          cwd: options.path,
          // a group of its own, so that what it starts can be ended with it
          detached: true,
          env: { ...workerEnvironment(), ...visible, ...Object.fromEntries(env) },
          stdio: ["ignore", 2, 2]
        })
        child.once("error", ({ message }) => Deferred.unsafeDone(exit, Effect.succeed(message)))
        child.once("exit", (code, signal) =>
          Deferred.unsafeDone(
            exit,
            Effect.succeed(signal === null ? `it exited with code ${code}` : `killed by ${signal}`)
          )
        )
        return child
      }),
      (child) => stop(child, Deferred.await(exit))
    ).pipe(Scope.extend(serverScope))
    const exited = Deferred.await(exit)
    const pid = child.pid ?? null
    if (pid !== null) {
      const records = { folder: options.worker.records, sockets: options.worker.socketDir }
      yield* Scope.extend(Orphans.record(records, pid), serverScope)
    }
    yield* become("loading", { pid })
    const origin = `http://127.0.0.1:${port}`
    const ready = answers(origin + settings.ready)
    yield* Effect.repeat(ready, { until: (ready) => ready, schedule: Schedule.spaced(readyInterval) }).pipe(
      Effect.raceFirst(Effect.flatMap(exited, (reason) => failed(`its server ended: ${reason}`)))
    )
    const rss = Bytes.make(pid === null ? 0 : memoryOf(pid))
    yield* become("ready", { pid, rss, url: origin + settings.base, lastFailure: null })

    const silent = Effect.iterate(0, {
      while: (missed) => missed < silences,
      body: (missed) => Effect.map(Effect.delay(ready, aliveInterval), (alive) => (alive ? 0 : missed + 1))
    }).pipe(Effect.as("it does not answer any more"))
    const end = Effect.raceFirst(exited, silent).pipe(
      Effect.flatMap((reason) =>
        Effect.zipRight(
          become("failed", { url: null, lastFailure: reason }),
          Deferred.fail(lost, new WorkerLost({ replica, reason, crashed: true }))
        )
      )
    )
    yield* Effect.forkIn(end, serverScope)
    const loadMillis = (yield* Clock.currentTimeMillis) - startedAt
    return new LoadedModel({ vocabulary: 0, context: model.context, rss, loadMillis })
  })

  const unload = Effect.suspend(() => {
    const closing = serverScope
    serverScope = Option.none()
    return Option.match(closing, { onNone: () => Effect.void, onSome: (scope) => Scope.close(scope, Exit.void) })
  })

  const load = Effect.gen(function* () {
    if (Option.isSome(loading)) return yield* Deferred.await(loading.value)
    const loaded = yield* Deferred.make<LoadedModel, LoadFailed>()
    loading = Option.some(loaded)
    const own = yield* Scope.fork(scope, ExecutionStrategy.sequential)
    serverScope = Option.some(own)
    yield* run(own).pipe(
      Effect.onError(() => unload),
      Effect.tapError(({ message }) => become("failed", { pid: null, lastFailure: message })),
      Effect.intoDeferred(loaded),
      // a caller that leaves does not abort a load that others wait for
      Effect.forkIn(scope)
    )
    return yield* Deferred.await(loaded)
  })

  const overHttp = new EngineFailed({
    request: model.id,
    reason: "the model is served by a program of its own, which is asked over HTTP alone"
  })

  const handlers = ModelActor.of({
    Load: () => load,
    Tokenize: () => Effect.fail(overHttp),
    Detokenize: () => Effect.fail(overHttp),
    Generate: () =>
      Effect.flatMap(Mailbox.make<never, EngineFailed>(), (mailbox) => Effect.as(mailbox.fail(overHttp), mailbox)),
    Preempt: () => Effect.succeed(false),
    Embed: () => Effect.fail(overHttp),
    Classify: () => Effect.fail(overHttp),
    Drain: () => (status.get().state === "ready" ? become("draining") : Effect.void),
    Unload: () => Effect.zipRight(unload, become("absent", { pid: null, rss: null, url: null })),
    Status: () => Effect.sync(() => status.get()),
    Watch: () => status.changes
  })

  return { handlers, lost: Deferred.await(lost) }
})
