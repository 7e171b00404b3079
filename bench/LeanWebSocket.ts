/**
 * A WebSocket's client that costs next to nothing, for load: all connections read into one buffer and leave no garbage but their texts. With
 * `ws`, each message's bytes live until a major collection, whose threads take the processors from the server that is measured.
 * It trusts its server: no more of RFC 6455 is checked than is needed to read on.
 */
import { EventEmitter } from "node:events"
import { connect, type Socket } from "node:net"

const Opcode = { text: 1, close: 8, ping: 9, pong: 10 } as const

export interface Events {
  readonly text: [text: string]
  /** Once, however it has ended. */
  readonly close: []
}

/** For whatever is read: what is in it is gone at the next read of any connection. */
const shared = Buffer.allocUnsafe(2 ** 16)

const headEnd = "\r\n\r\n"

/** Where a frame's payload begins and ends; null: that is not known yet. */
const payloadOf = (bytes: Buffer, at: number): readonly [begin: number, end: number] | null => {
  if (bytes.length < at + 2) return null
  const short = (bytes[at + 1] ?? 0) & 0x7f
  const begin = at + (short < 126 ? 2 : short === 126 ? 4 : 10)
  if (bytes.length < begin) return null
  const length =
    short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
  return [begin, begin + length]
}

export class LeanWebSocket extends EventEmitter<Events> {
  readonly #socket: Socket
  /** Has come, and is not a whole head or frame yet. */
  #rest: Buffer = Buffer.alloc(0)
  #upgraded = false

  constructor(port: number, path: string, headers: Readonly<Record<string, string>>) {
    super()
    this.#socket = connect({
      host: "127.0.0.1",
      port,
      noDelay: true,
      onread: {
        buffer: shared,
        callback: (length) => {
          this.#read(shared.subarray(0, length))
          return true
        }
      }
    })
    const own = {
      host: `127.0.0.1:${port}`,
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      // 16 bytes, any
      "sec-websocket-key": Buffer.alloc(16).toString("base64"),
      ...headers
    }
    const lines = Object.entries(own).map(([name, value]) => `${name}: ${value}`)
    this.#socket.write(`GET ${path} HTTP/1.1\r\n${lines.join("\r\n")}${headEnd}`)
    this.#socket.on("error", () => {})
    this.#socket.once("close", () => this.emit("close"))
  }

  send(text: string): void {
    this.sendFrame(Buffer.from(text), Opcode.text, true)
  }

  /** `opcode` 0 continues the message before, which was not its last part (`fin`). */
  sendFrame(payload: Buffer, opcode: number, fin: boolean): void {
    const { length } = payload
    const size = length < 126 ? 2 : length < 2 ** 16 ? 4 : 10
    // a mask of zeros leaves the payload as it is
    const head = Buffer.alloc(size + 4)
    head[0] = (fin ? 0x80 : 0) | opcode
    head[1] = 0x80 | (size === 2 ? length : size === 4 ? 126 : 127)
    if (size === 4) head.writeUInt16BE(length, 2)
    if (size === 10) head.writeBigUInt64BE(BigInt(length), 2)
    this.#socket.cork()
    this.#socket.write(head)
    this.#socket.write(payload)
    this.#socket.uncork()
  }

  /** Reads no more. */
  pause(): void {
    this.#socket.pause()
  }

  terminate(): void {
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = this.#upgraded ? 0 : this.#upgrade(bytes)
    for (let payload = this.#payload(bytes, at); payload !== null; payload = this.#payload(bytes, at)) {
      const [begin, end] = payload
      this.#take((bytes[at] ?? 0) & 0x0f, bytes, begin, end)
      at = end
    }
    this.#rest = at === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at))
  }

  /** Reads the answer to the handshake, if it is here; gives where it ends. */
  #upgrade(bytes: Buffer): number {
    const end = bytes.indexOf(headEnd)
    if (end < 0) return 0
    this.#upgraded = bytes.toString("latin1", 0, end).startsWith("HTTP/1.1 101")
    if (!this.#upgraded) this.terminate()
    return end + headEnd.length
  }

  /** Of a frame that is here whole. */
  #payload(bytes: Buffer, at: number): readonly [begin: number, end: number] | null {
    const payload = this.#upgraded ? payloadOf(bytes, at) : null
    return payload === null || payload[1] > bytes.length ? null : payload
  }

  #take(opcode: number, bytes: Buffer, begin: number, end: number): void {
    if (opcode === Opcode.text) this.emit("text", bytes.toString("utf8", begin, end))
    else if (opcode === Opcode.ping) this.sendFrame(Buffer.from(bytes.subarray(begin, end)), Opcode.pong, true)
    else if (opcode === Opcode.close) this.terminate()
  }
}
