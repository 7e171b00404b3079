/**
 * What the scheduler needs of the fleet it schedules. The runtime implements it with actors (in process, on this node, on others);
 * `MemoryFleet` is a double with real ledgers.
 *
 * Every effect ends: with an answer, or with `ActorUnreachable` within the implementation's own deadline. All may be asked again.
 */
import type { ClaimState } from "@helixflow/schema/Device"
import type {
  ActorUnreachable,
  LoadFailed,
  MailboxFull,
  ModelReplaced,
  OutOfMemory,
  ReservationConflict,
  ReservationNotFound
} from "@helixflow/schema/Errors"
import type { Bytes, DeviceId, ReplicaId, RequestId, ReservationId } from "@helixflow/schema/Ids"
import type { ModelSpec, ReplicaPart, ReplicaStatus } from "@helixflow/schema/Model"
import { Context, type Effect } from "effect"
import type { ClaimRequest } from "./Ledger.ts"

/** What can happen to any message to a device. */
export type Unanswered = ActorUnreachable | MailboxFull

export interface StartReplica {
  readonly replica: ReplicaId
  readonly model: ModelSpec
  readonly device: DeviceId
  /** The claim that the scheduler has made for it: `model.claimOn` bytes for the kind of device, of which `model.kvBytesOn` are shareable. */
  readonly reservation: ReservationId
  /** The same on further devices, where the model is split. The replica ends with any of its devices. */
  readonly parts: ReadonlyArray<ReplicaPart>
}

export class Fleet extends Context.Tag("@helixflow/scheduler/Fleet")<
  Fleet,
  {
    /** The configured models. The same array as before means that nothing has changed; asked with every request. */
    readonly models: Effect.Effect<ReadonlyArray<ModelSpec>>
    /** `GpuActor.Reserve`. */
    readonly reserve: (
      device: DeviceId,
      claim: ClaimRequest
    ) => Effect.Effect<{ readonly free: Bytes }, OutOfMemory | ReservationNotFound | ReservationConflict | Unanswered>
    /** `GpuActor.Commit`. */
    readonly commit: (
      device: DeviceId,
      step: {
        readonly reservation: ReservationId
        readonly state: Exclude<ClaimState, "reserved">
        readonly ttlMillis: number | null
      }
    ) => Effect.Effect<void, ReservationNotFound | Unanswered>
    /** `GpuActor.Release`. */
    readonly release: (
      device: DeviceId,
      reservation: ReservationId
    ) => Effect.Effect<{ readonly free: Bytes }, Unanswered>
    /**
     * Starts a replica and succeeds with its status when it is ready. When it fails, or is interrupted, no process is left. The
     * claims stay the scheduler's to commit and to release; a replica that ends by itself later releases its claims and is then
     * told to the scheduler as `absent`.
     * `ModelReplaced`: the files are not those of `model.revision`; `models` tells of the others.
     */
    readonly startReplica: (start: StartReplica) => Effect.Effect<ReplicaStatus, LoadFailed | ModelReplaced>
    /** Lets the streams of a replica end here, to be continued on another of its model. It takes no more. */
    readonly handOver: (replica: ReplicaId) => Effect.Effect<void>
    /** `ModelActor.Preempt`. */
    readonly preempt: (replica: ReplicaId, request: RequestId) => Effect.Effect<boolean>
    /** Ends a replica; succeeds when its process is gone and its memory free. Stopping what is gone succeeds. */
    readonly stopReplica: (replica: ReplicaId) => Effect.Effect<void>
  }
>() {}
