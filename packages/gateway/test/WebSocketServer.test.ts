import { assert, layer } from "@effect/vitest"
import { Attribute } from "@helixflow/runtime/Telemetry"
import { Effect, Layer, Schedule } from "effect"
import { Misfortune } from "../src/StubRuntime.ts"
import { recordingTracer } from "./RecordingTracer.ts"
import * as StubGateway from "./StubGateway.ts"
import { request, Target } from "./Target.ts"
import { authorization, chat, errorOf, isDone, newKey, open, openWith, textOf, withLimits } from "./WebSocketChat.ts"
import { type Client, connect } from "./WebSocketClient.ts"

layer(StubGateway.layer(), { excludeTestServices: true })("A WebSocket", (it) => {
  it.scoped("streams the chunks of HTTP, numbered, and says when it is done", () =>
    Effect.gen(function* () {
      const client = yield* open
      client.send(chat("a"))
      const messages = yield* client.until(isDone("a"))
      assert.strictEqual(textOf(messages), "— naïve 日本 🙂 ")
      assert.deepStrictEqual(
        messages.map(({ seq }) => seq),
        messages.map((_, index) => index)
      )
      assert.deepInclude(messages.at(-1), { type: "chat.completion.done", id: "a" })
    })
  )

  it.scoped("carries many requests at once, each with its own text", () =>
    Effect.gen(function* () {
      const client = yield* open
      const ids = Array.from({ length: 50 }, (_, n) => `r${n}`)
      for (const id of ids) client.send(chat(id, `question ${id}`, { seed: 1, temperature: 1 }))
      let left = ids.length
      const messages = yield* client.until(({ type }) => type === "chat.completion.done" && --left === 0)
      for (const id of ids) {
        const own = messages.filter((message) => message["id"] === id)
        const alone = yield* request("/v1/chat/completions", {
          json: { ...chat(id, `question ${id}`, { seed: 1, temperature: 1 }).body }
        })
        assert.strictEqual(textOf(own), JSON.parse(alone.text).choices[0].message.content)
      }
    })
  )

  it.scoped("answers what it can't do with an error and goes on", () =>
    Effect.gen(function* () {
      const client = yield* open
      const refused = (message: unknown) =>
        Effect.suspend(() => {
          client.send(message)
          return Effect.map(client.next, (told) => {
            assert.strictEqual(told.type, "error")
            return { id: told["id"], ...errorOf(told) }
          })
        })
      assert.deepInclude(yield* refused("{"), { message: "The message is not valid JSON." })
      assert.deepInclude(yield* refused("null"), { code: "missing_required_parameter", param: "type" })
      assert.include((yield* refused({ type: "dance" })).message, `Unknown message type: "dance".`)
      assert.deepInclude(yield* refused({ type: "cancel" }), { code: "missing_required_parameter", param: "id" })
      assert.deepInclude(yield* refused({ type: "ping", x: 1 }), { code: "unknown_parameter", param: "x" })
      assert.deepInclude(yield* refused(chat("a", "hi", { temperature: 3 })), { id: "a", param: "temperature" })
      assert.deepInclude(yield* refused(chat("a", "hi", { model: "none" })), { id: "a", code: "model_not_found" })
      assert.deepInclude(yield* refused(chat("a", "hi", { stream: false })), { id: "a", param: "stream" })
      assert.deepInclude(yield* refused({ type: "responses.create", id: "b", body: {} }), { id: "b", param: "type" })
      assert.deepInclude(yield* refused({ type: "cancel", id: "zzz" }), { id: "zzz", param: "id" })
      assert.deepInclude(yield* refused({ type: "resume", session: "chatcmpl-0" }), { code: "completion_not_found" })
      assert.deepInclude(yield* refused({ type: "resume", session: "ws_0" }), { param: "session" })
      client.send({ type: "ping" })
      assert.deepStrictEqual(yield* client.next, { type: "pong" })
    })
  )

  it.scoped("cancels a request by its id, while others go on", () =>
    Effect.gen(function* () {
      const client = yield* open
      client.send(chat("stuck", Misfortune.hangs))
      yield* client.until(({ type }) => type === "chat.completion.chunk")
      client.send(chat("other"))
      assert.strictEqual((yield* client.until(isDone("other"))).at(-1)?.type, "chat.completion.done")
      client.send({ type: "cancel", id: "stuck" })
      assert.strictEqual(errorOf((yield* client.until(({ type }) => type === "error")).at(-1)).code, "cancelled")
      client.send(chat("stuck"))
      assert.strictEqual((yield* client.until(isDone("stuck"))).at(-1)?.type, "chat.completion.done")
    })
  )

  it.scoped("tells of a failure and a defect without closing", () =>
    Effect.gen(function* () {
      const client = yield* open
      client.send(chat("a", Misfortune.fails))
      assert.strictEqual(errorOf((yield* client.until(isDone("a"))).at(-1)).code, "engine_failed")
      client.send(chat("b", Misfortune.dies))
      assert.strictEqual(errorOf((yield* client.until(isDone("b"))).at(-1)).code, "internal_error")
    })
  )

  it.scoped("publishes to who is subscribed, numbered, and to nobody else", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* open, yield* open]
      one.send({ type: "subscribe", topic: "room/1" })
      one.send({ type: "ping" })
      yield* one.next
      two.send({ type: "publish", topic: "room/1", data: { a: 1 } })
      two.send({ type: "publish", topic: "room/2", data: 2 })
      two.send({ type: "publish", topic: "room/1", data: "x" })
      assert.deepStrictEqual(yield* one.next, { type: "event", topic: "room/1", seq: 1, data: { a: 1 } })
      assert.deepStrictEqual(yield* one.next, { type: "event", topic: "room/1", seq: 2, data: "x" })
      one.send({ type: "unsubscribe", topic: "room/1" })
      one.send({ type: "ping" })
      yield* one.next
      two.send({ type: "publish", topic: "room/1", data: 3 })
      two.send({ type: "publish", topic: "models", data: 3 })
      assert.strictEqual(errorOf(yield* two.next).param, "topic")
      one.send({ type: "ping" })
      assert.deepStrictEqual(yield* one.next, { type: "pong" })
    })
  )

  it.scoped("numbers events on, also when all have left for a while", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* open, yield* open]
      const heard = (client: Client) =>
        Effect.gen(function* () {
          client.send({ type: "subscribe", topic: "room/9" })
          client.send({ type: "publish", topic: "room/9", data: null })
          return (yield* client.next)["seq"]
        })
      assert.strictEqual(yield* heard(one), 1)
      one.send({ type: "unsubscribe", topic: "room/9" })
      two.send({ type: "publish", topic: "room/9", data: null })
      two.send({ type: "ping" })
      yield* two.next
      assert.strictEqual(yield* heard(two), 3)
    })
  )

  it.scoped("tells who asked for it how it stands with the wait", () =>
    Effect.gen(function* () {
      const client = yield* open
      client.send(chat("a", Misfortune.starves, { stream_options: { include_progress: true } }))
      const [waiting] = yield* client.until(isDone("a"))
      assert.deepStrictEqual(waiting, {
        type: "queue",
        id: "a",
        position: 1,
        waiting: 1,
        waited: 1.2,
        expected: 0.8,
        loading: { elapsed: 0.2, usual: 1 }
      })
      client.send(chat("b", Misfortune.waits))
      const messages = yield* client.until(isDone("b"))
      assert.isFalse(messages.some(({ type }) => type === "queue"))
    })
  )

  it.scoped("takes the key as a subprotocol, and chooses one that browsers accept", () =>
    Effect.gen(function* () {
      const { key, url } = yield* Target
      const only = yield* connect(url, { protocols: [`helix.bearer.${key}`] })
      yield* only.next
      assert.strictEqual(only.socket.protocol, `helix.bearer.${key}`)
      const both = yield* connect(url, { protocols: [`helix.bearer.${key}`, "helix"] })
      yield* both.next
      assert.strictEqual(both.socket.protocol, "helix")
    })
  )

  it.scoped("is refused without a key, with a wrong one, and by a wrong name", () =>
    Effect.gen(function* () {
      const { url } = yield* Target
      const refusal = (options: Parameters<typeof connect>[1]) =>
        Effect.flatMap(connect(url, options), ({ next }) => next)
      assert.deepInclude(yield* refusal({}), { type: "refused", status: 401 })
      assert.deepInclude(yield* refusal({ protocols: ["helix.bearer.wrong"] }), { type: "refused", status: 401 })
      const { headers } = yield* authorization
      assert.deepInclude(yield* refusal({ headers: { ...headers, host: "evil.example" } }), { status: 421 })
    })
  )

  it.effect("is asked for by name: a plain request is told so", () =>
    Effect.gen(function* () {
      const { headers, status } = yield* request("/v1/ws", {})
      assert.strictEqual(status, 426)
      assert.strictEqual(headers.get("upgrade"), "websocket")
    })
  )

  it.scoped("is closed with 1009 after a message that is too large, and with 1003 after a binary one", () =>
    Effect.gen(function* () {
      const [large, binary, other] = [yield* open, yield* open, yield* open]
      large.send(`"${"x".repeat(16 * 1024 * 1024)}"`)
      assert.deepInclude(yield* large.next, { type: "closed", code: 1009 })
      binary.socket.send(Buffer.from("{}"))
      assert.deepInclude(yield* binary.next, { type: "closed", code: 1003 })
      other.send(chat("a"))
      assert.strictEqual((yield* other.until(isDone("a"))).at(-1)?.type, "chat.completion.done")
    })
  )
})

layer(StubGateway.layer(), { excludeTestServices: true })("A WebSocket whose key is revoked", (it) => {
  it.scoped("finishes what it has begun, begins nothing more, and is closed", () =>
    Effect.gen(function* () {
      const { key, revoke } = yield* newKey()
      const client = yield* openWith(key)
      client.send(chat("stuck", Misfortune.hangs))
      yield* client.until(({ type }) => type === "chat.completion.chunk")
      client.send({ type: "ping" })
      yield* client.until(({ type }) => type === "pong")
      yield* revoke
      client.send(chat("new"))
      assert.strictEqual(errorOf((yield* client.until(isDone("new"))).at(-1)).code, "invalid_api_key")
      client.send({ type: "ping" })
      assert.deepStrictEqual(yield* client.next, { type: "pong" })
      client.send({ type: "cancel", id: "stuck" })
      assert.strictEqual(errorOf(yield* client.next).code, "cancelled")
      assert.deepInclude(yield* client.next, { type: "closed", code: 1008 })
    })
  )
})

layer(StubGateway.layer(), { excludeTestServices: true })("Topics of WebSockets", (it) => {
  it.scoped("are each tenant's own, but for those of the server and its operators", () =>
    Effect.gen(function* () {
      const [alice, bob] = [yield* openWith((yield* newKey()).key), yield* openWith((yield* newKey()).key)]
      const operator = yield* open
      for (const client of [alice, bob]) {
        for (const topic of ["room", "broadcast", "streams"]) client.send({ type: "subscribe", topic })
      }
      alice.send({ type: "publish", topic: "room", data: "alice's" })
      assert.deepInclude(yield* alice.next, { topic: "room", data: "alice's" })
      operator.send({ type: "publish", topic: "room", data: "the operator's" })
      operator.send({ type: "publish", topic: "broadcast", data: "maintenance at noon" })
      for (const client of [alice, bob]) {
        assert.deepInclude(yield* client.next, { topic: "broadcast", data: "maintenance at noon" })
        const denials = [
          [{ type: "subscribe", topic: "devices" }, "insufficient_permissions"],
          [{ type: "publish", topic: "broadcast", data: 1 }, "insufficient_permissions"],
          [{ type: "publish", topic: "devices", data: 1 }, null],
          [{ type: "publish", topic: "streams", data: 1 }, null]
        ] as const
        for (const [message, code] of denials) {
          client.send(message)
          assert.strictEqual(errorOf(yield* client.next).code, code)
        }
      }
    })
  )
})

const { ended, tracer } = recordingTracer()

layer(Layer.provide(StubGateway.layer(), Layer.setTracer(tracer)), { excludeTestServices: true })(
  "A request on a WebSocket",
  (it) => {
    it.scoped("is told of by a span of its own, and counted", () =>
      Effect.gen(function* () {
        const metric = (name: string) =>
          Effect.map(request("/metrics"), ({ text }) => {
            const line = text.split("\n").find((line) => line.startsWith(name))
            return Number(line?.split(" ").at(-1) ?? 0)
          })
        const counted = 'helixflow_websocket_messages_total{helixflow_direction="received"}'
        const before = yield* metric(counted)
        const client = yield* open
        assert.isAbove(yield* metric("helixflow_websocket_connections"), 0)
        client.send(chat("a"))
        yield* client.until(isDone("a"))
        assert.strictEqual((yield* metric(counted)) - before, 1)
        const ofRequest = () => ended.find((attributes) => attributes.get(Attribute.session) !== undefined)
        yield* Effect.repeat(Effect.void, {
          until: () => ofRequest() !== undefined,
          schedule: Schedule.spaced("5 millis")
        })
        assert.deepInclude(Object.fromEntries(ofRequest() ?? []), {
          [Attribute.endUser]: "bootstrap",
          [Attribute.operation]: "chat",
          [Attribute.responseModel]: "helix-demo",
          [Attribute.outputTokens]: 4
        })
      })
    )
  }
)

/** What compression the server agreed on. */
const extensions = Effect.gen(function* () {
  const { url } = yield* Target
  const client = yield* connect(url, { ...(yield* authorization), perMessageDeflate: true })
  yield* client.next
  client.send(chat("a"))
  assert.strictEqual(textOf(yield* client.until(isDone("a"))), "— naïve 日本 🙂 ")
  return client.socket.extensions
})

layer(withLimits({ compression: true }), { excludeTestServices: true })("Compression of WebSockets", (it) => {
  it.scoped("is agreed on where it is turned on", () =>
    Effect.map(extensions, (agreed) => assert.strictEqual(agreed, "permessage-deflate"))
  )
})

layer(StubGateway.layer(), { excludeTestServices: true })("Compression of WebSockets", (it) => {
  it.scoped("is off unless it is turned on", () => Effect.map(extensions, (agreed) => assert.strictEqual(agreed, "")))
})
