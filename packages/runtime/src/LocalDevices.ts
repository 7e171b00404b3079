/** This node's devices as a service: what there is, and what engines can compute on. */
import type { DeviceUnavailable } from "@helixflow/schema/Errors"
import { NodeId } from "@helixflow/schema/Ids"
import { Context, Effect, Layer, Option } from "effect"
import * as Devices from "./Devices.ts"
import * as ProviderCheck from "./ProviderCheck.ts"
import { RuntimeConfig } from "./RuntimeConfig.ts"
import * as WorkerEntry from "./WorkerEntry.ts"

export class LocalDevices extends Context.Tag("@helixflow/runtime/LocalDevices")<
  LocalDevices,
  {
    readonly node: NodeId
    readonly devices: ReadonlyArray<Devices.MeteredDevice>
    /**
     * Threads of one operator, for each replica. All have as many, and those that wait soon sleep: so the system shares the processors
     * equally among the replicas that compute, and one that computes alone has all of its device's.
     */
    readonly threads: number
  }
>() {
  /** A declared device that can't be had, or not be computed on, is an error at the start and not at the first request. */
  static readonly layer: Layer.Layer<LocalDevices, DeviceUnavailable, RuntimeConfig> = Layer.effect(
    this,
    Effect.gen(function* () {
      const config = yield* RuntimeConfig
      const node = NodeId.make("local")
      // a check is ONNX Runtime's, whatever program the workers run
      const check = ProviderCheck.make(WorkerEntry.resolve())
      const { devices, hardware } = yield* Devices.open(node, config, check)
      const share = Math.max(1, Math.floor(hardware.machine.cpus / devices.length))
      return { node, devices, threads: Option.getOrElse(config.threads, () => share) }
    })
  )
}
