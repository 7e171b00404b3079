/**
 * The supervision tree of a device:
 *
 *     device (rest_for_one)
 *     ├── gpu                    the GpuActor: without its ledger nothing on the device can be trusted, so all below restarts
 *     └── replicas (one_for_one)
 *         ├── replica            (one_for_one, temporary: one that keeps failing gives up alone)
 *         │   └── model          the ModelActor and its worker process
 *         └── part               of a replica of another device that is split: ends it with this device, and ends with it
 */
import type { Device } from "@helixflow/schema/Device"
import { ActorUnreachable, ModelReplaced, WorkerLost } from "@helixflow/schema/Errors"
import { GpuActor } from "@helixflow/schema/GpuActor"
import { ChildId } from "@helixflow/schema/Ids"
import { partsOf, type ReplicaPart, type ReplicaStatus } from "@helixflow/schema/Model"
import { ModelActor } from "@helixflow/schema/ModelActor"
import type { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import { Deferred, Effect, FiberId, Stream } from "effect"
import type { ClientOf } from "./Actor.ts"
import * as DeviceGuard from "./DeviceGuard.ts"
import { type Directory, schedulerId } from "./Directory.ts"
import * as ExternalServer from "./ExternalServer.ts"
import * as Gpu from "./GpuActor.ts"
import * as InProcess from "./InProcess.ts"
import * as Model from "./ModelActor.ts"
import type { RestartPolicy } from "./RestartPolicy.ts"
import * as Supervisor from "./Supervisor.ts"

const gpuId = ChildId.make("gpu")
const replicasId = ChildId.make("replicas")
const modelId = ChildId.make("model")

type News = Parameters<ClientOf<typeof SchedulerActor>["Observe"]>[0]

/** News that the scheduler cannot take now it learns when it starts. */
const observe = (directory: Directory, news: News) =>
  directory.scheduler.find(schedulerId).pipe(
    Effect.flatMap((scheduler) => scheduler.Observe(news)),
    Effect.catchTag("ActorUnreachable", () => Effect.void),
    Effect.ignoreLogged
  )

/** A device's status changes with every request; the scheduler knows of those and needs only the rest, soon. */
const newsInterval = "250 millis"

/** A supervisor that is found by its name, which is its place in the tree. */
const inTree = (directory: Directory, options: Supervisor.SupervisorOptions) =>
  Effect.tap(Supervisor.make(options), (supervisor) => directory.supervisors.register(options.name, supervisor))

/** A device as a child of its node's supervisor. */
export const deviceChild = (device: Device, directory: Directory, policy: RestartPolicy, options: Gpu.GpuOptions) => {
  const guard = DeviceGuard.make(policy)
  return Supervisor.asChild({
    id: ChildId.make(device.id),
    restart: "permanent",
    supervisor: inTree(directory, {
      name: device.id,
      strategy: "rest_for_one",
      children: [
        {
          id: gpuId,
          restart: "permanent",
          start: Effect.gen(function* () {
            const gpu = yield* InProcess.host(GpuActor, Gpu.make(device, options), { name: device.id })
            yield* directory.gpus.register(device.id, gpu)
            yield* gpu.Watch().pipe(
              Stream.runForEach((status) =>
                Effect.zipRight(observe(directory, { devices: [status], replicas: [] }), Effect.sleep(newsInterval))
              ),
              Effect.ignore,
              Effect.forkScoped
            )
            return Effect.never
          })
        },
        guard.over(
          Supervisor.asChild({
            id: replicasId,
            restart: "permanent",
            supervisor: Effect.tap(
              inTree(directory, { name: `${device.id}/replicas`, strategy: "one_for_one" }),
              (supervisor) => directory.replicaSupervisors.register(device.id, { supervisor, guard })
            )
          })
        )
      ]
    })
  })
}

/**
 * A replica as a child of its device's `replicas`. Starts when the model is loaded, or fails with why it could not be. It ends when its
 * worker was lost and the model's files are others now: the scheduler loads those.
 */
export const replicaChild = (options: Model.ReplicaOptions, directory: Directory, guard: DeviceGuard.DeviceGuard) => {
  const replaced = Deferred.unsafeMake<never, ModelReplaced>(FiberId.none)
  const lost = Deferred.unsafeMake<never, ActorUnreachable>(FiberId.none)
  const gone = Deferred.unsafeMake<void>(FiberId.none)
  const spec = Supervisor.asChild({
    id: ChildId.make(options.replica),
    restart: "temporary",
    supervisor: Effect.gen(function* () {
      // when the replica is given up, or was stopped, its worker is gone and its memory free
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          yield* Effect.forEach(partsOf(options), (part) => release(directory, part), { discard: true })
          yield* observe(directory, { devices: [], replicas: [yield* Model.absent(options)] })
          yield* Deferred.succeed(gone, undefined)
        })
      )
      for (const { device, reservation } of options.parts) {
        const { supervisor } = yield* directory.replicaSupervisors.find(device)
        yield* supervisor.startChild(partChild(ChildId.make(reservation), lost, gone))
      }
      const supervisor = yield* inTree(directory, { name: options.replica, strategy: "one_for_one" })
      yield* supervisor.startChild(modelChild(options, directory, replaced))
      return supervisor
    })
  })
  return {
    ...spec,
    start: Effect.map(spec.start, (run) =>
      Effect.raceFirst(
        Effect.tapError(run, () => guard.gaveUp(options.replica)),
        Effect.raceFirst(Deferred.await(replaced), Deferred.await(lost))
      )
    )
  }
}

/** On a further device of a replica: when that goes, so does the replica, and it is waited for until its process is gone. */
const partChild = (id: ChildId, lost: Deferred.Deferred<never, ActorUnreachable>, gone: Deferred.Deferred<void>) => ({
  id,
  restart: "temporary" as const,
  shutdownMillis: Number.POSITIVE_INFINITY,
  start: Effect.as(
    Effect.addFinalizer(() =>
      Effect.zipRight(
        Deferred.fail(lost, new ActorUnreachable({ actor: id, reason: "the device with this part is gone" })),
        Deferred.await(gone)
      )
    ),
    Deferred.await(gone)
  )
})

const release = (directory: Directory, { device, reservation }: ReplicaPart) =>
  Effect.flatMap(directory.gpus.find(device), (gpu) => gpu.Release({ reservation })).pipe(
    // the device's ledger is gone, and the claim with it
    Effect.catchTag("ActorUnreachable", () => Effect.void),
    Effect.ignoreLogged
  )

const modelChild = (
  options: Model.ReplicaOptions,
  directory: Directory,
  replaced: Deferred.Deferred<never, ModelReplaced>
) => ({
  id: modelId,
  restart: "permanent" as const,
  start: Effect.tapError(startModel(options, directory), (error) =>
    error instanceof ModelReplaced ? Deferred.fail(replaced, error) : Effect.void
  ),
  isBlameless: (error: unknown) => error instanceof WorkerLost && !error.crashed
})

const startModel = Effect.fnUntraced(function* (options: Model.ReplicaOptions, directory: Directory) {
  const replica = yield* options.server === null ? Model.make(options) : ExternalServer.make(options, options.server)
  const client = yield* InProcess.host(ModelActor, Effect.succeed(replica.handlers), { name: options.replica })
  yield* directory.replicas.register(options.replica, client)
  yield* client.Watch().pipe(
    // what was before the load is no news, least of all after a restart
    Stream.dropWhile(({ state }) => state === "absent"),
    Stream.changesWith((a, b) => a.state === b.state && a.pid === b.pid && a.rss === b.rss),
    Stream.runForEach((status) =>
      Effect.zipRight(occupy(directory, status), observe(directory, { devices: [], replicas: [status] }))
    ),
    Effect.ignore,
    Effect.forkScoped
  )
  yield* client.Load()
  return replica.lost
})

/** Lets the devices know which process fills the replica's claims. */
const occupy = (directory: Directory, { pid, ...replica }: ReplicaStatus) => {
  if (pid === null) return Effect.void
  const all = partsOf(replica)
  return Effect.forEach(
    all,
    ({ device, reservation }) =>
      Effect.flatMap(directory.gpus.find(device), (gpu) => gpu.Occupy({ reservation, pid, devices: all.length })).pipe(
        // the claim is gone, or the ledger with it: so will the replica be
        Effect.catchTag("ReservationNotFound", "ActorUnreachable", () => Effect.void),
        Effect.ignoreLogged
      ),
    { discard: true }
  )
}
