/**
 * The few functions of ONNX Runtime's C API that the engine needs, called through koffi in the library that is bundled with
 * `onnxruntime-node`. Pointers are plain numbers here: who makes an object releases it, and memory that is given to the runtime
 * must outlive its use.
 *
 * Source: https://github.com/microsoft/onnxruntime/blob/main/include/onnxruntime/core/session/onnxruntime_c_api.h
 */
import * as fs from "node:fs"
import { createRequire } from "node:module"
import * as path from "node:path"
import { type LeanModel, WEIGHTS_FOLDER } from "./LeanModel.ts"
import { THREAD_SETTINGS } from "./OrtThreads.ts"

/** Address of an object of the runtime or of memory. */
export type Pointer = bigint

/** `OrtStatus*`: null for success. */
type Status = Pointer | null

/** Functions are only ever added to the end of the table, so every later library serves this version of it. */
const API_VERSION = 23

/** Functions up to the last one that is used. */
const TABLE_SIZE = 131

/** The API's functions, by their names in C. `out` takes the object that is made. */
interface Table {
  readonly GetErrorMessage: (status: Pointer) => string
  readonly CreateEnv: (severity: number, name: string, out: Out) => Status
  readonly CreateSessionFromArray: OnAnotherThread<
    [env: Pointer, model: Pointer, bytes: number, options: Pointer, out: Pointer]
  >
  readonly Run: OnAnotherThread<RunArguments>
  readonly CreateSessionOptions: (out: Out) => Status
  readonly SetSessionLogSeverityLevel: (options: Pointer, severity: number) => Status
  readonly SetIntraOpNumThreads: (options: Pointer, threads: number) => Status
  readonly SetInterOpNumThreads: (options: Pointer, threads: number) => Status
  readonly CreateRunOptions: (out: Out) => Status
  readonly RunOptionsSetTerminate: (options: Pointer) => Status
  readonly RunOptionsUnsetTerminate: (options: Pointer) => Status
  readonly CreateTensorWithDataAsOrtValue: (
    memory: Pointer,
    data: Pointer,
    bytes: number,
    shape: BigInt64Array,
    rank: number,
    type: number,
    out: Out
  ) => Status
  readonly CreateCpuMemoryInfo: (allocator: number, memory: number, out: Out) => Status
  readonly ReleaseStatus: (status: Pointer) => void
  readonly ReleaseSession: (session: Pointer) => void
  readonly ReleaseValue: (value: Pointer) => void
  readonly ReleaseRunOptions: (options: Pointer) => void
  readonly ReleaseSessionOptions: (options: Pointer) => void
  readonly AddSessionConfigEntry: (options: Pointer, key: string, value: string) => Status
}

/** A function that takes long. */
interface OnAnotherThread<Arguments extends ReadonlyArray<unknown>> {
  readonly async: (...args: [...Arguments, done: (error: unknown, status: Status) => void]) => void
}

/** Where a function puts the one pointer that it makes. */
type Out = BigUint64Array

type RunArguments = [
  session: Pointer,
  options: Pointer,
  inputNames: Pointer,
  inputs: Pointer,
  inputCount: number,
  outputNames: Pointer,
  outputCount: number,
  outputs: Pointer
]

/** `Uint16Array`: half floats. */
export type TensorData = Float32Array | Uint16Array | BigInt64Array | Int32Array

/** Enumerations of the API. */
const ElementType = { float: 1, int32: 6, int64: 7, float16: 10 }
const ARENA_ALLOCATOR = 1
const DEFAULT_MEMORY = 0
const SEVERITY_ERROR = 3

/** What {@link OrtApi.run} computes. */
export interface RunRequest {
  readonly session: Pointer
  readonly options: Pointer
  /** Addresses of names and values, in the same order. */
  readonly inputNames: BigUint64Array
  readonly inputs: BigUint64Array
  readonly outputNames: BigUint64Array
  readonly outputs: BigUint64Array
}

function elementType(data: TensorData): number {
  if (data instanceof Float32Array) return ElementType.float
  if (data instanceof Uint16Array) return ElementType.float16
  return data instanceof Int32Array ? ElementType.int32 : ElementType.int64
}

export class OrtApi {
  readonly #table: Table
  readonly #env: Pointer
  readonly #cpu: Pointer
  readonly #out = new BigUint64Array(1)
  /** What the runtime reads on another thread must not be collected meanwhile. */
  readonly #kept = new Set<Uint8Array>()
  /** Where the array's memory is. From now on it is not moved; it is freed with the array. */
  readonly address: (memory: ArrayBufferView) => Pointer
  /** koffi unloads a library that nothing refers to, whatever still runs in it. */
  readonly library: unknown

  private constructor({ table, address, library }: Pick<OrtApi, "address" | "library"> & { readonly table: Table }) {
    this.#table = table
    this.address = address
    this.library = library
    this.#env = this.#make((out) => table.CreateEnv(SEVERITY_ERROR, "helixflow", out))
    this.#cpu = this.#make((out) => table.CreateCpuMemoryInfo(ARENA_ALLOCATOR, DEFAULT_MEMORY, out))
  }

  /** Opens the library. Rejects with an `Error` if koffi or the library can't be loaded here. Loaded once, it stays. */
  static async load(file: string = libraryFile()): Promise<OrtApi> {
    if (!fs.existsSync(file)) throw new Error(`ONNX Runtime's library is missing: ${file}`)
    // it is optional, and needs a binary for this platform
    const { default: koffi } = await import("koffi")
    const library = koffi.load(file)
    const pointers = koffi.array("void *", 2)
    const [getApi] = koffi.decode(library.func("OrtGetApiBase", "void *", [])(), pointers)
    const api = koffi.call(getApi, koffi.proto("void *", ["uint32"]), API_VERSION)
    if (api === null) throw new Error(`${file} doesn't have version ${API_VERSION} of ONNX Runtime's C API`)
    const addresses = koffi.decode(api, koffi.array("void *", TABLE_SIZE))
    const at = (place: number, result: string, parameters: Array<string>) =>
      koffi.decode(addresses[place], koffi.proto(result, parameters))
    // the numbers are places in the struct `OrtApi`, which never change
    const table: Table = {
      GetErrorMessage: at(2, "str", ["void *"]),
      CreateEnv: at(3, "void *", ["int", "str", "void *"]),
      CreateSessionFromArray: at(8, "void *", ["void *", "void *", "size_t", "void *", "void *"]),
      Run: at(9, "void *", ["void *", "void *", "void *", "void *", "size_t", "void *", "size_t", "void *"]),
      CreateSessionOptions: at(10, "void *", ["void *"]),
      SetSessionLogSeverityLevel: at(22, "void *", ["void *", "int"]),
      SetIntraOpNumThreads: at(24, "void *", ["void *", "int"]),
      SetInterOpNumThreads: at(25, "void *", ["void *", "int"]),
      CreateRunOptions: at(39, "void *", ["void *"]),
      RunOptionsSetTerminate: at(46, "void *", ["void *"]),
      RunOptionsUnsetTerminate: at(47, "void *", ["void *"]),
      CreateTensorWithDataAsOrtValue: at(49, "void *", [
        "void *",
        "void *",
        "size_t",
        "void *",
        "size_t",
        "int",
        "void *"
      ]),
      CreateCpuMemoryInfo: at(69, "void *", ["int", "int", "void *"]),
      ReleaseStatus: at(93, "void", ["void *"]),
      ReleaseSession: at(95, "void", ["void *"]),
      ReleaseValue: at(96, "void", ["void *"]),
      ReleaseRunOptions: at(97, "void", ["void *"]),
      ReleaseSessionOptions: at(100, "void", ["void *"]),
      AddSessionConfigEntry: at(130, "void *", ["void *", "str", "str"])
    }
    return new OrtApi({ table, address: koffi.address, library })
  }

  /** Loads a model on another thread. Rejects with the runtime's message. */
  async createSession({ bytes, folder }: LeanModel, threads: number): Promise<Pointer> {
    const options = this.#make((out) => this.#table.CreateSessionOptions(out))
    const out = new BigUint64Array(1)
    this.#kept.add(bytes)
    try {
      this.#check(this.#table.SetIntraOpNumThreads(options, threads))
      this.#check(this.#table.SetInterOpNumThreads(options, 1))
      this.#check(this.#table.SetSessionLogSeverityLevel(options, SEVERITY_ERROR))
      for (const [name, value] of Object.entries(THREAD_SETTINGS)) {
        this.#check(this.#table.AddSessionConfigEntry(options, name, value))
      }
      this.#check(this.#table.AddSessionConfigEntry(options, WEIGHTS_FOLDER, folder))
      const model = this.address(bytes)
      const made = this.address(out)
      await this.#async((done) =>
        this.#table.CreateSessionFromArray.async(this.#env, model, bytes.length, options, made, done)
      )
      return out[0] ?? 0n
    } finally {
      this.#kept.delete(bytes)
      this.#table.ReleaseSessionOptions(options)
    }
  }

  createRunOptions(): Pointer {
    return this.#make((out) => this.#table.CreateRunOptions(out))
  }

  /** A tensor over `data`, which it neither copies nor keeps from being collected. */
  createTensor(data: TensorData, dims: ReadonlyArray<number>): Pointer {
    const type = elementType(data)
    const shape = BigInt64Array.from(dims, BigInt)
    return this.#make((out) =>
      this.#table.CreateTensorWithDataAsOrtValue(
        this.#cpu,
        this.address(data),
        data.byteLength,
        shape,
        dims.length,
        type,
        out
      )
    )
  }

  /** Computes on another thread. The arrays must be kept until then. Rejects with the runtime's message. */
  run(request: RunRequest): Promise<void> {
    const { session, options, inputNames, inputs, outputNames, outputs } = request
    return this.#async((done) =>
      this.#table.Run.async(
        session,
        options,
        this.address(inputNames),
        this.address(inputs),
        inputs.length,
        this.address(outputNames),
        outputs.length,
        this.address(outputs),
        done
      )
    )
  }

  #async(start: (done: (error: unknown, status: Status) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      start((error, status) => {
        try {
          if (error !== null && error !== undefined) throw error
          this.#check(status)
          resolve()
        } catch (cause) {
          reject(cause)
        }
      })
    })
  }

  /** Makes runs with these options end with an error as soon as they can, until it is taken back. */
  setTerminate(options: Pointer, terminate: boolean): void {
    this.#check(terminate ? this.#table.RunOptionsSetTerminate(options) : this.#table.RunOptionsUnsetTerminate(options))
  }

  releaseSession(session: Pointer): void {
    this.#table.ReleaseSession(session)
  }

  releaseRunOptions(options: Pointer): void {
    this.#table.ReleaseRunOptions(options)
  }

  releaseTensor(tensor: Pointer): void {
    this.#table.ReleaseValue(tensor)
  }

  #make(create: (out: Out) => Status): Pointer {
    this.#check(create(this.#out))
    return this.#out[0] ?? 0n
  }

  #check(status: Status): void {
    if (status === null) return
    const message = this.#table.GetErrorMessage(status)
    this.#table.ReleaseStatus(status)
    throw new Error(message)
  }
}

/** The library that `onnxruntime-node` brings for this platform. */
export function libraryFile(): string {
  const package_ = path.dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"))
  const names: Partial<Record<NodeJS.Platform, string>> = {
    darwin: "libonnxruntime.1.dylib",
    win32: "onnxruntime.dll"
  }
  const name = names[process.platform] ?? "libonnxruntime.so.1"
  return path.join(package_, "bin", "napi-v6", process.platform, process.arch, name)
}
