/** Clients of a WebSocket server, in a process of their own: told what to do by messages, each answered when it is done. */
import { once } from "node:events"
import { key } from "./ChatRequest.ts"
import { LeanWebSocket } from "./LeanWebSocket.ts"
import { nowMicros } from "./MonotonicClock.ts"

/** What can be told. */
export type Command =
  /** So many more connections that do nothing. */
  | { readonly type: "hold"; readonly port: number; readonly count: number }
  /** A stream each on so many of the connections; `drop`: the share of them that are cut off on the way, and come back. */
  | { readonly type: "stream"; readonly count: number; readonly tokens: number; readonly drop: number }
  /** Streams and so many questions more, whose answers nobody reads, on a connection more. */
  | { readonly type: "deafen"; readonly port: number; readonly streams: number; readonly questions: number }
  /** Messages of so many bytes, whole and in fragments, on connections more; done when they are refused. */
  | { readonly type: "overfill"; readonly port: number; readonly bytes: number; readonly times: number }

export interface Streamed {
  /** Streams of which each token came once. */
  readonly whole: number
  readonly resumed: number
  /** From when the first stream was asked for until each had its first token, in seconds. */
  readonly starting: number
  /** Of the tokens that were due from then on, while all streams ran. */
  readonly running: Lateness
  /** Of all tokens, those that were due while streams began too. */
  readonly all: Lateness
  /** Cores that the clients have used. */
  readonly busy: number
}

/** Milliseconds from when a token was due until it was here. What was made while its client was away is not counted. */
export interface Lateness {
  readonly p50: number
  readonly p99: number
  readonly longest: number
}

/**
 * When tokens were due and how late they were, in microseconds. Kept where the garbage collector has nothing to look at: while it marks,
 * its threads take the processors from the server that is measured.
 */
class Arrivals {
  readonly #due: Float64Array
  readonly #late: Float64Array
  #count = 0

  constructor(most: number) {
    this.#due = new Float64Array(most)
    this.#late = new Float64Array(most)
  }

  add(due: number, late: number): void {
    this.#due[this.#count] = due
    this.#late[this.#count++] = late
  }

  /** Of those that were due at this time or later. */
  latenessFrom(from: number): Lateness {
    const due = this.#due.subarray(0, this.#count)
    const late = this.#late.subarray(0, this.#count).filter((_, index) => (due[index] ?? 0) >= from)
    late.sort()
    const at = (share: number) =>
      (late[Math.min(late.length - 1, Math.floor(late.length * share))] ?? Number.NaN) / 1_000
    return { p50: at(0.5), p99: at(0.99), longest: at(1) }
  }
}

const headers = { authorization: `Bearer ${key}` }

/** Connections that are being opened at once. */
const atOnce = 50

class Client {
  socket: LeanWebSocket
  session = ""
  opened: Promise<void>
  onMessage: (text: string) => void = () => {}

  constructor(readonly port: number) {
    ;[this.socket, this.opened] = this.connect()
  }

  connect(): [LeanWebSocket, Promise<void>] {
    const socket = new LeanWebSocket(this.port, "/v1/ws", headers)
    const opened = new Promise<void>((resolve, reject) => {
      socket.once("text", (first) => {
        this.session = JSON.parse(first).session
        socket.on("text", (text) => this.onMessage(text))
        resolve()
      })
      socket.once("close", () => reject(new Error("the connection has ended")))
    })
    return [socket, opened]
  }

  reconnect(): Promise<void> {
    this.socket.terminate()
    ;[this.socket, this.opened] = this.connect()
    return this.opened
  }

  send(message: object): void {
    this.socket.send(JSON.stringify(message))
  }
}

const clients: Array<Client> = []

const hold = async (port: number, count: number) => {
  let left = count
  const opener = async () => {
    while (left-- > 0) {
      const client = new Client(port)
      await client.opened
      clients.push(client)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, opener))
}

const create = (id: string, tokens: number) => ({
  type: "chat.completions.create",
  id,
  body: { model: "helix-demo", max_tokens: tokens, messages: [{ role: "user", content: "hi" }] }
})

/** The number behind the first `mark` from there on. */
const numberAfter = (text: string, mark: string, from: number): number =>
  Number.parseInt(text.slice(text.indexOf(mark, from) + mark.length, from + 1_000), 10)

let turns = 0

/** One stream on one connection; cut off once behind the token `dropAt`, if that is one. */
const stream = (
  client: Client,
  tokens: number,
  dropAt: number,
  arrivals: Arrivals,
  onFirst: (now: number) => void
): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const id = `r${turns++}`
    let next = 0
    let whole = true
    let lastSeq = -1
    let comes = 0
    client.onMessage = (text) => {
      const now = nowMicros()
      // what is measured is the server: no more is read of a message than is looked at
      if (text.startsWith(`{"type":"session"`)) return
      if (text.startsWith(`{"type":"error"`)) return reject(new Error(text))
      const seq = numberAfter(text, `"seq":`, 0)
      whole &&= seq === lastSeq + 1
      lastSeq = seq
      if (text.startsWith(`{"type":"chat.completion.done"`)) return resolve(whole && next === tokens)
      for (let at = text.indexOf("@"); at >= 0; at = text.indexOf("@", at + 1)) {
        whole &&= text.slice(0, at).endsWith(`"${next}`) || text.slice(0, at).endsWith(` ${next}`)
        if (next++ === 0) onFirst(now)
        const due = numberAfter(text, "@", at)
        if (due > comes) arrivals.add(due, now - due)
      }
      if (next > dropAt) {
        dropAt = Number.POSITIVE_INFINITY
        const lost = client.session
        client.reconnect().then(() => {
          comes = nowMicros()
          client.send({ type: "resume", session: lost, last_seq: lastSeq })
        }, reject)
      }
    }
    client.send(create(id, tokens))
  })

const streams = async ({ count, drop, tokens }: Extract<Command, { type: "stream" }>): Promise<Streamed> => {
  const arrivals = new Arrivals(count * tokens)
  const began = nowMicros()
  const used = process.cpuUsage()
  let allRun = began
  const onFirst = (now: number) => {
    allRun = Math.max(allRun, now)
  }
  const each = clients.slice(0, count).map(async (client, n) => {
    // as they come in life, not all in one moment
    await new Promise((resolve) => setTimeout(resolve, (n / count) * 1_000))
    const dropAt = n < count * drop ? Math.floor(Math.random() * (tokens - 10)) : Number.POSITIVE_INFINITY
    return await stream(client, tokens, dropAt, arrivals, onFirst)
  })
  const whole = (await Promise.all(each)).filter((isWhole) => isWhole).length
  const { system, user } = process.cpuUsage(used)
  return {
    whole,
    resumed: Math.ceil(count * drop),
    starting: (allRun - began) / 1e6,
    running: arrivals.latenessFrom(allRun),
    all: arrivals.latenessFrom(0),
    busy: (user + system) / (nowMicros() - began)
  }
}

const deafen = async ({ port, questions, streams }: Extract<Command, { type: "deafen" }>) => {
  const client = new Client(port)
  await client.opened
  client.socket.pause()
  for (let n = 0; n < streams; n++) client.send(create(`deaf ${n}`, 10_000))
  for (let n = 0; n < questions; n++) client.send({ type: n % 2 === 0 ? "ping" : "nonsense" })
}

/** A message that is too large, as one frame or as many; done when the connection has been closed for it. */
const overfill = async (port: number, bytes: number, parts: number): Promise<void> => {
  const client = new Client(port)
  await client.opened
  const part = Buffer.alloc(bytes / parts, "x")
  for (let n = 0; n < parts; n++) client.socket.sendFrame(part, n === 0 ? 1 : 0, n === parts - 1)
  await once(client.socket, "close")
}

const obey = async (command: Command): Promise<unknown> => {
  switch (command.type) {
    case "hold":
      return await hold(command.port, command.count)
    case "stream":
      return await streams(command)
    case "deafen":
      return await deafen(command)
    case "overfill":
      for (let n = 0; n < command.times; n++) await overfill(command.port, command.bytes, n % 2 === 0 ? 1 : 256)
      return null
  }
}

process.on("message", (command: Command) => {
  obey(command).then(
    (done) => process.send?.({ done: done ?? null }),
    (error) => {
      console.error(error)
      process.exit(1)
    }
  )
})
process.once("disconnect", () => process.exit())
