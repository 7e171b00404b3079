/**
 * Why ONNX Runtime can't compute on a device here. The runtime itself says no more than that a library failed to load; which one is
 * missing, and what brings it, is found out by opening them. Only processes that may load native libraries import this file.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type { DeviceKind, LocalDevice } from "@helixflow/schema/Device"
import { isGpu, nameOf, unreachable } from "./ExecutionProvider.ts"
import { libraryFile } from "./OrtApi.ts"

/** A device that can't be computed on, whatever the model. */
export class ProviderUnavailable extends Error {
  override readonly name = "ProviderUnavailable"

  constructor(
    device: LocalDevice,
    /** Without the device's name. */
    readonly reason: string
  ) {
    super(`${nameOf(device)} can't be computed on: ${reason}`)
  }
}

/** Opens a library by its file or its name, or throws what the system says. */
export type OpenLibrary = (library: string) => void

export interface Surroundings {
  readonly open: OpenLibrary
  /** Where the runtime's library is, and its providers' beside it. */
  readonly folder: string
  readonly platform: NodeJS.Platform
  readonly arch: string
}

const here = (): Surroundings => ({
  open: openLibrary,
  folder: path.dirname(libraryFile()),
  platform: process.platform,
  arch: process.arch
})

/** The failure to make a session on a GPU as what its users can do about it; null where that says nothing of the device. */
export function explainFailure(
  device: LocalDevice,
  cause: unknown,
  surroundings: Surroundings = here()
): ProviderUnavailable | null {
  if (!isGpu(device.kind)) return null
  const message = cause instanceof Error ? cause.message : String(cause)
  const reason = unreachable(device) ?? missing(device.kind, surroundings) ?? refusal(device.kind, message)
  return reason === null ? null : new ProviderUnavailable(device, reason)
}

function missing(kind: DeviceKind, surroundings: Surroundings): string | null {
  return kind === "cuda" ? missingForCuda(surroundings) : missingForWebGpu(surroundings)
}

const CUDA_PROVIDER = ["libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"]
const INSTALL_CUDA_PROVIDER =
  "install it with `ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node` in HelixFlow's folder, which downloads it"

function missingForCuda({ arch, folder, open, platform }: Surroundings): string | null {
  if (platform !== "linux" || arch !== "x64") {
    return `ONNX Runtime for Node.js has CUDA for linux-x64 alone, and this is ${platform}-${arch}`
  }
  const absent = CUDA_PROVIDER.find((library) => !fs.existsSync(path.join(folder, library)))
  if (absent !== undefined) return `ONNX Runtime's ${absent} is missing; ${INSTALL_CUDA_PROVIDER}`
  const driver = failure(open, "libcuda.so.1")
  if (driver !== null) return `NVIDIA's driver is missing: ${driver}`
  for (const library of CUDA_PROVIDER) {
    const reason = failure(open, path.join(folder, library))
    // the system names the library that is not there, which need not be the one that was asked for
    if (reason !== null) {
      return `a library is missing: ${reason}; install CUDA 12 and cuDNN 9, or name their folder in LD_LIBRARY_PATH`
    }
  }
  return null
}

function missingForWebGpu({ open, platform }: Surroundings): string | null {
  // elsewhere WebGPU stands on what the system brings
  if (platform !== "linux") return null
  const reason = failure(open, "libvulkan.so.1")
  return reason === null
    ? null
    : `the Vulkan loader is missing: ${reason}; install it (libvulkan1 on Debian and Ubuntu) and the GPU's Vulkan driver`
}

/** What the runtime says where all libraries are there but no device answers. */
function refusal(kind: DeviceKind, message: string): string | null {
  if (kind === "webgpu" && /Failed to get a WebGPU (adapter|device)/i.test(message)) {
    return `WebGPU finds no adapter; install the GPU's Vulkan driver (${lastLine(message)})`
  }
  if (kind === "cuda" && /CUDA (failure|error)|no CUDA-capable device|invalid device ordinal/i.test(message)) {
    return `CUDA refuses: ${lastLine(message)}`
  }
  return /append.*execution.?provider|Failed to load shared library/i.test(message) ? lastLine(message) : null
}

const lastLine = (message: string): string => message.trim().split("\n").at(-1)?.trim() ?? message

function failure(open: OpenLibrary, library: string): string | null {
  try {
    open(library)
    return null
  } catch (cause) {
    return lastLine(cause instanceof Error ? cause.message : String(cause))
  }
}

/** Node's own way to open a library wants it to be one of Node's, and says so once it has been opened. */
const NOT_NODES = /did not self-register/

function openLibrary(library: string): void {
  try {
    process.dlopen({ exports: {} }, library)
  } catch (cause) {
    if (!(cause instanceof Error && NOT_NODES.test(cause.message))) throw cause
  }
}
