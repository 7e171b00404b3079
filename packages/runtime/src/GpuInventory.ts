/** The GPUs of a machine as their management library tells of them. NVML and `nvidia-smi` are the sources that there are. */
import { Data, type Effect } from "effect"
import type { Measurement, MeterFailed } from "./DeviceMeter.ts"

/** A GPU, or an instance of one that is partitioned (MIG): what a process can be given to compute on. */
export interface Gpu {
  /** `GPU-…` or `MIG-…`: names it whatever the order of devices, also in `CUDA_VISIBLE_DEVICES`. */
  readonly uuid: string
  readonly name: string
  /** Bytes. */
  readonly total: number
}

/** The source is not there or does not work: the machine is taken to have no GPU. */
export class NoInventory extends Data.TaggedError("NoInventory")<{ readonly reason: string }> {}

export interface GpuInventory {
  readonly source: string
  /** In the order of their place on the bus; of a partitioned GPU its instances. */
  readonly gpus: ReadonlyArray<Gpu>
  readonly read: (uuid: string) => Effect.Effect<Measurement, MeterFailed>
}
