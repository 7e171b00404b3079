/**
 * The devices of this node: those that `HELIX_DEVICES` names, or else its GPUs, or where there are none the machine's CPUs with most of
 * its memory.
 */
import { Device, DeviceKind, type LocalDevice, localDevice } from "@helixflow/schema/Device"
import { DeviceUnavailable } from "@helixflow/schema/Errors"
import { Bytes, makeDeviceId, type NodeId } from "@helixflow/schema/Ids"
import { Effect, Option } from "effect"
import type { DeviceDeclaration } from "./DeviceDeclaration.ts"
import * as DeviceMeter from "./DeviceMeter.ts"
import type { Gpu, GpuInventory, NoInventory } from "./GpuInventory.ts"
import { type Machine, machine } from "./Machine.ts"
import * as NvidiaSmi from "./NvidiaSmi.ts"
import * as Nvml from "./Nvml.ts"

/** The kinds of devices that engines compute on, where what they need is installed. */
export const computable: ReadonlySet<DeviceKind> = new Set(DeviceKind.literals)

/** What the node has. */
export interface Hardware {
  readonly machine: Machine
  /** In the order in which `cuda:0`, `cuda:1`… name them. */
  readonly gpus: ReadonlyArray<Gpu>
}

/** A device, and how it is read. */
export interface MeteredDevice {
  readonly device: Device
  readonly meter: DeviceMeter.DeviceMeter
}

/** The part of the machine's memory that is used unasked; the rest is the system's and our own. */
const undeclaredShare = 0.8

/** Devices in the order of their declaration. A device that can't be had is an error at the start, not at the first request. */
export const detect = (
  node: NodeId,
  declared: Option.Option<ReadonlyArray<DeviceDeclaration>>,
  { gpus, machine }: Hardware,
  kinds: ReadonlySet<DeviceKind> = computable
): Effect.Effect<ReadonlyArray<Device>, DeviceUnavailable> => {
  const { cpus, memory } = machine
  const cpu = (index: number, bytes: number) =>
    new Device({
      id: makeDeviceId(node, "cpu", index),
      kind: "cpu",
      name: `${cpus} CPUs`,
      total: Bytes.make(Math.floor(bytes))
    })
  const cuda = (index: number, { name, total, uuid }: Gpu, bytes = total) =>
    new Device({ id: makeDeviceId(node, "cuda", index), kind: "cuda", name, total: Bytes.make(bytes), uuid })
  const webgpu = (index: number, bytes: number) =>
    new Device({ id: makeDeviceId(node, "webgpu", index), kind: "webgpu", name: "WebGPU", total: Bytes.make(bytes) })
  const unavailable = (device: string, reason: string) => new DeviceUnavailable({ device, reason })

  if (Option.isNone(declared)) {
    const usable = kinds.has("cuda") ? gpus.map((gpu, index) => cuda(index, gpu)) : []
    return Effect.succeed(usable.length > 0 ? usable : [cpu(0, memory * undeclaredShare)])
  }
  // a CPU device without a size shares what the others leave
  const cpuDeclarations = declared.value.filter(({ kind }) => kind === "cpu")
  const named = cpuDeclarations.reduce((sum, { bytes }) => sum + Option.getOrElse(bytes, () => 0), 0)
  const unnamed = cpuDeclarations.filter(({ bytes }) => Option.isNone(bytes)).length
  const share = unnamed === 0 ? 0 : Math.floor((memory * undeclaredShare - named) / unnamed)
  if (named > memory || share < 0) {
    return unavailable(
      cpuDeclarations.map(({ index }) => `cpu:${index}`).join(","),
      `${named} bytes are declared, the machine has ${memory}`
    )
  }
  return Effect.forEach(declared.value, ({ bytes, index, kind }) => {
    const name = `${kind}:${index}`
    if (!kinds.has(kind))
      return unavailable(name, `no engine of this version computes on it; use ${[...kinds].join(" or ")}`)
    if (kind === "cpu")
      return Effect.succeed(
        cpu(
          index,
          Option.getOrElse(bytes, () => share)
        )
      )
    if (kind === "webgpu") {
      if (Option.isSome(bytes)) return Effect.succeed(webgpu(index, bytes.value))
      return unavailable(name, `WebGPU does not tell how much memory it has; say how much to use, e.g. ${name}=8GiB`)
    }
    const gpu = gpus[index]
    if (gpu === undefined) return unavailable(name, `the machine has ${gpus.length} GPUs that can be used`)
    const asked = Option.getOrElse(bytes, () => gpu.total)
    return asked > gpu.total
      ? unavailable(name, `${asked} bytes are declared, it has ${gpu.total}`)
      : Effect.succeed(cuda(index, gpu, asked))
  })
}

/** Where GPUs are looked for. */
export interface GpuSources {
  /** NVIDIA's management library: a path, or a name that the system's loader finds. */
  readonly nvml: string
  /** The command that is asked where the library can't be. */
  readonly nvidiaSmi: string
  /** `CUDA_VISIBLE_DEVICES`: the GPUs that processes of this environment may see; none given: all. */
  readonly visible: Option.Option<ReadonlyArray<string>>
}

/** The entries of `CUDA_VISIBLE_DEVICES` in their order, up to the first that names nothing, as CUDA reads it. */
export const visibleOf = (gpus: ReadonlyArray<Gpu>, visible: GpuSources["visible"]): ReadonlyArray<Gpu> => {
  if (Option.isNone(visible)) return gpus
  const seen: Array<Gpu> = []
  for (const entry of visible.value) {
    const gpu = /^\d+$/.test(entry) ? gpus[Number(entry)] : gpus.find(({ uuid }) => uuid.startsWith(entry))
    if (gpu === undefined) break
    seen.push(gpu)
  }
  return seen
}

/** The machine's GPUs; none where neither source works, which is no error. */
export const findGpus = ({ nvidiaSmi, nvml, visible }: GpuSources): Effect.Effect<Option.Option<GpuInventory>> => {
  const tried = (source: string, inventory: Effect.Effect<GpuInventory, NoInventory>) =>
    Effect.tapError(inventory, ({ reason }) => Effect.logDebug(`No GPUs from ${source}: ${reason}`))
  return tried(nvml, Nvml.inventory(nvml)).pipe(
    Effect.orElse(() => tried(nvidiaSmi, NvidiaSmi.inventory(nvidiaSmi))),
    Effect.map((found) => ({ ...found, gpus: visibleOf(found.gpus, visible) })),
    Effect.option
  )
}

const gpuMeter = (inventory: GpuInventory, uuid: string): DeviceMeter.DeviceMeter => ({
  read: (pids) =>
    Effect.map(inventory.read(uuid), (measured) => {
      const processes = measured.processes && DeviceMeter.ofGroups(pids, measured.processes)
      // in a container the driver may number processes as the host does: then none of ours is there
      const known = pids.length === 0 || (processes !== null && processes.size > 0)
      return { ...measured, processes: known ? processes : null }
    }),
  promised: () => {}
})

/** What the configuration says of devices. */
export interface DeviceConfig extends GpuSources {
  readonly devices: Option.Option<ReadonlyArray<DeviceDeclaration>>
}

/** Finds out whether a GPU can be computed on. */
export type Check = (device: LocalDevice) => Effect.Effect<void, DeviceUnavailable>

/**
 * The node's devices with their meters. A GPU that is declared and can't be computed on is an error; of those that are merely there, none is
 * used then, and the log says why.
 */
export const open = Effect.fnUntraced(function* (node: NodeId, config: DeviceConfig, check: Check) {
  const asked = Option.getOrUndefined(config.devices)
  // who declares CPUs alone has no use for drivers
  const search = asked === undefined || asked.some(({ kind }) => kind === "cuda")
  const inventory = search ? yield* findGpus(config) : Option.none<GpuInventory>()
  const gpus = Option.match(inventory, { onNone: () => [], onSome: ({ gpus }) => gpus })
  const hardware = { machine: machine(), gpus }
  const kinds = asked === undefined && gpus.length > 0 ? yield* kindsThat(check, gpus) : computable
  const devices = yield* detect(node, config.devices, hardware, kinds)
  // those that were found have been checked
  const named = asked === undefined ? [] : devices.filter(({ kind }) => kind !== "cpu")
  yield* Effect.forEach(named, ({ id }) => check(localDevice(id)), { discard: true })
  const cpus = DeviceMeter.forCpus(devices.flatMap(({ id, kind }) => (kind === "cpu" ? [id] : [])))
  const metered = devices.map((device): MeteredDevice => {
    const gpu = Option.map(inventory, (found) => gpuMeter(found, device.uuid ?? ""))
    const meter = device.kind === "cpu" ? cpus.get(device.id) : Option.getOrUndefined(gpu)
    return { device, meter: meter ?? DeviceMeter.unread }
  })
  return { hardware, devices: metered }
})

/** What is computed on unasked: GPUs if the first of them can be, and what needs nothing. */
const kindsThat = (check: Check, gpus: ReadonlyArray<Gpu>): Effect.Effect<ReadonlySet<DeviceKind>> =>
  check({ kind: "cuda", index: 0 }).pipe(
    Effect.as(computable),
    Effect.catchAll(({ reason }) => {
      const names = gpus.map(({ name }, index) => `cuda:${index} (${name})`).join(", ")
      const processors: ReadonlySet<DeviceKind> = new Set(["cpu"])
      return Effect.as(Effect.logWarning(`GPUs are not used: ${names}: ${reason}`), processors)
    })
  )
