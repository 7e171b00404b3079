/** The scheduler's `Fleet` on one node: devices are asked as actors, replicas are children of their device's supervisor. */
import type { Fleet } from "@helixflow/scheduler/Fleet"
import { LoadFailed, ModelReplaced } from "@helixflow/schema/Errors"
import { ChildId, type DeviceId, deviceOf } from "@helixflow/schema/Ids"
import { type ModelSpec, partsOf } from "@helixflow/schema/Model"
import { type Context, Effect } from "effect"
import { replicaChild } from "./DeviceTree.ts"
import type { Directory } from "./Directory.ts"
import type { ReplicaOptions } from "./ModelActor.ts"
import { revisionOf } from "./ModelRevision.ts"
import type { ModelStore } from "./ModelStore.ts"

export interface LocalFleetOptions {
  readonly directory: Directory
  /** The models with what they are charged. */
  readonly models: Effect.Effect<ReadonlyArray<ModelSpec>>
  readonly store: Context.Tag.Service<typeof ModelStore>
  /** Threads of one operator, for each replica whose model doesn't say. */
  readonly threads: number
  readonly worker: ReplicaOptions["worker"]
}

/** Whether the folder holds other files than those of a revision. One that can't be read is the worker's to complain of. */
const isReplaced = (folder: string, revision: string): Effect.Effect<boolean> =>
  revision === ""
    ? Effect.succeed(false)
    : Effect.try(() => revisionOf(folder) !== revision).pipe(Effect.orElseSucceed(() => false))

export const make = ({
  directory,
  models,
  store,
  threads,
  worker
}: LocalFleetOptions): Context.Tag.Service<typeof Fleet> => {
  // no deadline: an actor of this process answers between two turns of the event loop, or has stopped and says so
  const onDevice = <A, E>(
    device: DeviceId,
    ask: (gpu: Effect.Effect.Success<ReturnType<Directory["gpus"]["find"]>>) => Effect.Effect<A, E>
  ) => Effect.flatMap(directory.gpus.find(device), ask)

  return {
    models,
    reserve: (device, claim) => onDevice(device, (gpu) => gpu.Reserve(claim)),
    commit: (device, step) => onDevice(device, (gpu) => gpu.Commit(step)),
    release: (device, reservation) => onDevice(device, (gpu) => gpu.Release({ reservation })),
    startReplica: ({ device, model, parts, replica, reservation }) =>
      Effect.gen(function* () {
        const stored = yield* store.find(model.id)
        const { guard, supervisor } = yield* Effect.mapError(
          directory.replicaSupervisors.find(device),
          () => new LoadFailed({ model: model.id, reason: `${device} is out of service`, file: null })
        )
        const served = Effect.forEach(partsOf({ device, reservation, parts }), ({ device }) =>
          onDevice(device, (gpu) => gpu.Status())
        )
        const gpus = stored.server === null ? [] : (yield* served).flatMap(({ device }) => device.uuid ?? [])
        // spares a worker that would only find out the same
        if (yield* isReplaced(stored.folder, model.revision)) return yield* new ModelReplaced({ model: model.id })
        const options = {
          replica,
          device,
          reservation,
          parts,
          model,
          path: stored.folder,
          engine: stored.engine,
          server: stored.server && { ...stored.server, gpus },
          threads: stored.threads ?? threads,
          worker
        }
        yield* Effect.onInterrupt(supervisor.startChild(replicaChild(options, directory, guard)), () =>
          Effect.ignore(supervisor.terminateChild(ChildId.make(replica)))
        )
        const started = yield* directory.replicas.find(replica)
        return yield* started.Status()
      }).pipe(
        Effect.tapErrorTag("ModelReplaced", () => store.look),
        Effect.mapError((error) =>
          error._tag === "LoadFailed" || error._tag === "ModelReplaced"
            ? error
            : new LoadFailed({ model: model.id, reason: error.message.replace(/\.$/, ""), file: null })
        )
      ),
    handOver: (replica) =>
      directory.replicas.find(replica).pipe(
        Effect.flatMap((actor) => actor.Drain({ handOver: true })),
        // it has ended, and whoever it served knows
        Effect.catchAll((error) => Effect.logDebug(`${replica} could not hand over: ${error.message}`))
      ),
    preempt: (replica, request) =>
      directory.replicas.find(replica).pipe(
        Effect.flatMap((actor) => actor.Preempt({ request })),
        // it has ended, and so has the place
        Effect.catchAll((error) => Effect.as(Effect.logDebug(`${replica} was asked in vain: ${error.message}`), false))
      ),
    stopReplica: (replica) =>
      Effect.gen(function* () {
        const { supervisor } = yield* directory.replicaSupervisors.find(deviceOf(replica))
        yield* supervisor.terminateChild(ChildId.make(replica))
      }).pipe(
        // the device's tree is gone, and the replica with it; or the replica alone
        Effect.catchTags({ ActorUnreachable: () => Effect.void, ChildNotFound: () => Effect.void })
      )
  }
}
