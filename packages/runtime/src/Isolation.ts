/**
 * Where requests are tried that may have killed workers: one at a time for each model, in a worker that no other request is in. Its
 * memory is claimed from a device like any replica's; the scheduler knows nothing of it and sends nobody there.
 *
 * Of the devices that have room it takes the one where the fewest workers have crashed: who is tried on a broken one would be convicted for
 * it. Where no device has room for another worker, a suspect is tried in a shared one, still one at a time: see `SharedTrials.ts`.
 */
import type { ActorUnreachable, LoadFailed, MailboxFull, ModelReplaced } from "@helixflow/schema/Errors"
import { type DeviceId, ModelId, makeReplicaId, type ReplicaId, ReservationId } from "@helixflow/schema/Ids"
import { ModelSpec } from "@helixflow/schema/Model"
import { ModelActor } from "@helixflow/schema/ModelActor"
import { Clock, type Context, Effect, Option, RcMap, Scope } from "effect"
import type { ClientOf } from "./Actor.ts"
import type { Directory } from "./Directory.ts"
import * as InProcess from "./InProcess.ts"
import * as Model from "./ModelActor.ts"
import type { ModelStore } from "./ModelStore.ts"
import { SharedTrials } from "./SharedTrials.ts"

export interface Cell {
  readonly id: ReplicaId
  readonly replica: ClientOf<typeof ModelActor>
  /** Of the model that it has loaded. */
  readonly revision: string
  /** When it was ready, in milliseconds since the epoch. */
  readonly since: number
}

export interface Isolation {
  /** Waits for the model's turn. `use` is given a worker of its own; none where there is no room for one. */
  readonly alone: <A, E, R>(
    model: ModelSpec,
    use: (cell: Option.Option<Cell>) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
  readonly trials: SharedTrials
  /** A worker crashed on this device. */
  readonly crashedOn: (device: DeviceId) => void
  /** The workers that are there now. */
  readonly cells: Effect.Effect<ReadonlyArray<Cell>>
}

export interface IsolationOptions {
  readonly directory: Directory
  readonly store: Context.Tag.Service<typeof ModelStore>
  readonly threads: number
  readonly worker: Model.ReplicaOptions["worker"]
}

/** How long a worker waits for the next suspect, and its claim for the worker. */
const idleTimeToLive = "5 seconds"
const claimMillis = 600_000

export const make = ({
  directory,
  store,
  threads,
  worker
}: IsolationOptions): Effect.Effect<Isolation, never, Scope.Scope> =>
  Effect.gen(function* () {
    const turns = new Map<ModelId, Effect.Semaphore>()
    const present = new Set<Cell>()
    const crashes = new Map<DeviceId, number>()
    let cells = 0

    const turnOf = (model: ModelId) => {
      const turn = turns.get(model) ?? Effect.unsafeMakeSemaphore(1)
      turns.set(model, turn)
      return turn
    }

    /** Memory for one more worker, wherever there is some. */
    const claim = (
      spec: ModelSpec,
      reservation: ReservationId
    ): Effect.Effect<Option.Option<DeviceId>, never, Scope.Scope> =>
      Effect.gen(function* () {
        const statuses = yield* Effect.forEach(yield* directory.gpus.values, (gpu) =>
          Effect.map(Effect.option(gpu.Status()), (status) => ({ gpu, status }))
        )
        const gpus = statuses.flatMap(({ gpu, status }) =>
          Option.toArray(status).map(({ device }) => ({ gpu, device, crashes: crashes.get(device.id) ?? 0 }))
        )
        for (const { device, gpu } of gpus.sort((a, b) => a.crashes - b.crashes)) {
          const reserve = gpu.Reserve({
            reservation,
            owner: `quarantine/${spec.id}`,
            bytes: spec.claimOn(device.kind),
            shareable: spec.kvBytesOn(device.kind),
            within: null,
            ttlMillis: claimMillis
          })
          const claimed = yield* Effect.acquireRelease(Effect.option(reserve), (made) =>
            Option.isNone(made) ? Effect.void : Effect.ignoreLogged(gpu.Release({ reservation }))
          )
          if (Option.isSome(claimed)) {
            yield* Effect.ignoreLogged(gpu.Commit({ reservation, state: "resident", ttlMillis: null }))
            return Option.some(device.id)
          }
        }
        return Option.none()
      })

    const open = (
      name: ModelId
    ): Effect.Effect<Option.Option<Cell>, LoadFailed | ModelReplaced | ActorUnreachable | MailboxFull, Scope.Scope> =>
      Effect.gen(function* () {
        const { engine, folder, spec, threads: own } = yield* Effect.orDie(store.find(name))
        const model = new ModelSpec({ ...spec, slots: 1 })
        const reservation = ReservationId.make(`quarantine-${++cells}`)
        const device = yield* claim(model, reservation)
        if (Option.isNone(device)) return Option.none()
        const id = makeReplicaId(device.value, ModelId.make(`quarantine/${name}`), cells)
        const options = {
          replica: id,
          device: device.value,
          reservation,
          parts: [],
          model,
          path: folder,
          engine,
          server: null,
          threads: own ?? threads,
          worker
        }
        const { handlers } = yield* Model.make(options)
        const replica = yield* InProcess.host(ModelActor, Effect.succeed(handlers), { name: id })
        yield* replica.Load()
        const cell = { id, replica, revision: model.revision, since: yield* Clock.currentTimeMillis }
        yield* Effect.acquireRelease(
          Effect.sync(() => present.add(cell)),
          () => Effect.sync(() => present.delete(cell))
        )
        return Option.some(cell)
      })

    const openCells = yield* RcMap.make({ lookup: open, idleTimeToLive })

    /** A worker that lives and has the model as it is now; what died with the last suspect is replaced. */
    const cell = (name: ModelId): Effect.Effect<Option.Option<Cell>, never, Scope.Scope> =>
      Effect.gen(function* () {
        const found = Option.flatten(yield* Effect.option(RcMap.get(openCells, name)))
        if (Option.isNone(found)) {
          yield* RcMap.invalidate(openCells, name)
          return found
        }
        const { state } = yield* found.value.replica
          .Status()
          .pipe(Effect.orElseSucceed(() => ({ state: "failed" as const })))
        const current = Option.getOrUndefined(yield* Effect.option(store.find(name)))?.spec.revision
        if (state === "ready" && found.value.revision === current) return found
        yield* RcMap.invalidate(openCells, name)
        return Option.flatten(yield* Effect.option(RcMap.get(openCells, name)))
      })

    return {
      alone: (model, use) =>
        turnOf(model.id).withPermits(1)(
          Effect.scopedWith((scope) => Effect.flatMap(Scope.extend(cell(model.id), scope), use))
        ),
      trials: new SharedTrials(),
      crashedOn: (device) => {
        crashes.set(device, (crashes.get(device) ?? 0) + 1)
      },
      cells: Effect.sync(() => [...present])
    }
  })
