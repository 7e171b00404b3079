/**
 * The protobuf wire format, as far as ONNX needs it: a writer that never copies what it is given, and a reader that hands out
 * views. Both know field numbers only; the schema is the caller's. https://protobuf.dev/programming-guides/encoding
 */

const WIRE_VARINT = 0
const WIRE_FIXED64 = 1
const WIRE_BYTES = 2
const WIRE_FIXED32 = 5

const encoder = new TextEncoder()

/**
 * Collects the fields of one message. Byte arrays are kept by reference (weights are large), so they must not change before
 * the message is written.
 */
export class ProtobufWriter {
  readonly #chunks: Array<Uint8Array> = []
  #length = 0

  /** Size of the message in bytes. */
  get length(): number {
    return this.#length
  }

  /** The message, in pieces to be written one after the other. */
  get chunks(): ReadonlyArray<Uint8Array> {
    return this.#chunks
  }

  /** An integer, enum or bool. Negative numbers take ten bytes, as the format wants them. */
  varint(field: number, value: number | bigint): this {
    return this.#tag(field, WIRE_VARINT).#raw(encodeVarint(value))
  }

  float(field: number, value: number): this {
    return this.#tag(field, WIRE_FIXED32).#raw(new Uint8Array(Float32Array.of(value).buffer))
  }

  bytes(field: number, value: Uint8Array): this {
    return this.#tag(field, WIRE_BYTES).#raw(encodeVarint(value.length)).#raw(value)
  }

  string(field: number, value: string): this {
    return this.bytes(field, encoder.encode(value))
  }

  message(field: number, value: ProtobufWriter): this {
    return this.#tag(field, WIRE_BYTES).#raw(encodeVarint(value.length)).fields(value)
  }

  /** Fields that are encoded already. */
  encoded(fields: Uint8Array): this {
    return this.#raw(fields)
  }

  /** All fields of another message. */
  fields(message: ProtobufWriter): this {
    for (const chunk of message.chunks) this.#raw(chunk)
    return this
  }

  /** The message in one piece: a copy. */
  finish(): Uint8Array {
    const out = new Uint8Array(this.#length)
    let offset = 0
    for (const chunk of this.#chunks) {
      out.set(chunk, offset)
      offset += chunk.length
    }
    return out
  }

  #tag(field: number, wireType: number): this {
    return this.#raw(encodeVarint(field * 8 + wireType))
  }

  #raw(bytes: Uint8Array): this {
    this.#chunks.push(bytes)
    this.#length += bytes.length
    return this
  }
}

function encodeVarint(value: number | bigint): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value))
  const out: Array<number> = []
  do {
    const low = Number(rest & 0x7fn)
    rest >>= 7n
    out.push(rest === 0n ? low : low | 0x80)
  } while (rest !== 0n)
  return Uint8Array.from(out)
}

/** One field as it stands in the message. `bytes` are views of the message, not copies. */
export type ProtobufField =
  | { readonly kind: "varint"; readonly field: number; readonly value: bigint }
  | { readonly kind: "fixed32"; readonly field: number; readonly bytes: Uint8Array }
  | { readonly kind: "fixed64"; readonly field: number; readonly bytes: Uint8Array }
  | { readonly kind: "bytes"; readonly field: number; readonly bytes: Uint8Array }

/** A message that ends in the middle of a field, or holds a wire type that protobuf 3 does not have. */
export class MalformedProtobuf extends Error {
  override readonly name = "MalformedProtobuf"
}

/** Reads the fields of one message in order. Throws {@link MalformedProtobuf}. */
export function* readFields(message: Uint8Array): Generator<ProtobufField, void, undefined> {
  let offset = 0

  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = message[offset]
      if (byte === undefined) throw new MalformedProtobuf("the message ends inside a varint")
      offset += 1
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asUintN(64, value)
    }
    throw new MalformedProtobuf("a varint is longer than ten bytes")
  }

  const take = (length: number): Uint8Array => {
    if (offset + length > message.length) throw new MalformedProtobuf("a field reaches past the end of the message")
    const view = message.subarray(offset, offset + length)
    offset += length
    return view
  }

  while (offset < message.length) {
    const tag = Number(varint())
    const field = Math.floor(tag / 8)
    const wireType = tag % 8
    switch (wireType) {
      case WIRE_VARINT:
        yield { kind: "varint", field, value: varint() }
        break
      case WIRE_FIXED64:
        yield { kind: "fixed64", field, bytes: take(8) }
        break
      case WIRE_BYTES:
        yield { kind: "bytes", field, bytes: take(Number(varint())) }
        break
      case WIRE_FIXED32:
        yield { kind: "fixed32", field, bytes: take(4) }
        break
      default:
        throw new MalformedProtobuf(`field ${field} has wire type ${wireType}`)
    }
  }
}
