/**
 * NVIDIA's management library, called through koffi: which GPUs there are, and how they are now.
 *
 * Source: https://docs.nvidia.com/deploy/nvml-api/ (nvml.h). Only functions that are in every driver since 510 are needed; what a GPU
 * does not support is null.
 */
import { Effect } from "effect"
import { type Figures, type Measurement, MeterFailed } from "./DeviceMeter.ts"
import { type Gpu, type GpuInventory, NoInventory } from "./GpuInventory.ts"

/** Return codes, `nvmlReturn_t`. */
const SUCCESS = 0
const INSUFFICIENT_SIZE = 7

const TEMPERATURE_GPU = 0
const MEMORY_ERROR_UNCORRECTED = 1
const VOLATILE_ECC = 0
const NAME_SIZE = 96
/** `nvmlProcessInfo_t`: pid at 0, bytes at 8, the instances at 16 and 20. */
const PROCESS_SIZE = 24
/** `usedGpuMemory` where the driver does not know it. */
const NOT_AVAILABLE = 0xffff_ffff_ffff_ffffn

type Code = number
type Handle = bigint

interface Functions {
  readonly nvmlInit_v2: () => Code
  readonly nvmlErrorString: (code: Code) => string
  readonly nvmlDeviceGetCount_v2: (count: Uint32Array) => Code
  readonly nvmlDeviceGetHandleByIndex_v2: (index: number, handle: BigUint64Array) => Code
  readonly nvmlDeviceGetName: (device: Handle, name: Buffer, size: number) => Code
  readonly nvmlDeviceGetUUID: (device: Handle, uuid: Buffer, size: number) => Code
  readonly nvmlDeviceGetMemoryInfo: (device: Handle, memory: BigUint64Array) => Code
  readonly nvmlDeviceGetComputeRunningProcesses_v3: (device: Handle, count: Uint32Array, processes: Buffer) => Code
  readonly nvmlDeviceGetUtilizationRates: (device: Handle, rates: Uint32Array) => Code
  readonly nvmlDeviceGetTemperature: (device: Handle, sensor: number, celsius: Uint32Array) => Code
  readonly nvmlDeviceGetPowerUsage: (device: Handle, milliwatts: Uint32Array) => Code
  readonly nvmlDeviceGetTotalEccErrors: (device: Handle, kind: number, counter: number, count: BigUint64Array) => Code
  readonly nvmlDeviceGetMigMode: (device: Handle, current: Uint32Array, pending: Uint32Array) => Code
  readonly nvmlDeviceGetMaxMigDeviceCount: (device: Handle, count: Uint32Array) => Code
  readonly nvmlDeviceGetMigDeviceHandleByIndex: (device: Handle, index: number, handle: BigUint64Array) => Code
}

const signatures: Record<keyof Functions, readonly [result: string, parameters: ReadonlyArray<string>]> = {
  nvmlInit_v2: ["int", []],
  nvmlErrorString: ["str", ["int"]],
  nvmlDeviceGetCount_v2: ["int", ["void *"]],
  nvmlDeviceGetHandleByIndex_v2: ["int", ["uint32", "void *"]],
  nvmlDeviceGetName: ["int", ["void *", "void *", "uint32"]],
  nvmlDeviceGetUUID: ["int", ["void *", "void *", "uint32"]],
  nvmlDeviceGetMemoryInfo: ["int", ["void *", "void *"]],
  nvmlDeviceGetComputeRunningProcesses_v3: ["int", ["void *", "void *", "void *"]],
  nvmlDeviceGetUtilizationRates: ["int", ["void *", "void *"]],
  nvmlDeviceGetTemperature: ["int", ["void *", "int", "void *"]],
  nvmlDeviceGetPowerUsage: ["int", ["void *", "void *"]],
  nvmlDeviceGetTotalEccErrors: ["int", ["void *", "int", "int", "void *"]],
  nvmlDeviceGetMigMode: ["int", ["void *", "void *", "void *"]],
  nvmlDeviceGetMaxMigDeviceCount: ["int", ["void *", "void *"]],
  nvmlDeviceGetMigDeviceHandleByIndex: ["int", ["void *", "uint32", "void *"]]
}

class Nvml {
  readonly #functions: Functions
  /** koffi unloads a library that nothing refers to. */
  readonly library: unknown

  constructor(functions: Functions, library: unknown) {
    this.#functions = functions
    this.library = library
    this.#must("nvmlInit_v2", functions.nvmlInit_v2())
  }

  #must(what: string, code: Code): void {
    if (code !== SUCCESS) throw new Error(`${what}: ${this.#functions.nvmlErrorString(code)}`)
  }

  #text(get: "nvmlDeviceGetName" | "nvmlDeviceGetUUID", device: Handle): string {
    const buffer = Buffer.alloc(NAME_SIZE)
    this.#must(get, this.#functions[get](device, buffer, NAME_SIZE))
    return buffer.toString("utf8", 0, buffer.indexOf(0))
  }

  #number(call: (out: Uint32Array) => Code): number | null {
    const out = new Uint32Array(2)
    return call(out) === SUCCESS ? (out[0] ?? null) : null
  }

  #handle(call: (out: BigUint64Array) => Code): Handle | null {
    const out = new BigUint64Array(1)
    return call(out) === SUCCESS ? (out[0] ?? null) : null
  }

  #memory(device: Handle): { readonly total: number; readonly free: number; readonly used: number } {
    const [total = 0n, free = 0n, used = 0n] = this.#filled(3, "nvmlDeviceGetMemoryInfo", (out) =>
      this.#functions.nvmlDeviceGetMemoryInfo(device, out)
    )
    return { total: Number(total), free: Number(free), used: Number(used) }
  }

  #filled(size: number, what: string, call: (out: BigUint64Array) => Code): BigUint64Array {
    const out = new BigUint64Array(size)
    this.#must(what, call(out))
    return out
  }

  /** The handles to compute on, each with the GPU that it is or is a part of. */
  handles(): ReadonlyArray<{ readonly device: Handle; readonly gpu: Handle }> {
    const f = this.#functions
    const count = this.#number((out) => f.nvmlDeviceGetCount_v2(out)) ?? 0
    const found: Array<{ readonly device: Handle; readonly gpu: Handle }> = []
    for (let index = 0; index < count; index++) {
      const gpu = this.#handle((out) => f.nvmlDeviceGetHandleByIndex_v2(index, out))
      // a GPU that has fallen off the bus keeps its index
      if (gpu === null) continue
      const instances: Array<Handle> = []
      const partitioned = this.#number((out) => f.nvmlDeviceGetMigMode(gpu, out, new Uint32Array(1))) === 1
      const most = partitioned ? (this.#number((out) => f.nvmlDeviceGetMaxMigDeviceCount(gpu, out)) ?? 0) : 0
      for (let at = 0; at < most; at++) {
        const instance = this.#handle((out) => f.nvmlDeviceGetMigDeviceHandleByIndex(gpu, at, out))
        if (instance !== null) instances.push(instance)
      }
      found.push(...(partitioned ? instances : [gpu]).map((device) => ({ device, gpu })))
    }
    return found
  }

  describe(device: Handle): Gpu {
    return {
      uuid: this.#text("nvmlDeviceGetUUID", device),
      name: this.#text("nvmlDeviceGetName", device),
      total: this.#memory(device).total
    }
  }

  /** Instances have memory and processes of their own; the rest is their GPU's. */
  measure(device: Handle, gpu: Handle): Measurement {
    const f = this.#functions
    const { free, used } = this.#memory(device)
    const ecc = new BigUint64Array(1)
    const counted = f.nvmlDeviceGetTotalEccErrors(gpu, MEMORY_ERROR_UNCORRECTED, VOLATILE_ECC, ecc) === SUCCESS
    const percent = this.#number((out) => f.nvmlDeviceGetUtilizationRates(gpu, out))
    const milliwatts = this.#number((out) => f.nvmlDeviceGetPowerUsage(gpu, out))
    const figures: Figures = {
      free,
      utilization: percent === null ? null : percent / 100,
      temperature: this.#number((out) => f.nvmlDeviceGetTemperature(gpu, TEMPERATURE_GPU, out)),
      power: milliwatts === null ? null : milliwatts / 1000,
      eccErrors: counted ? Number(ecc[0]) : null
    }
    return { figures, used, processes: this.#processes(device) }
  }

  /** Null where the driver does not tell, or not of every process. */
  #processes(device: Handle): ReadonlyMap<number, number> | null {
    const call = this.#functions.nvmlDeviceGetComputeRunningProcesses_v3
    // others may start meanwhile
    for (let size = 64; size <= 4096; size *= 4) {
      const count = new Uint32Array([size])
      const buffer = Buffer.alloc(size * PROCESS_SIZE)
      const code = call(device, count, buffer)
      if (code === INSUFFICIENT_SIZE) continue
      if (code !== SUCCESS) return null
      const processes = new Map<number, number>()
      for (let at = 0; at < (count[0] ?? 0); at++) {
        const bytes = buffer.readBigUInt64LE(at * PROCESS_SIZE + 8)
        if (bytes === NOT_AVAILABLE) return null
        const pid = buffer.readUInt32LE(at * PROCESS_SIZE)
        processes.set(pid, (processes.get(pid) ?? 0) + Number(bytes))
      }
      return processes
    }
    return null
  }
}

const message = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause))

const open = async (file: string): Promise<Nvml> => {
  // it is optional, and needs a binary for this platform
  const { default: koffi } = await import("koffi")
  const library = koffi.load(file)
  const names = Object.entries(signatures)
  const functions = Object.fromEntries(
    names.map(([name, [result, parameters]]) => [name, library.func(name, result, [...parameters])])
  )
  // the functions of a library have no types but those declared beside their signatures
  return new Nvml(functions as unknown as Functions, library)
}

/** Opens the library and lists its GPUs. */
export const inventory = (file: string): Effect.Effect<GpuInventory, NoInventory> =>
  Effect.tryPromise({
    try: async () => {
      const nvml = await open(file)
      const found = nvml.handles().map(({ device, gpu }) => ({ device, gpu, described: nvml.describe(device) }))
      const handles = new Map(found.map(({ described, device, gpu }) => [described.uuid, { device, gpu }]))
      return {
        source: "NVML",
        gpus: found.map(({ described }) => described),
        read: (uuid: string) =>
          Effect.try({
            try: () => {
              const known = handles.get(uuid)
              if (known === undefined) throw new Error(`${uuid} is not there`)
              return nvml.measure(known.device, known.gpu)
            },
            catch: (cause) => new MeterFailed({ reason: message(cause) })
          })
      }
    },
    catch: (cause) => new NoInventory({ reason: message(cause) })
  })
