/**
 * What an ONNX file says of its graph, read without its weights: a file may hold gigabytes, so weights are skipped by seeking.
 * Field numbers are those of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
 */
import * as fs from "node:fs"
import { TensorTypeNumber } from "./OnnxWriter.ts"
import { readFields } from "./Protobuf.ts"

/** A value of the graph. Dimensions are numbers, or names where they vary. */
export interface GraphValue {
  readonly name: string
  /** `float32`, …; `type N` for one that HelixFlow doesn't use. */
  readonly type: string
  readonly shape: ReadonlyArray<number | string>
}

export interface GraphNode {
  readonly operator: string
  readonly inputs: ReadonlyArray<string>
  readonly outputs: ReadonlyArray<string>
}

export interface ExternalFile {
  /** Relative to the ONNX file's folder. */
  readonly location: string
  /** Bytes that it must have at least. */
  readonly size: number
}

export interface OnnxFile {
  readonly inputs: ReadonlyArray<GraphValue>
  readonly outputs: ReadonlyArray<GraphValue>
  /** Of the main graph, in order. */
  readonly nodes: ReadonlyArray<GraphNode>
  /** Of the branches of its `If`s and `Loop`s, whose values are none of the main graph's. */
  readonly innerNodes: ReadonlyArray<GraphNode>
  /** The files that hold weights besides it. */
  readonly externalFiles: ReadonlyArray<ExternalFile>
}

const MODEL_GRAPH = 7
const GRAPH = { node: 1, initializer: 5, input: 11, output: 12 }
const NODE = { input: 1, output: 2, operator: 4, attribute: 5 }
const ATTRIBUTE = { graph: 6 }
const TENSOR = { name: 8, external: 13 }
const ENTRY = { key: 1, value: 2 }
const VALUE = { name: 1, type: 2 }
const TYPE = { tensor: 1 }
const TENSOR_TYPE = { element: 1, shape: 2 }
const SHAPE = { dimension: 1 }
const DIMENSION = { value: 1, name: 2 }

/** A varint has at most ten bytes; a field starts with two of them. */
const HEADER = 20
/** Nodes are read whole up to this size; larger ones hold branches with weights. */
const SMALL_NODE = 2 ** 16
const decoder = new TextDecoder()

/** Bytes of a message, wherever they are. */
export type Source = (start: number, end: number) => Uint8Array

/** Throws an `Error` if the file is no ONNX model. */
export function readOnnxFile(file: string): OnnxFile {
  const descriptor = fs.openSync(file, "r")
  try {
    return readModel(sourceOf(descriptor), fs.fstatSync(descriptor).size)
  } finally {
    fs.closeSync(descriptor)
  }
}

/** What is gathered while a model is read. */
interface Found {
  readonly nodes: Array<GraphNode>
  readonly innerNodes: Array<GraphNode>
  readonly inputs: Array<GraphValue>
  readonly outputs: Array<GraphValue>
  readonly constants: Set<string>
  /** Bytes by location. */
  readonly externalFiles: Map<string, number>
}

function readModel(source: Source, size: number): OnnxFile {
  const found: Found = {
    nodes: [],
    innerNodes: [],
    inputs: [],
    outputs: [],
    constants: new Set(),
    externalFiles: new Map()
  }
  for (const graph of fieldsOf(source, 0, size)) {
    if (graph.field === MODEL_GRAPH) readGraph(source, graph, found, found.nodes)
  }
  // old files list their weights among the inputs
  const inputs = found.inputs.filter(({ name }) => !found.constants.has(name))
  const externalFiles = [...found.externalFiles].map(([location, size]) => ({ location, size }))
  return { inputs, outputs: found.outputs, nodes: found.nodes, innerNodes: found.innerNodes, externalFiles }
}

function readGraph(source: Source, graph: Range, found: Found, nodes: Array<GraphNode>): void {
  const isMain = nodes === found.nodes
  for (const field of fieldsOf(source, graph.start, graph.end)) {
    if (field.field === GRAPH.node) nodes.push(readNode(source, field, found))
    else if (field.field === GRAPH.initializer) readConstant(source, field, found)
    else if (isMain && field.field === GRAPH.input) found.inputs.push(parseValue(source(field.start, field.end)))
    else if (isMain && field.field === GRAPH.output) found.outputs.push(parseValue(source(field.start, field.end)))
  }
}

function readNode(source: Source, { start, end }: Range, found: Found): GraphNode {
  if (end - start <= SMALL_NODE) {
    const bytes = source(start, end)
    return readFieldsOfNode((from, to) => bytes.subarray(from, to), { start: 0, end: bytes.length }, found)
  }
  return readFieldsOfNode(source, { start, end }, found)
}

function readFieldsOfNode(source: Source, node: Range, found: Found): GraphNode {
  const inputs: Array<string> = []
  const outputs: Array<string> = []
  let operator = ""
  for (const field of fieldsOf(source, node.start, node.end)) {
    const text = () => decoder.decode(source(field.start, field.end))
    if (field.field === NODE.input) inputs.push(text())
    else if (field.field === NODE.output) outputs.push(text())
    else if (field.field === NODE.operator) operator = text()
    else if (field.field === NODE.attribute) {
      for (const part of fieldsOf(source, field.start, field.end)) {
        if (part.field === ATTRIBUTE.graph) readGraph(source, part, found, found.innerNodes)
      }
    }
  }
  return { operator, inputs, outputs }
}

function readConstant(source: Source, { start, end }: Range, found: Found): void {
  const external = new Map<string, string>()
  for (const part of fieldsOf(source, start, end)) {
    if (part.field === TENSOR.name) found.constants.add(decoder.decode(source(part.start, part.end)))
    if (part.field !== TENSOR.external) continue
    const texts = new Map<number, string>()
    for (const text of fieldsOf(source, part.start, part.end)) {
      texts.set(text.field, decoder.decode(source(text.start, text.end)))
    }
    external.set(texts.get(ENTRY.key) ?? "", texts.get(ENTRY.value) ?? "")
  }
  const location = external.get("location")
  if (location === undefined) return
  const last = Number(external.get("offset") ?? 0) + Number(external.get("length") ?? 0)
  found.externalFiles.set(location, Math.max(found.externalFiles.get(location) ?? 0, last))
}

function parseValue(bytes: Uint8Array): GraphValue {
  let name = ""
  let type = "not a tensor"
  const shape: Array<number | string> = []
  for (const part of messages(bytes)) {
    if (part.field === VALUE.name) name = decoder.decode(part.bytes)
    if (part.field !== VALUE.type) continue
    for (const tensor of messages(part.bytes)) {
      if (tensor.field !== TYPE.tensor) continue
      for (const field of readFields(tensor.bytes)) {
        if (field.kind === "varint" && field.field === TENSOR_TYPE.element) type = typeName(Number(field.value))
        if (field.kind === "bytes" && field.field === TENSOR_TYPE.shape) shape.push(...parseShape(field.bytes))
      }
    }
  }
  return { name, type, shape }
}

function parseShape(bytes: Uint8Array): ReadonlyArray<number | string> {
  return messages(bytes)
    .filter(({ field }) => field === SHAPE.dimension)
    .map((dimension) => {
      for (const field of readFields(dimension.bytes)) {
        if (field.kind === "varint" && field.field === DIMENSION.value) return Number(field.value)
        if (field.kind === "bytes" && field.field === DIMENSION.name) return decoder.decode(field.bytes)
      }
      return ""
    })
}

const messages = (bytes: Uint8Array) => [...readFields(bytes)].filter((field) => field.kind === "bytes")

const typeName = (number: number): string =>
  Object.entries(TensorTypeNumber).find(([, value]) => value === number)?.[0] ?? `type ${number}`

export interface Range {
  readonly start: number
  readonly end: number
}

/** Where a field's bytes are, and where the field itself begins: with its number and length. */
export interface FieldRange extends Range {
  readonly field: number
  readonly from: number
}

/** Where the length-delimited fields of a message are. */
export function* fieldsOf(source: Source, start: number, end: number): Generator<FieldRange> {
  let offset = start
  while (offset < end) {
    const from = offset
    const header = source(offset, Math.min(end, offset + HEADER))
    const tag = readVarint(header, 0)
    const value = readVarint(header, tag.next)
    switch (tag.value % 8) {
      case 0:
        offset += value.next
        break
      case 1:
        offset += tag.next + 8
        break
      case 2:
        offset += value.next + value.value
        yield { field: Math.floor(tag.value / 8), from, start: offset - value.value, end: offset }
        break
      case 5:
        offset += tag.next + 4
        break
      default:
        throw new Error("the file is no ONNX model")
    }
  }
  if (offset !== end) throw new Error("the ONNX model is cut off")
}

/** Lengths are below 2^53, so they are numbers. A varint that the bytes do not end is cut, and found out by its field's end. */
function readVarint(bytes: Uint8Array, start: number): { readonly value: number; readonly next: number } {
  let value = 0
  let factor = 1
  let next = start
  while (next < bytes.length) {
    const byte = bytes[next++] ?? 0
    value += (byte & 0x7f) * factor
    if (byte < 0x80) break
    factor *= 128
  }
  return { value, next }
}

/** Bytes that are read at once: most fields are small and one after the other. */
const WINDOW = 2 ** 15

/** A file's bytes. What is handed out is not written over. */
export function sourceOf(descriptor: number): Source {
  let window = new Uint8Array(0)
  let offset = 0
  const read = (start: number, size: number) => {
    const bytes = new Uint8Array(size)
    return bytes.subarray(0, fs.readSync(descriptor, bytes, 0, size, start))
  }
  return (start, end) => {
    if (start < offset || end > offset + window.length) {
      window = read(start, Math.max(WINDOW, end - start))
      offset = start
      if (window.length < end - start) throw new Error("the ONNX model is cut off")
    }
    return window.subarray(start - offset, end - offset)
  }
}
