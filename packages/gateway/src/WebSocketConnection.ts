/**
 * One open WebSocket as the gateway writes to it. What waits to be sent is bounded: a writer of a stream waits until the client has
 * read, one of events leaves them out, and a client that reads nothing for too long is cut off.
 */
import { randomUUID } from "node:crypto"
import type { SessionId } from "@helixflow/schema/Ids"
import { Effect, type Fiber } from "effect"
import type { WebSocket } from "ws"
import type { ErrorBody } from "./OpenAiErrors.ts"
import type { PrincipalShape } from "./Principal.ts"
import type { WebSocketLimitsShape } from "./WebSocketLimits.ts"

/** Codes of RFC 6455, section 7.4.1, and of its registry. */
export const CloseCode = { normal: 1000, goingAway: 1001, unsupported: 1003, policy: 1008, internal: 1011 } as const

/** Milliseconds that a client has to answer a close. */
const closeMillis = 1_000

export interface RunningRequest {
  readonly fiber: Fiber.RuntimeFiber<void>
  /** How it is known to others, once it is. */
  readonly progress: { completion: SessionId | undefined }
}

export class WebSocketConnection {
  /** What the client resumes by; that of an earlier connection, once it has resumed one. */
  session = `ws_${randomUUID().replaceAll("-", "")}`
  /** Requests in progress, by the client's ids. */
  readonly requests = new Map<string, RunningRequest>()
  /** How many requests there have been. */
  turns = 0
  /** What ends each subscription, by topic. */
  readonly topics = new Map<string, () => void>()
  /** When the client last gave a sign of life, in milliseconds of `performance.now()`. */
  heardAt = performance.now()
  #waiting = 0
  #stalled: ReturnType<typeof setTimeout> | undefined
  #readers: Array<() => void> = []

  constructor(
    readonly socket: WebSocket,
    readonly principal: PrincipalShape,
    private readonly limits: WebSocketLimitsShape
  ) {}

  get isOpen(): boolean {
    return this.socket.readyState === this.socket.OPEN
  }

  /** Whether more waits to be sent than may. */
  get isFull(): boolean {
    return this.#waiting > this.limits.bufferedBytes
  }

  send(text: string): void {
    if (!this.isOpen) return
    const size = text.length
    this.#waiting += size
    this.socket.send(text, () => {
      this.#waiting -= size
      if (!this.isFull) this.#released()
    })
    if (this.isFull && this.#stalled === undefined) {
      this.#stalled = setTimeout(
        () => this.close(CloseCode.policy, "The client does not read."),
        this.limits.stallMillis
      )
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

  /** Says why, and does not wait for ever to be understood. */
  close(code: number, reason: string): void {
    this.socket.close(code, reason)
    setTimeout(() => this.socket.terminate(), closeMillis).unref()
  }

  /** To be called when the socket has closed. */
  closed(): void {
    clearTimeout(this.#stalled)
    for (const leave of this.topics.values()) leave()
    this.topics.clear()
  }

  #released(): void {
    clearTimeout(this.#stalled)
    this.#stalled = undefined
    const readers = this.#readers
    this.#readers = []
    for (const reader of readers) reader()
  }
}
