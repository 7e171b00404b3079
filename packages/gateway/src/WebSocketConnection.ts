/**
 * One open WebSocket as the gateway reads and writes it. What waits to be sent is bounded: a writer of a stream waits until the client
 * has read, one of events leaves them out, and a client that reads nothing for too long is cut off. A client that does not read is not
 * read from either, whatever it asks for.
 */
import { randomUUID } from "node:crypto"
import type { Duplex } from "node:stream"
import { Attribute, byAttributes, webSocketMessages } from "@helixflow/runtime/Telemetry"
import { Effect } from "effect"
import type { WebSocket } from "ws"
import type { ErrorBody } from "./OpenAiErrors.ts"
import type { PrincipalShape } from "./Principal.ts"
import { frameOf } from "./WebSocketFrame.ts"
import type { WebSocketLimitsShape } from "./WebSocketLimits.ts"
import type { RunningRequest } from "./WebSocketRequests.ts"

/** Codes of RFC 6455, section 7.4.1, and one of those that it leaves to servers. */
export const CloseCode = {
  goingAway: 1001,
  unsupported: 1003,
  policy: 1008,
  takenOver: 4001
} as const

/** Messages that a client may have done before the others have their turn: one read of a socket brings thousands. */
const mostInTurn = 32

const countMessage = byAttributes(webSocketMessages, [Attribute.direction])

export class WebSocketConnection {
  /** What the client resumes by; that of an earlier connection, once it has resumed one. */
  session = `ws_${randomUUID().replaceAll("-", "")}`
  /** Whether there was a request that is known by the session. */
  hasAsked = false
  /** Requests in progress, by the client's ids. */
  readonly requests = new Map<string, RunningRequest>()
  /** What ends each subscription, by topic. */
  readonly topics = new Map<string, () => void>()
  /** Pings since the client last gave a sign of life. */
  unanswered = 0
  /** When the client last said something, or was told the end of something, in milliseconds of `performance.now()`. */
  usedAt = performance.now()
  /** Why it is to be closed as soon as its requests have ended. */
  dismissed: string | undefined
  /** Messages that have come and can't be taken yet: no more than one read of the socket brings. */
  #deferred: Array<string> = []
  /** How many messages have been taken in this turn of the event loop. */
  #taken = 0
  /** How many messages are being done that no other may overtake. */
  #held = 0
  #stalled: ReturnType<typeof setTimeout> | undefined
  #readers: Array<() => void> = []

  constructor(
    readonly socket: WebSocket,
    /** What the socket reads from and writes to. */
    private readonly transport: Pick<Duplex, "cork" | "uncork" | "pause" | "write">,
    public principal: PrincipalShape,
    /** What the client has shown for it; never to be logged. */
    readonly authorization: string | undefined,
    private readonly limits: WebSocketLimitsShape,
    private readonly take: (connection: WebSocketConnection, text: string) => void
  ) {}

  get isOpen(): boolean {
    return this.socket.readyState === this.socket.OPEN
  }

  /** Whether more waits to be sent than may. */
  get isFull(): boolean {
    return this.socket.bufferedAmount > this.limits.bufferedBytes
  }

  /** Neither in the middle of something nor listening. */
  get isIdle(): boolean {
    return this.requests.size === 0 && this.topics.size === 0 && this.#held === 0
  }

  /** A message has come. */
  receive(text: string): void {
    if (!this.isOpen) return
    this.unanswered = 0
    this.usedAt = performance.now()
    countMessage(1, "received")
    if (this.#isBlocked) this.#deferred.push(text)
    else this.#take(text)
  }

  /** Takes no further message until what this gives is called: so messages are done in their order, and wait in the client. */
  hold(): () => void {
    this.#held++
    this.socket.pause()
    let held = true
    return () => {
      if (held) this.#held--
      held = false
      this.#goOn()
    }
  }

  ping(): void {
    this.unanswered++
    this.socket.ping()
  }

  send(text: string): void {
    if (!this.isOpen) return
    countMessage(1, "sent")
    // what the client wants compressed only ws can write
    if (this.socket.extensions === "") this.transport.write(frameOf(text), "latin1", this.#sent)
    else this.socket.send(text, this.#sent)
    if (this.#stalled !== undefined || !this.isFull) return
    this.socket.pause()
    this.#stalled = setTimeout(() => this.close(CloseCode.policy, "The client does not read."), this.limits.stallMillis)
  }

  /** Writes all that is sent meanwhile at once: a system call costs more than all else that is done for a message. */
  together(send: () => void): void {
    this.transport.cork()
    try {
      send()
    } finally {
      this.transport.uncork()
    }
  }

  sendError(error: ErrorBody["error"], id?: string): void {
    this.send(JSON.stringify({ type: "error", ...(id !== undefined && { id }), error }))
  }

  /** Waits until there is room again. */
  readonly drained: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (!this.isFull) return resume(Effect.void)
    const reader = () => resume(Effect.void)
    this.#readers.push(reader)
    return Effect.sync(() => {
      this.#readers = this.#readers.filter((other) => other !== reader)
    })
  })

  /** Closes it once its requests have ended. */
  dismiss(reason: string): void {
    this.dismissed = reason
    this.closeIfDismissed()
  }

  /** To be called when a request has ended. */
  closeIfDismissed(): void {
    if (this.dismissed !== undefined && this.requests.size === 0) this.close(CloseCode.policy, this.dismissed)
  }

  /** Says why, and does not wait for ever to be understood. */
  close(code: number, reason: string): void {
    this.#deferred = []
    this.socket.close(code, reason)
    this.#terminateSoon()
  }

  /**
   * What came is no message, and the client has been told so: no more is read. To read on and throw it away would have the garbage
   * collector look at all that the others have, for every few messages that are too large.
   */
  refuse(): void {
    // ws reads on in the next tick
    process.nextTick(() => this.transport.pause())
    this.#terminateSoon()
  }

  /** To be called when the socket has closed. */
  closed(): void {
    clearTimeout(this.#stalled)
    this.#deferred = []
    for (const leave of this.topics.values()) leave()
    this.topics.clear()
  }

  #terminateSoon(): void {
    setTimeout(() => this.socket.terminate(), this.limits.closeMillis).unref()
  }

  get #isBlocked(): boolean {
    return this.#held > 0 || this.#stalled !== undefined || this.#taken >= mostInTurn
  }

  readonly #sent = () => {
    if (this.#stalled === undefined || this.isFull) return
    clearTimeout(this.#stalled)
    this.#stalled = undefined
    const readers = this.#readers
    this.#readers = []
    for (const reader of readers) reader()
    this.#goOn()
  }

  #take(text: string): void {
    this.#taken++
    if (this.#taken === 1) setImmediate(this.#turned)
    if (this.#taken === mostInTurn) this.socket.pause()
    this.take(this, text)
  }

  readonly #turned = () => {
    const hadEnough = this.#taken >= mostInTurn
    this.#taken = 0
    if (hadEnough) this.#goOn()
  }

  /** Takes what has been put off, and then reads on. */
  #goOn(): void {
    if (this.#isBlocked) return
    const deferred = this.isOpen ? this.#deferred : []
    this.#deferred = []
    for (const [index, text] of deferred.entries()) {
      if (this.#isBlocked) {
        this.#deferred = deferred.slice(index)
        return
      }
      this.#take(text)
    }
    if (!this.#isBlocked) this.socket.resume()
  }
}
