/** What the scheduler can be asked. One per cluster. It decides where; tokens never pass it. */
import { Rpc, RpcGroup } from "@effect/rpc"
import { Schema } from "effect"
import { Caller, QueueProgress, Served } from "./Caller.ts"
import { DeviceStatus } from "./Device.ts"
import {
  LoadFailed,
  ModelNotFound,
  ModelReplaced,
  NoDeviceFits,
  QueueFull,
  QueueTimeout,
  ShuttingDown,
  TenantQueueFull
} from "./Errors.ts"
import { ModelId, ReplicaId, RequestId, ReservationId } from "./Ids.ts"
import { MailboxLimit } from "./MailboxLimit.ts"
import { ReplicaStatus } from "./Model.ts"
import { Explanation, FleetSnapshot, Placement, SchedulerEvent } from "./Scheduling.ts"

/**
 * A ready replica with a slot reserved. Waits (bounded queue, deadline) while there is none, loading the model where it fits.
 * Interrupting it gives up the wait and whatever was reserved. `not`: replicas that failed this request before.
 */
export class Place extends Rpc.make("Place", {
  payload: {
    request: RequestId,
    model: ModelId,
    not: Schema.Array(ReplicaId),
    timeoutMillis: Schema.Positive,
    /** Who asks; `anonymous` when absent. */
    caller: Schema.optional(Caller),
    /** For models with the policy `affinity`: requests with the same go to the same replica, unless it is far busier than others. */
    affinity: Schema.optional(Schema.String),
    /** The replica that requests of its kind were on last: taken if it has a slot free and is not far busier than the others. */
    prefer: Schema.optional(ReplicaId),
    /** Only a replica that has loaded this revision of the model: what was begun with it can't go on with another. */
    revision: Schema.optional(Schema.String),
    /** Whether it can give its place up and go on later (`ModelActor.Preempt`); if not, it keeps it to its end. */
    preemptible: Schema.optional(Schema.Boolean),
    /** What it was called at the place that it gave up: no limit of the queue is for it, and it goes before others of its tenant. */
    resumes: Schema.optional(RequestId)
  },
  success: Placement,
  error: Schema.Union(
    ModelNotFound,
    ModelReplaced,
    NoDeviceFits,
    QueueFull,
    TenantQueueFull,
    QueueTimeout,
    LoadFailed,
    ShuttingDown
  )
}) {}

/** Frees the slot of a placement. Completing what is gone succeeds. `served`: what it was used for, where that is known. */
export class Complete extends Rpc.make("Complete", {
  payload: { reservation: ReservationId, served: Schema.optional(Served) }
}) {}

/** How it stands with a request, whenever that changes, for as long as it waits; ends when it waits no more. */
export class Progress extends Rpc.make("Progress", {
  payload: { request: RequestId },
  success: QueueProgress,
  stream: true
}) {}

/**
 * Stops the replicas of a model and gives their memory back, which is believed when their processes are gone. Those with requests take
 * no new ones, and are waited for: what is still busy at the deadline goes on as before, as does what is being loaded.
 */
export class Evict extends Rpc.make("Evict", {
  payload: { model: ModelId, timeoutMillis: Schema.Positive },
  success: Schema.Struct({ evicted: Schema.Array(ReplicaId), busy: Schema.Array(ReplicaId) }),
  error: ModelNotFound
}) {}

/** News from a GpuActor or a ModelActor. */
export class Observe extends Rpc.make("Observe", {
  payload: { devices: Schema.Array(DeviceStatus), replicas: Schema.Array(ReplicaStatus) }
}) {}

/** Where a request would go now, with every reason per device. Decides nothing. */
export class Explain extends Rpc.make("Explain", {
  payload: { model: ModelId },
  success: Explanation,
  error: ModelNotFound
}) {}

export class View extends Rpc.make("View", { success: FleetSnapshot }) {}

/** Decisions as they are made. A watcher that falls 8,192 behind loses the oldest, and is told how many (`Lost`). */
export class Watch extends Rpc.make("Watch", { success: SchedulerEvent, stream: true }) {}

export const SchedulerActor = RpcGroup.make(Place, Complete, Progress, Evict, Observe, Explain, View, Watch).middleware(
  MailboxLimit
)
