/** Answers of other servers on a WebSocket: their events become messages. Nothing of them is kept, so that none can be resumed. */
import { UpstreamUnavailable } from "@helixflow/schema/Errors"
import { Effect, Stream } from "effect"
import type { UpstreamAnswer } from "./Upstream.ts"
import type { WebSocketConnection } from "./WebSocketConnection.ts"

const parse = (json: string): unknown => {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null && name in value
    ? Object.entries(value).find(([key]) => key === name)?.[1]
    : undefined

const notUnderstood = new UpstreamUnavailable({
  upstream: "upstream",
  reason: "its answer is no stream of chat completions",
  retryAfterSeconds: 1
})

/** The lines of a text that comes in pieces, but for one that has no end yet. */
class Lines {
  readonly #decoder = new TextDecoder()
  #rest = ""

  add(bytes: Uint8Array): ReadonlyArray<string> {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split(/\r?\n/)
    this.#rest = lines.pop() ?? ""
    return lines
  }
}

/** Tells the client of its request `id` what another server answers: chunks, and then the end or an error. */
export const tell = (
  connection: WebSocketConnection,
  id: string,
  { body }: UpstreamAnswer
): Effect.Effect<void, UpstreamUnavailable> => {
  const name = JSON.stringify(id)
  if (body instanceof Uint8Array) {
    const error = field(parse(Buffer.from(body).toString()), "error")
    return error === undefined
      ? notUnderstood
      : Effect.sync(() => connection.send(`{"type":"error","id":${name},"error":${JSON.stringify(error)}}`))
  }
  const lines = new Lines()
  let seq = 0
  let usage: unknown = null
  let ended = false
  const event = (data: string): boolean => {
    if (data === "[DONE]") {
      connection.send(`{"type":"chat.completion.done","id":${name},"seq":${seq},"usage":${JSON.stringify(usage)}}`)
      ended = true
      return true
    }
    const chunk = parse(data)
    if (chunk === undefined) return false
    const error = field(chunk, "error")
    if (error === undefined) {
      connection.send(`{"type":"chat.completion.chunk","id":${name},"seq":${seq++},"data":${data}}`)
      usage = field(chunk, "usage") ?? usage
    } else {
      connection.send(`{"type":"error","id":${name},"error":${JSON.stringify(error)}}`)
      ended = true
    }
    return true
  }
  return Stream.runForEach(body, (bytes) =>
    Effect.suspend(() => {
      for (const line of lines.add(bytes)) {
        if (line.startsWith("data:") && !ended && !event(line.slice(5).trim())) return notUnderstood
      }
      return connection.isFull ? connection.drained : Effect.void
    })
  ).pipe(
    // a server that has told an error ends its stream as it likes
    Effect.catchAll((error) => (ended ? Effect.void : error))
  )
}
