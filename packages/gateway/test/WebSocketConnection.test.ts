import { createServer } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Schedule } from "effect"
import WebSocket, { WebSocketServer } from "ws"
import { unlimited } from "../src/Admission.ts"
import { WebSocketConnection } from "../src/WebSocketConnection.ts"
import { WebSocketLimits, type WebSocketLimitsShape } from "../src/WebSocketLimits.ts"

const principal = { id: "p", tenant: "p", scopes: new Set<never>(), weight: 1, admission: unlimited }

/** A connection of a server's side, which is given to `take` whatever comes, and its client. */
const connected = (
  take: (connection: WebSocketConnection, text: string) => void,
  limits: Partial<WebSocketLimitsShape> = {}
) =>
  Effect.gen(function* () {
    const defaults = Context.get(Context.empty(), WebSocketLimits)
    const http = yield* Effect.acquireRelease(
      Effect.async<ReturnType<typeof createServer>>((resume) => {
        const server = createServer()
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    )
    const server = new WebSocketServer({ server: http })
    const address = http.address()
    const port = address !== null && typeof address === "object" ? address.port : 0
    return yield* Effect.acquireRelease(
      Effect.async<{ client: WebSocket; connection: WebSocketConnection }>((resume) => {
        const client = new WebSocket(`ws://127.0.0.1:${port}`)
        server.once("connection", (socket, { socket: transport }) => {
          const all = { ...defaults, ...limits }
          const connection = new WebSocketConnection(socket, transport, principal, undefined, all, take)
          socket.on("message", (data) => connection.receive(String(data)))
          socket.once("close", () => connection.closed())
          client.once("open", () => resume(Effect.succeed({ client, connection })))
        })
      }),
      ({ client, connection }) =>
        Effect.sync(() => {
          client.terminate()
          connection.socket.terminate()
        })
    )
  })

const until = (isSo: () => boolean) =>
  Effect.repeat(Effect.void, { until: isSo, schedule: Schedule.spaced("1 millis") })

describe("A text that is sent", () => {
  it.scopedLive("comes as it is, whatever its length and its characters, whole or among others", () =>
    Effect.gen(function* () {
      const { client, connection } = yield* connected(() => {})
      // where the length of a frame's head changes (RFC 6455, 5.2), in bytes and in characters
      const lengths = [0, 1, 124, 125, 126, 127, 65_534, 65_535, 65_536, 65_537, 200_000]
      const texts = ["x", "\0", "\x7f", "\x80", "é", "漢", "🙂", "\u2028"].flatMap((sign) =>
        lengths.map((length) => sign + "y".repeat(length))
      )
      const received: Array<string> = []
      client.on("message", (data) => received.push(String(data)))
      for (const text of texts.slice(0, 40)) connection.send(text)
      connection.together(() => {
        for (const text of texts.slice(40)) connection.send(text)
      })
      yield* until(() => received.length === texts.length)
      assert.isTrue(texts.every((text, index) => received[index] === text))
    })
  )
})

describe("A connection whose client floods and never reads", () => {
  it.scopedLive("is not read from, so that neither answers nor questions pile up here", () =>
    Effect.gen(function* () {
      const bufferedBytes = 64 * 1024
      let taken = 0
      const { client, connection } = yield* connected(
        (connection) => {
          taken++
          connection.send("x".repeat(1000))
        },
        { bufferedBytes }
      )
      client.pause()
      const questions = 200_000
      for (let n = 0; n < questions; n++) client.send("q")
      yield* until(() => connection.isFull)
      yield* until(() => connection.socket.isPaused)
      // what it says while it is full waits where it is
      const before = taken
      connection.receive("one more")
      assert.strictEqual(taken, before)
      assert.isBelow(connection.socket.bufferedAmount, bufferedBytes + 2000)
      assert.isBelow(taken, questions)
      // once it reads all is done that was put off, in turn
      client.resume()
      yield* until(() => taken === questions + 1)
    })
  )
})

describe("A message that no other may overtake", () => {
  it.scopedLive("holds up those that come after it, which are then taken in order", () =>
    Effect.gen(function* () {
      const taken: Array<string> = []
      const releases: Array<() => void> = []
      const { client, connection } = yield* connected((connection, text) => {
        taken.push(text)
        if (text.startsWith("hold")) releases.push(connection.hold())
      })
      for (const text of ["a", "hold 1", "b", "hold 2", "c"]) client.send(text)
      yield* until(() => releases.length === 1)
      for (const text of ["d", "e"]) client.send(text)
      assert.deepStrictEqual(taken, ["a", "hold 1"])
      assert.isTrue(connection.socket.isPaused)
      releases[0]?.()
      // a second time does nothing
      releases[0]?.()
      yield* until(() => releases.length === 2)
      assert.deepStrictEqual(taken, ["a", "hold 1", "b", "hold 2"])
      releases[1]?.()
      yield* until(() => taken.length === 7)
      assert.deepStrictEqual(taken, ["a", "hold 1", "b", "hold 2", "c", "d", "e"])
    })
  )
})

describe("Messages that come in their thousands", () => {
  it.scopedLive("are done in their order, a few in a turn, so that others have theirs in between", () =>
    Effect.gen(function* () {
      const taken: Array<string> = []
      const take = (_: WebSocketConnection, text: string) => void taken.push(text)
      const flooding = yield* connected(take)
      const other = yield* connected(take)
      const flood = Array.from({ length: 3000 }, (_, n) => `flood ${n}`)
      for (const text of flood) flooding.client.send(text)
      other.client.send("other")
      yield* until(() => taken.length === flood.length + 1)
      assert.isBelow(taken.indexOf("other"), flood.length / 4)
      assert.deepStrictEqual(
        taken.filter((text) => text !== "other"),
        flood
      )
    })
  )
})

describe("Messages that are sent together", () => {
  it.scopedLive("are written at once, also where one of them can't be made", () =>
    Effect.gen(function* () {
      const { client, connection } = yield* connected(() => {})
      const got: Array<string> = []
      client.on("message", (text) => got.push(String(text)))
      const before = connection.socket.bufferedAmount
      assert.throws(() =>
        connection.together(() => {
          connection.send("one")
          connection.send("two")
          assert.isAbove(connection.socket.bufferedAmount, before + 6)
          throw new Error("no third")
        })
      )
      connection.send("four")
      yield* until(() => got.length === 3)
      assert.deepStrictEqual(got, ["one", "two", "four"])
    })
  )
})
