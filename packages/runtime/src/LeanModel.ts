/**
 * A model in memory without its weights, which stay in the files that have them: the runtime maps those into memory instead of reading
 * them into its own. So loading takes less time and memory than from the file itself, and what the graph computes can be edited without
 * writing gigabytes anywhere.
 *
 * Protobuf merges repeated occurrences of a field, so what is added to a graph is a second `graph` at the end.
 * Field numbers are those of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { type FieldRange, fieldsOf, type Range, type Source, sourceOf } from "./OnnxFile.ts"
import type { OnnxGraph } from "./OnnxWriter.ts"
import { ProtobufWriter } from "./Protobuf.ts"

export interface LeanModel {
  /** The model, whose weights are elsewhere. */
  readonly bytes: Uint8Array
  /** The folder that the files with the weights are named from. */
  readonly folder: string
}

/** Setting of a session: the folder that a model in memory has its weights below. */
export const WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"

/** One of a node's inputs takes another value. */
export interface Rewiring {
  /** The node's first output. */
  readonly node: string
  readonly input: string
  readonly by: string
}

export interface GraphEdits {
  /** Nodes, inputs and outputs that the graph has besides; outputs replace those of the same name. */
  readonly added: ReadonlyArray<OnnxGraph>
  readonly rewired: ReadonlyArray<Rewiring>
  /** First outputs of nodes that are left out, because added ones make the same values. */
  readonly removed?: ReadonlyArray<string>
}

/** Smaller tensors stay in the model: shape inference wants to see them, and they cost nothing. */
const THRESHOLD = 2 ** 16
/** Nodes above hold branches, none of which is edited. */
const LARGEST_NODE = 2 ** 16

const MODEL = { graph: 7 }
const GRAPH = { node: 1, initializer: 5, output: 12 }
const NODE = { input: 1, output: 2 }
const TENSOR = { raw: 9, external: 13, where: 14 }
const EXTERNAL = 1
const ENTRY = { key: 1, value: 2 }
const VALUE = { name: 1 }

/**
 * Reads a model without its weights. Throws an `Error` if the file is no ONNX model, or has weights in a file that is not below the
 * folder where it really is, which is where the runtime takes them from.
 */
export function readLeanModel(file: string, edits: GraphEdits): LeanModel {
  const real = fs.realpathSync(file)
  const folder = path.dirname(real)
  const descriptor = fs.openSync(real, "r")
  try {
    const reading = {
      source: sourceOf(descriptor),
      file: path.basename(real),
      relocate: (location: string) => locationBelow(folder, path.join(path.dirname(file), location)),
      edits,
      replaced: new Set(edits.added.flatMap((graph) => graph.outputNames))
    }
    const whole = { start: 0, end: fs.fstatSync(descriptor).size }
    const model = copyFields(reading.source, whole, (field) =>
      field.field === MODEL.graph ? new ProtobufWriter().message(MODEL.graph, leanGraph(reading, field)) : null
    )
    for (const graph of edits.added) model.message(MODEL.graph, graph.encode())
    return { bytes: model.finish(), folder }
  } finally {
    fs.closeSync(descriptor)
  }
}

interface Reading {
  readonly source: Source
  /** The model's own file. */
  readonly file: string
  /** Where a file with weights is, from where the model really is. */
  readonly relocate: (location: string) => string
  readonly edits: GraphEdits
  /** Outputs that are added, instead of those that the graph has. */
  readonly replaced: ReadonlySet<string>
}

/** What the runtime calls a file: its path from the folder, links followed. */
function locationBelow(folder: string, file: string): string {
  const location = path.relative(folder, fs.realpathSync(file))
  if (location.startsWith("..") || path.isAbsolute(location)) {
    throw new Error(`the weights in ${file} are outside of the model's folder`)
  }
  return location
}

/** A message with those fields replaced for which `replace` gives others, or none. */
function copyFields(
  source: Source,
  { start, end }: Range,
  replace: (field: FieldRange) => ProtobufWriter | null
): ProtobufWriter {
  const message = new ProtobufWriter()
  let copied = start
  for (const field of fieldsOf(source, start, end)) {
    const replacement = replace(field)
    if (replacement === null) continue
    message.encoded(source(copied, field.from)).fields(replacement)
    copied = field.end
  }
  return message.encoded(source(copied, end))
}

function leanGraph(reading: Reading, graph: Range): ProtobufWriter {
  return copyFields(reading.source, graph, (field) => {
    switch (field.field) {
      case GRAPH.initializer:
        return field.end - field.start < THRESHOLD ? relocated(reading, field) : outsourced(reading, field)
      case GRAPH.node:
        return field.end - field.start < LARGEST_NODE ? rewired(reading, field) : null
      case GRAPH.output:
        return reading.replaced.has(textOf(reading, field, VALUE.name)) ? new ProtobufWriter() : null
      default:
        return null
    }
  })
}

/** A tensor whose numbers are where they are in the model's own file. */
function outsourced(reading: Reading, tensor: Range): ProtobufWriter | null {
  let raw: Range | null = null
  for (const field of fieldsOf(reading.source, tensor.start, tensor.end)) if (field.field === TENSOR.raw) raw = field
  if (raw === null) return relocated(reading, tensor)
  const { end, start } = raw
  const proto = copyFields(reading.source, tensor, (field) =>
    field.field === TENSOR.raw ? new ProtobufWriter() : null
  )
    .message(TENSOR.external, entry("location", reading.file))
    .message(TENSOR.external, entry("offset", String(start)))
    .message(TENSOR.external, entry("length", String(end - start)))
    .varint(TENSOR.where, EXTERNAL)
  return new ProtobufWriter().message(GRAPH.initializer, proto)
}

/** A tensor in another file, by its name from where the model really is. */
function relocated(reading: Reading, tensor: Range): ProtobufWriter | null {
  let isMoved = false
  const proto = copyFields(reading.source, tensor, (field) => {
    if (field.field !== TENSOR.external || textOf(reading, field, ENTRY.key) !== "location") return null
    const location = textOf(reading, field, ENTRY.value)
    const moved = reading.relocate(location)
    if (moved === location) return null
    isMoved = true
    return new ProtobufWriter().message(TENSOR.external, entry("location", moved))
  })
  return isMoved ? new ProtobufWriter().message(GRAPH.initializer, proto) : null
}

function rewired(reading: Reading, node: Range): ProtobufWriter | null {
  const output = textOf(reading, node, NODE.output)
  if (reading.edits.removed?.includes(output) === true) return new ProtobufWriter()
  const wanted = reading.edits.rewired.filter((wire) => wire.node === output)
  if (wanted.length === 0) return null
  const proto = copyFields(reading.source, node, (field) => {
    if (field.field !== NODE.input) return null
    const input = decoder.decode(reading.source(field.start, field.end))
    const by = wanted.find((wire) => wire.input === input)?.by
    return by === undefined ? null : new ProtobufWriter().string(NODE.input, by)
  })
  return new ProtobufWriter().message(GRAPH.node, proto)
}

/** The first occurrence of a text; empty where there is none. */
function textOf({ source }: Reading, { start, end }: Range, name: number): string {
  for (const field of fieldsOf(source, start, end)) {
    if (field.field === name) return decoder.decode(source(field.start, field.end))
  }
  return ""
}

const entry = (key: string, value: string) => new ProtobufWriter().string(ENTRY.key, key).string(ENTRY.value, value)

const decoder = new TextDecoder()
