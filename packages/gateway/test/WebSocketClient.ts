/** A WebSocket as a client has it: what it is told, in order. */
import { Effect, type Scope } from "effect"
import WebSocket from "ws"

export type Told = Readonly<Record<string, unknown>> & { readonly type: string }

export interface Client {
  readonly socket: WebSocket
  readonly send: (message: unknown) => void
  /** The next message, or what the connection was closed with. */
  readonly next: Effect.Effect<Told>
  /** Messages until one that fits, which is the last. */
  readonly until: (fits: (message: Told) => boolean) => Effect.Effect<ReadonlyArray<Told>>
}

const closed = (code: number, reason: string): Told => ({ type: "closed", code, reason })

/** Connects; a handshake that is refused is a message `refused` with its status and body. */
export const connect = (
  url: string,
  options: WebSocket.ClientOptions & { readonly protocols?: ReadonlyArray<string> } = {}
): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const { protocols = [], ...others } = options
        const socket = new WebSocket(`${url.replace(/^http/, "ws")}/v1/ws`, [...protocols], others)
        const waiting: Array<Told> = []
        let wake: (() => void) | undefined
        const tell = (message: Told) => {
          waiting.push(message)
          wake?.()
        }
        socket.on("message", (data) => tell(JSON.parse(String(data))))
        socket.on("close", (code, reason) => tell(closed(code, String(reason))))
        socket.on("error", () => {})
        socket.on("unexpected-response", (_request, response) => {
          let text = ""
          response.on("data", (chunk) => {
            text += String(chunk)
          })
          response.on("end", () => tell({ type: "refused", status: response.statusCode, body: JSON.parse(text) }))
        })
        const next = Effect.async<Told>((resume) => {
          const take = () => {
            const message = waiting.shift()
            if (message === undefined) return
            wake = undefined
            resume(Effect.succeed(message))
          }
          wake = take
          take()
        })
        return { socket, next }
      }),
      ({ socket }) => Effect.sync(() => socket.terminate())
    ),
    ({ next, socket }) => ({
      socket,
      next,
      send: (message) => socket.send(typeof message === "string" ? message : JSON.stringify(message)),
      until: (fits) =>
        Effect.gen(function* () {
          const all: Array<Told> = []
          for (;;) {
            const message = yield* next
            all.push(message)
            if (fits(message) || message.type === "closed") return all
          }
        })
    })
  )
