/** Who can be called on this node, by id. */

import type { GpuActor } from "@helixflow/schema/GpuActor"
import type { DeviceId, ReplicaId } from "@helixflow/schema/Ids"
import type { ModelActor } from "@helixflow/schema/ModelActor"
import type { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import type { ClientOf } from "./Actor.ts"
import type { DeviceGuard } from "./DeviceGuard.ts"
import * as Registry from "./Registry.ts"
import type { SupervisorHandle } from "./Supervisor.ts"

/** The cluster's one scheduler. */
export const schedulerId = "scheduler"

export interface Directory {
  readonly gpus: Registry.Registry<DeviceId, ClientOf<typeof GpuActor>>
  readonly replicas: Registry.Registry<ReplicaId, ClientOf<typeof ModelActor>>
  /** The supervisors below the node's own, by their place in the tree: see `SupervisionTree.ts`. */
  readonly supervisors: Registry.Registry<string, SupervisorHandle>
  /** The supervisor of the replicas on a device, and who takes it out of service. */
  readonly replicaSupervisors: Registry.Registry<
    DeviceId,
    { readonly supervisor: SupervisorHandle; readonly guard: DeviceGuard }
  >
  readonly scheduler: Registry.Registry<typeof schedulerId, ClientOf<typeof SchedulerActor>>
}

export const make = (): Directory => ({
  gpus: Registry.make(),
  replicas: Registry.make(),
  supervisors: Registry.make(),
  replicaSupervisors: Registry.make(),
  scheduler: Registry.make()
})
