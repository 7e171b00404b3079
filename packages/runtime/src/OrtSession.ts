/**
 * A model in ONNX Runtime, through its C API: computes in memory that is ours, on a thread that is not, and can be stopped. One
 * run at a time. Only worker processes use this file.
 */
import type { LeanModel } from "./LeanModel.ts"
import type { OrtApi, Pointer, RunRequest, TensorData } from "./OrtApi.ts"

/** A tensor of the runtime over memory of this process, which is kept with it. */
export interface OrtTensor {
  readonly data: TensorData
  readonly pointer: Pointer
}

type OrtTensors = ReadonlyMap<string, OrtTensor>

/** Tensors that are released together. */
export class TensorScope {
  readonly #api: OrtApi
  readonly #tensors: Array<OrtTensor> = []

  constructor(api: OrtApi) {
    this.#api = api
  }

  tensor(data: TensorData, dims: ReadonlyArray<number>): OrtTensor {
    const tensor = { data, pointer: this.#api.createTensor(data, dims) }
    this.#tensors.push(tensor)
    return tensor
  }

  release(): void {
    for (const { pointer } of this.#tensors.splice(0)) this.#api.releaseTensor(pointer)
  }
}

export class OrtSession {
  readonly #api: OrtApi
  readonly #session: Pointer
  readonly #options: Pointer
  /** Names as C has them, kept while the session lives. */
  readonly #names = new Map<string, Uint8Array>()
  #closed = false
  /** The run under way, and what must not be collected before its end. */
  #running: { readonly request: RunRequest; readonly done: Promise<void> } | null = null

  private constructor(api: OrtApi, session: Pointer) {
    this.#api = api
    this.#session = session
    this.#options = api.createRunOptions()
    // node waits for its threads before it ends
    process.once("exit", this.abort)
  }

  /** Loads a model; the event loop goes on meanwhile. Rejects with the runtime's message. */
  static async load(api: OrtApi, model: LeanModel, threads: number): Promise<OrtSession> {
    return new OrtSession(api, await api.createSession(model, threads))
  }

  scope(): TensorScope {
    return new TensorScope(this.#api)
  }

  /**
   * Computes the outputs into their tensors, whose shapes have to be right. Rejects with the runtime's message, also when it is
   * aborted. The event loop goes on meanwhile; the tensors must be left alone.
   */
  async run(inputs: OrtTensors, outputs: OrtTensors): Promise<void> {
    if (this.#closed) throw new Error("the model is closed")
    this.#api.setTerminate(this.#options, false)
    const request = {
      session: this.#session,
      options: this.#options,
      inputNames: this.#namesOf(inputs),
      inputs: pointersOf(inputs),
      outputNames: this.#namesOf(outputs),
      outputs: pointersOf(outputs)
    }
    this.#running = { request, done: this.#api.run(request) }
    try {
      await this.#running.done
    } finally {
      this.#running = null
    }
  }

  /** Stops the run under way, if there is one: it rejects within milliseconds. */
  readonly abort = (): void => {
    if (this.#running !== null) this.#api.setTerminate(this.#options, true)
  }

  /** Stops what runs and frees the model. */
  async release(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.abort()
    // why it ended is its caller's business
    await this.#running?.done.catch(() => {})
    process.off("exit", this.abort)
    this.#api.releaseRunOptions(this.#options)
    this.#api.releaseSession(this.#session)
  }

  #namesOf(tensors: OrtTensors): BigUint64Array {
    return BigUint64Array.from(tensors.keys(), (name) => this.#api.address(this.#name(name)))
  }

  #name(name: string): Uint8Array {
    const known = this.#names.get(name)
    if (known !== undefined) return known
    const bytes = new TextEncoder().encode(`${name}\0`)
    this.#names.set(name, bytes)
    return bytes
  }
}

const pointersOf = (tensors: OrtTensors): BigUint64Array =>
  BigUint64Array.from(tensors.values(), ({ pointer }) => pointer)
