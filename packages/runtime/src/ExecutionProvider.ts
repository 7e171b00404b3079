/**
 * What ONNX Runtime has to be told for a model to be computed on a device: its execution provider. Operators that a provider doesn't
 * have are computed by the processor, which the runtime adds by itself. Pure.
 */
import type { DeviceKind, LocalDevice } from "@helixflow/schema/Device"

/** As `onnxruntime-node` takes it among its `executionProviders`. */
export type ExecutionProvider =
  | { readonly name: "cpu" }
  | { readonly name: "cuda"; readonly deviceId: number }
  | { readonly name: "webgpu" }

export const PROCESSOR: LocalDevice = { kind: "cpu", index: 0 }

export function executionProvider({ index, kind }: LocalDevice): ExecutionProvider {
  return kind === "cuda" ? { name: "cuda", deviceId: index } : { name: kind }
}

/** Why no provider reaches the device, whatever is installed; null where one does. */
export function unreachable({ index, kind }: LocalDevice): string | null {
  // an index would have to go with an instance of WebGPU that is ours
  return kind === "webgpu" && index > 0 ? "WebGPU chooses the adapter itself, so there is webgpu:0 alone" : null
}

export const isGpu = (kind: DeviceKind): boolean => kind !== "cpu"

/** The device as people write it: `cuda:0`. */
export const nameOf = ({ index, kind }: LocalDevice): string => `${kind}:${index}`
