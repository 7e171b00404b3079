/**
 * A fleet in memory: real ledgers, replicas that are nothing but their status. For tests of what stands on the scheduler, and for
 * trying policies out without machines.
 */
import type { Device, DeviceStatus } from "@helixflow/schema/Device"
import { type ActorUnreachable, LoadFailed } from "@helixflow/schema/Errors"
import { type DeviceId, Millis, type ReplicaId, type RequestId } from "@helixflow/schema/Ids"
import { type ModelSpec, partsOf, type ReplicaState, ReplicaStatus } from "@helixflow/schema/Model"
import { Clock, Effect } from "effect"
import type { Fleet, StartReplica } from "./Fleet.ts"
import * as Ledger from "./Ledger.ts"

/** What may go wrong, or take time; by default nothing does. All run inside the call that they are named after. */
export interface MemoryFleetOptions {
  /** Runs before every message to a device: may wait, or fail as a device out of reach does. */
  readonly onMessage?: (
    device: DeviceId,
    message: "Reserve" | "Commit" | "Release"
  ) => Effect.Effect<void, ActorUnreachable>
  /** Runs while a replica starts: may wait, or fail as a load does. */
  readonly onStart?: (start: StartReplica) => Effect.Effect<void, LoadFailed>
  /** Runs when a replica is to hand its requests over. */
  readonly onHandOver?: (replica: ReplicaId) => Effect.Effect<void>
  /** Runs when a request is asked to give its place up: whether it does. By default nobody does. */
  readonly onPreempt?: (replica: ReplicaId, request: RequestId) => Effect.Effect<boolean>
  readonly onStop?: (replica: ReplicaId) => Effect.Effect<void>
  /** What the fleet would tell its scheduler. */
  readonly tell?: (news: {
    readonly devices: ReadonlyArray<DeviceStatus>
    readonly replicas: ReadonlyArray<ReplicaStatus>
  }) => Effect.Effect<void>
}

export interface MemoryFleet {
  readonly fleet: typeof Fleet.Service
  readonly ledger: (device: DeviceId) => Ledger.Ledger
  readonly replicas: () => ReadonlyArray<ReplicaStatus>
  /** What every actor of the fleet would say of itself now. */
  readonly news: () => {
    readonly devices: ReadonlyArray<DeviceStatus>
    readonly replicas: ReadonlyArray<ReplicaStatus>
  }
  /** The worker of a replica dies: for good (`absent`, its claim released), or until it is brought back (`failed`). */
  readonly kill: (replica: ReplicaId, state: "absent" | "failed") => Effect.Effect<void>
  /** Strangers leave so many bytes of the device free, by its own word, besides what its claims may still take of it. */
  readonly crowd: (device: DeviceId, free: number) => Effect.Effect<void>
  /** A failed replica is ready again with another process. */
  readonly revive: (replica: ReplicaId) => Effect.Effect<void>
  /** The configured models, from now on. */
  readonly setModels: (models: ReadonlyArray<ModelSpec>) => void
}

export const make = (
  devices: ReadonlyArray<Device>,
  initial: ReadonlyArray<ModelSpec>,
  options: MemoryFleetOptions = {}
): MemoryFleet => {
  const ledgers = new Map(devices.map((device) => [device.id, Ledger.empty(device)]))
  const replicas = new Map<ReplicaId, ReplicaStatus>()
  let models = initial
  let pids = 0

  const ledger = (device: DeviceId): Ledger.Ledger => {
    const found = ledgers.get(device)
    if (found === undefined) throw new Error(`no device ${device}`)
    return found
  }
  const before = (device: DeviceId, message: "Reserve" | "Commit" | "Release") =>
    options.onMessage?.(device, message) ?? Effect.void
  const tellReplica = (status: ReplicaStatus) => options.tell?.({ devices: [], replicas: [status] }) ?? Effect.void
  const tellDevice = (device: DeviceId) =>
    Effect.suspend(() => options.tell?.({ devices: [Ledger.status(ledger(device))], replicas: [] }) ?? Effect.void)

  const become = (status: ReplicaStatus, state: ReplicaState, pid: number | null) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const next = new ReplicaStatus({ ...status, state, pid, since: Millis.make(now) })
      if (state === "absent") replicas.delete(status.replica)
      else replicas.set(status.replica, next)
      return next
    })

  const release: (typeof Fleet.Service)["release"] = (device, reservation) =>
    Effect.gen(function* () {
      yield* before(device, "Release")
      const now = yield* Clock.currentTimeMillis
      const next = Ledger.release(Ledger.expire(ledger(device), now), reservation)
      ledgers.set(device, next)
      yield* tellDevice(device)
      return { free: next.free }
    })

  const fleet: typeof Fleet.Service = {
    models: Effect.sync(() => models),
    reserve: (device, claim) =>
      Effect.gen(function* () {
        yield* before(device, "Reserve")
        const result = Ledger.reserve(ledger(device), claim, yield* Clock.currentTimeMillis)
        if (result._tag !== "Ok") return yield* result
        ledgers.set(device, result.ledger)
        yield* tellDevice(device)
        return { free: result.ledger.free }
      }),
    commit: (device, step) =>
      Effect.gen(function* () {
        yield* before(device, "Commit")
        const result = Ledger.commit(ledger(device), step, yield* Clock.currentTimeMillis)
        if (result._tag !== "Ok") return yield* result
        ledgers.set(device, result.ledger)
        yield* tellDevice(device)
      }),
    release,
    startReplica: (start) =>
      Effect.gen(function* () {
        if (options.onStart !== undefined) yield* options.onStart(start)
        if (partsOf(start).some(({ device, reservation }) => Ledger.claim(ledger(device), reservation) === undefined)) {
          return yield* new LoadFailed({ model: start.model.id, reason: "nothing is reserved for it", file: null })
        }
        const status = new ReplicaStatus({
          replica: start.replica,
          device: start.device,
          model: start.model.id,
          reservation: start.reservation,
          parts: start.parts,
          state: "loading",
          active: 0,
          slots: start.model.slots,
          revision: start.model.revision,
          pid: null,
          rss: null,
          since: Millis.make(0),
          lastFailure: null
        })
        pids += 1
        return yield* become(status, "ready", pids)
      }),
    handOver: (replica) => options.onHandOver?.(replica) ?? Effect.void,
    preempt: (replica, request) => options.onPreempt?.(replica, request) ?? Effect.succeed(false),
    stopReplica: (replica) =>
      Effect.gen(function* () {
        if (options.onStop !== undefined) yield* options.onStop(replica)
        const status = replicas.get(replica)
        if (status !== undefined) yield* Effect.flatMap(become(status, "absent", null), tellReplica)
      })
  }

  return {
    fleet,
    ledger,
    replicas: () => [...replicas.values()],
    news: () => ({ devices: devices.map(({ id }) => Ledger.status(ledger(id))), replicas: [...replicas.values()] }),
    kill: (replica, state) =>
      Effect.gen(function* () {
        const status = replicas.get(replica)
        if (status === undefined) return
        const next = yield* become(status, state, null)
        if (state === "absent") {
          for (const { device, reservation } of partsOf(status)) {
            ledgers.set(device, Ledger.release(ledger(device), reservation))
            yield* tellDevice(device)
          }
        }
        yield* tellReplica(next)
      }),
    crowd: (device, free) =>
      Effect.suspend(() => {
        const current = ledger(device)
        ledgers.set(device, Ledger.observe(current, { free: free + current.pending, observed: new Map() }))
        return tellDevice(device)
      }),
    revive: (replica) =>
      Effect.gen(function* () {
        const status = replicas.get(replica)
        if (status?.state !== "failed") return
        pids += 1
        yield* Effect.flatMap(become(status, "ready", pids), tellReplica)
      }),
    setModels: (next) => {
      models = next
    }
  }
}
