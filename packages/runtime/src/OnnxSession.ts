/** ONNX Runtime, in the one form in which it is used here. Only worker processes import this file: it loads a native library. */
import type { LocalDevice } from "@helixflow/schema/Device"
import * as ort from "onnxruntime-node"
import { executionProvider, isGpu } from "./ExecutionProvider.ts"
import type { Floats } from "./Floats.ts"
import { type LeanModel, WEIGHTS_FOLDER } from "./LeanModel.ts"
import { explainFailure } from "./OrtProvider.ts"
import { THREAD_SETTINGS } from "./OrtThreads.ts"

export type Feeds = Readonly<Record<string, ort.Tensor>>

/** What computes a session, and how many threads of the processor. */
export interface SessionPlace {
  readonly device: LocalDevice
  readonly threads: number
}

export class OnnxSession {
  readonly #session: ort.InferenceSession

  private constructor(session: ort.InferenceSession) {
    this.#session = session
  }

  /**
   * Loads a graph: from a path, or without its weights, which would be held twice in a buffer. Rejects with `ProviderUnavailable` if nothing
   * can be computed on the device here, else with the runtime's own `Error`.
   */
  static async load(model: string | LeanModel, { device, threads }: SessionPlace): Promise<OnnxSession> {
    const isFile = typeof model === "string"
    const options = {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      extra: isFile ? THREAD_SETTINGS : { ...THREAD_SETTINGS, [WEIGHTS_FOLDER]: model.folder },
      // the runtime warns about things that its users can't change
      logSeverityLevel: 3,
      ...(isGpu(device.kind) ? { executionProviders: [executionProvider(device)] } : {})
    } as const
    const { create } = ort.InferenceSession
    try {
      return new OnnxSession(isFile ? await create(model, options) : await create(model.bytes, options))
    } catch (cause) {
      throw explainFailure(device, cause) ?? cause
    }
  }

  /** Computes the named outputs; every one named is copied out of the runtime. Blocks the thread. */
  run(feeds: Feeds, outputs: ReadonlyArray<string>): Promise<ort.InferenceSession.OnnxValueMapType> {
    return this.#session.run(feeds, outputs)
  }

  release(): Promise<void> {
    return this.#session.release()
  }
}

/** A tensor of floats; half floats are given as their bits. */
export const floats = (data: Floats, dims: ReadonlyArray<number>): ort.Tensor =>
  data instanceof Float32Array ? new ort.Tensor("float32", data, dims) : new ort.Tensor("float16", halves(data), dims)

/**
 * Where JavaScript has half floats, the binding wants them instead of their bits. The same bytes; only the type says otherwise, and
 * the compiler's library has none of it.
 */
const halves = (data: Uint16Array): Uint16Array => {
  const Float16Array: typeof Uint16Array | undefined = Reflect.get(globalThis, "Float16Array")
  return Float16Array === undefined ? data : new Float16Array(data.buffer, data.byteOffset, data.length)
}

export const integers = (
  values: ReadonlyArray<number> | BigInt64Array | Int32Array,
  dims: ReadonlyArray<number>
): ort.Tensor =>
  values instanceof Int32Array
    ? new ort.Tensor("int32", values, dims)
    : new ort.Tensor("int64", values instanceof BigInt64Array ? values : BigInt64Array.from(values, BigInt), dims)

/** A vector of one truth value. */
export const truth = (value: boolean): ort.Tensor => new ort.Tensor("bool", [value], [1])

/**
 * The numbers and shape of an output of either precision; half floats as their bits. Throws if the graph doesn't keep to what its
 * metadata says.
 */
export function numbersOf(outputs: ort.InferenceSession.OnnxValueMapType, name: string) {
  const tensor = outputs[name]
  if (tensor === undefined) throw new Error(`there is no output \`${name}\``)
  const { data, dims } = tensor
  if (data instanceof Float32Array) return { data, dims }
  if (tensor.type !== "float16" || !ArrayBuffer.isView(data)) throw new Error(`output \`${name}\` has no floats`)
  return { data: new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2), dims }
}
