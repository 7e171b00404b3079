/**
 * Builds ONNX models without the `onnx` package: a graph under construction, and its encoding as a `ModelProto`, with weights
 * inside the file or beside it. Field numbers are those of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { LARGEST_FLOAT16, toFloat16 } from "./HalfFloat.ts"
import { ProtobufWriter } from "./Protobuf.ts"

/** `TensorProto.DataType` numbers. */
export const TensorTypeNumber = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10
} as const
export type TensorType = keyof typeof TensorTypeNumber

/** A dimension: its size, or the name of a size known only at run time. */
export type Dimension = number | string

export type Attribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly string: string }
  | { readonly ints: ReadonlyArray<number> }
  | { readonly graph: OnnxGraph }

export interface NodeOptions {
  readonly attributes?: Readonly<Record<string, Attribute>>
  /** Operator set; the standard one when absent. */
  readonly domain?: string
}

/** Operators that ONNX Runtime adds to the standard ones. */
export const MICROSOFT_DOMAIN = "com.microsoft"

interface Initializer {
  readonly name: string
  readonly type: TensorType
  readonly dims: ReadonlyArray<number>
  readonly data: Uint8Array
}

export interface OnnxGraphOptions {
  /**
   * For a branch of an `If`: the graph around it, whose values the branch sees and which keeps its constants, as exporters do that
   * share weights between branches.
   */
  readonly parent?: OnnxGraph
  /** `float16`: all that is given as float32 is written in half precision, as converters do. */
  readonly precision?: "float32" | "float16"
  /** What names of nodes begin with, for a graph that is added to another: no two may have the same. */
  readonly nodes?: string
}

/** A graph under construction. Values are named by strings, as in ONNX; `node` names what it makes and returns that name. */
export class OnnxGraph {
  readonly #nodes: Array<ProtobufWriter> = []
  readonly #inputs: Array<ProtobufWriter> = []
  readonly #outputs: Array<ProtobufWriter> = []
  readonly #outputNames: Array<string> = []
  readonly #initializers = new Map<string, Initializer>()
  #counter = 0

  /** The graph that this one is a branch of. */
  readonly #parent: OnnxGraph | null
  readonly #precision: "float32" | "float16"
  readonly #nodePrefix: string

  constructor(
    readonly name: string,
    options: OnnxGraphOptions = {}
  ) {
    this.#parent = options.parent ?? null
    this.#precision = options.precision ?? "float32"
    this.#nodePrefix = options.nodes ?? "node"
  }

  /** A value name that no other call has been given. */
  unique(prefix: string): string {
    return this.#parent === null ? `${prefix}_${this.#counter++}` : this.#parent.unique(prefix)
  }

  input(name: string, type: TensorType, dims: ReadonlyArray<Dimension>): string {
    this.#inputs.push(valueInfo(name, this.#typeOf(type), dims))
    return name
  }

  output(name: string, type: TensorType, dims: ReadonlyArray<Dimension>): void {
    this.#outputNames.push(name)
    this.#outputs.push(valueInfo(name, this.#typeOf(type), dims))
  }

  get outputNames(): ReadonlyArray<string> {
    return this.#outputNames
  }

  /**
   * A constant. `data` holds the elements in row-major order and is kept by reference; float16 comes as `Uint16Array`, bool as
   * `Uint8Array`. A second call with the same name returns the first constant.
   */
  initializer(name: string, type: TensorType, dims: ReadonlyArray<number>, data: ArrayBufferView): string {
    if (this.#parent !== null) return this.#parent.initializer(name, type, dims, data)
    if (!this.#initializers.has(name)) {
      const kept = this.#typeOf(type) === type ? data : halves(data)
      const bytes = new Uint8Array(kept.buffer, kept.byteOffset, kept.byteLength)
      this.#initializers.set(name, { name, type: this.#typeOf(type), dims, data: bytes })
    }
    return name
  }

  #typeOf(type: TensorType): TensorType {
    return type === "float32" ? this.#precision : type
  }

  /** An int64 constant, named after its content so that equal ones are stored once. A vector unless `dims` says otherwise. */
  int64s(values: ReadonlyArray<number>, dims: ReadonlyArray<number> = [values.length]): string {
    const name = `i64_${dims.join("x")}_${values.join("_")}`
    return this.initializer(name, "int64", dims, BigInt64Array.from(values, BigInt))
  }

  /** A float32 scalar constant, stored once per value. */
  float32(value: number): string {
    return this.initializer(`f32_${value}`, "float32", [], Float32Array.of(value))
  }

  /** Adds an operator with one output and returns the output's name. */
  node(operator: string, inputs: ReadonlyArray<string>, options: NodeOptions = {}): string {
    const output = this.unique(operator)
    this.nodeInto(operator, inputs, [output], options)
    return output
  }

  /** Adds an operator whose outputs the caller names. An empty name leaves an optional input or output out. */
  nodeInto(
    operator: string,
    inputs: ReadonlyArray<string>,
    outputs: ReadonlyArray<string>,
    options: NodeOptions = {}
  ): void {
    const node = new ProtobufWriter()
    for (const input of inputs) node.string(1, input)
    for (const output of outputs) node.string(2, output)
    node.string(3, this.unique(`${this.#nodePrefix}_${operator}`)).string(4, operator)
    for (const [name, attribute] of Object.entries(options.attributes ?? {})) {
      const isWidening = operator === "Cast" && "int" in attribute && attribute.int === TensorTypeNumber.float32
      const given = isWidening ? { int: TensorTypeNumber[this.#precision] } : attribute
      node.message(5, attributeProto(name, given))
    }
    if (options.domain !== undefined) node.string(7, options.domain)
    this.#nodes.push(node)
  }

  /**
   * The graph as a `GraphProto`. Initializers that `external` accepts are stored by reference to it, in turn to each of several;
   * without one, inline.
   * Protobuf merges repeated occurrences of a field, so an encoded graph can also be appended to an existing model.
   */
  encode(external: ReadonlyArray<ExternalData> = []): ProtobufWriter {
    const graph = new ProtobufWriter()
    for (const node of this.#nodes) graph.message(1, node)
    graph.string(2, this.name)
    let next = 0
    for (const initializer of this.#initializers.values()) {
      const isExternal = external.length > 0 && initializer.data.length >= ExternalData.threshold
      graph.message(5, tensorProto(initializer, isExternal ? external[next++ % external.length] : undefined))
    }
    for (const input of this.#inputs) graph.message(11, input)
    for (const output of this.#outputs) graph.message(12, output)
    return graph
  }
}

/** Weights beside the model: a file of page-aligned tensors, so that the runtime can map it into memory. */
export class ExternalData {
  static readonly alignment = 4096
  /** Smaller tensors stay in the model: shape inference wants to see them. */
  static readonly threshold = 1024

  readonly #chunks: Array<Uint8Array> = []
  #length: number

  /**
   * @param location file name, relative to the model's folder
   * @param start where the first tensor is, as in a file that models share
   */
  constructor(
    readonly location: string,
    readonly start = 0
  ) {
    this.#length = start
  }

  get chunks(): ReadonlyArray<Uint8Array> {
    return this.#chunks
  }

  /** Places the tensor's bytes and returns their offset. */
  append(data: Uint8Array): number {
    const padding = (ExternalData.alignment - (this.#length % ExternalData.alignment)) % ExternalData.alignment
    const offset = this.#length + padding
    this.#chunks.push(new Uint8Array(padding), data)
    this.#length = offset + data.length
    return offset
  }
}

export interface WriteModelOptions {
  /** Version of the standard operator set. */
  readonly opset?: number
  /** Puts the weights into `<file>_data`. Needed above protobuf's limit of 2 GB a file. */
  readonly externalData?: boolean | ExternalDataOptions
}

export interface ExternalDataOptions {
  /** Files that the weights are spread over: `<file>_data`, `<file>_data_1`, … */
  readonly files?: number
  /** Bytes of each that are left free: what another model has there, or nothing. */
  readonly start?: number
}

/** Writes the graph as an ONNX model, making the folders it needs. */
export function writeOnnxModel(graph: OnnxGraph, file: string, options: WriteModelOptions = {}): void {
  const external = externalFiles(path.basename(file), options.externalData ?? false)
  const encoded = graph.encode(external)
  const model = new ProtobufWriter()
    .varint(1, 8) // IR version 8: the one that came with opset 17
    .string(2, "helixflow")
    .message(7, encoded)
    .message(8, new ProtobufWriter().string(1, "").varint(2, options.opset ?? 17))
    .message(8, new ProtobufWriter().string(1, MICROSOFT_DOMAIN).varint(2, 1))
  fs.mkdirSync(path.dirname(file), { recursive: true })
  writeChunks(file, model.chunks)
  for (const { location, chunks, start } of external)
    writeChunks(path.join(path.dirname(file), location), chunks, start)
}

function externalFiles(name: string, options: boolean | ExternalDataOptions): ReadonlyArray<ExternalData> {
  if (options === false) return []
  const { files = 1, start = 0 } = options === true ? {} : options
  const suffix = (index: number) => (index === 0 ? "" : `_${index}`)
  return Array.from({ length: files }, (_, index) => new ExternalData(`${name}_data${suffix(index)}`, start))
}

function writeChunks(file: string, chunks: ReadonlyArray<Uint8Array>, start = 0): void {
  const descriptor = fs.openSync(file, "w")
  let position = start
  try {
    for (const chunk of chunks) {
      for (let offset = 0; offset < chunk.length; ) {
        const written = fs.writeSync(descriptor, chunk, offset, chunk.length - offset, position)
        offset += written
        position += written
      }
    }
  } finally {
    fs.closeSync(descriptor)
  }
}

/** Half floats; what is too large is the largest one, since the lowest float hides what a mask hides and infinity breaks it. */
function halves(data: ArrayBufferView): Uint16Array {
  const values = new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4)
  return toFloat16(values.map((value) => Math.max(-LARGEST_FLOAT16, Math.min(LARGEST_FLOAT16, value))))
}

function attributeProto(name: string, attribute: Attribute): ProtobufWriter {
  const proto = new ProtobufWriter().string(1, name)
  if ("int" in attribute) return proto.varint(3, attribute.int).varint(20, 2)
  if ("float" in attribute) return proto.float(2, attribute.float).varint(20, 1)
  if ("string" in attribute) return proto.string(4, attribute.string).varint(20, 3)
  if ("graph" in attribute) return proto.message(6, attribute.graph.encode()).varint(20, 5)
  for (const value of attribute.ints) proto.varint(8, value)
  return proto.varint(20, 7)
}

function valueInfo(name: string, type: TensorType, dims: ReadonlyArray<Dimension>): ProtobufWriter {
  const shape = new ProtobufWriter()
  for (const dim of dims) {
    shape.message(
      1,
      typeof dim === "number" ? new ProtobufWriter().varint(1, dim) : new ProtobufWriter().string(2, dim)
    )
  }
  const tensor = new ProtobufWriter().varint(1, TensorTypeNumber[type]).message(2, shape)
  return new ProtobufWriter().string(1, name).message(2, new ProtobufWriter().message(1, tensor))
}

function tensorProto({ name, type, dims, data }: Initializer, external: ExternalData | undefined): ProtobufWriter {
  const proto = new ProtobufWriter()
  for (const dim of dims) proto.varint(1, dim)
  proto.varint(2, TensorTypeNumber[type]).string(8, name)
  if (external === undefined) return proto.bytes(9, data)
  const entry = (key: string, value: string) => new ProtobufWriter().string(1, key).string(2, value)
  return proto
    .message(13, entry("location", external.location))
    .message(13, entry("offset", String(external.append(data))))
    .message(13, entry("length", String(data.length)))
    .varint(14, 1)
}
