import { assert, layer } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { Misfortune } from "../src/StubRuntime.ts"
import * as StubGateway from "./StubGateway.ts"
import { Target } from "./Target.ts"
import { authorization, chat, errorOf, isDone, newKey, open, openWith, withLimits } from "./WebSocketChat.ts"
import { connect } from "./WebSocketClient.ts"

layer(withLimits({ perPrincipal: 2, requests: 1, topics: 1 }), { excludeTestServices: true })(
  "Limits of WebSockets",
  (it) => {
    it.scoped("refuse one connection more, one request more, one topic more", () =>
      Effect.gen(function* () {
        const { url } = yield* Target
        const [one] = [yield* open, yield* open]
        const third = yield* connect(url, yield* authorization)
        assert.deepInclude(yield* third.next, { type: "refused", status: 429 })
        one.send(chat("a", Misfortune.hangs))
        one.send(chat("b"))
        const refused = yield* one.until(({ type }) => type === "error")
        assert.strictEqual(errorOf(refused.at(-1)).code, "too_many_connections")
        one.send({ type: "subscribe", topic: "x" })
        one.send({ type: "subscribe", topic: "y" })
        assert.strictEqual(
          errorOf((yield* one.until(({ type }) => type === "error")).at(-1)).code,
          "too_many_connections"
        )
      })
    )
  }
)

layer(withLimits({ stallMillis: 200, bufferedBytes: 10_000 }), { excludeTestServices: true })(
  "A WebSocket client that does not read",
  (it) => {
    it.scoped("is cut off, and others notice nothing", () =>
      Effect.gen(function* () {
        const [deaf, other] = [yield* open, yield* open]
        deaf.socket.pause()
        const gone = Effect.async<number>((resume) => {
          deaf.socket.once("close", (code) => resume(Effect.succeed(code)))
        })
        for (let n = 0; n < 20; n++) deaf.send(chat(`d${n}`, "x", { max_tokens: 4000 }))
        other.send(chat("a"))
        assert.strictEqual((yield* other.until(isDone("a"))).at(-1)?.type, "chat.completion.done")
        yield* Effect.repeat(Effect.flatten(StubGateway.Connections), {
          until: (count) => count === 1,
          schedule: Schedule.spaced("5 millis")
        })
        // its end can only be seen once it reads again
        deaf.socket.resume()
        assert.include([1006, 1008], yield* gone)
      })
    )
  }
)

layer(withLimits({ heartbeatMillis: 50 }), { excludeTestServices: true })("A WebSocket client that is silent", (it) => {
  it.scoped("is kept as long as it answers pings, and cut off when it does not", () =>
    Effect.gen(function* () {
      const { url } = yield* Target
      const deaf = yield* connect(url, { ...(yield* authorization), autoPong: false })
      const alive = yield* open
      assert.deepInclude((yield* deaf.until(() => false)).at(-1), { type: "closed" })
      alive.send({ type: "ping" })
      assert.deepStrictEqual(yield* alive.next, { type: "pong" })
    })
  )
})

layer(withLimits({ heartbeatMillis: 50 }), { excludeTestServices: true })("The heartbeat of WebSockets", (it) => {
  it.scoped("closes those whose key was revoked or has come to its end, and no others", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* newKey(), yield* newKey()]
      const short = yield* newKey({ expires_at: Date.now() / 1000 + 0.5 })
      const [first, second, third, fourth] = [
        yield* openWith(one.key),
        yield* openWith(one.key),
        yield* openWith(other.key),
        yield* openWith(short.key)
      ]
      yield* one.revoke
      assert.deepInclude(yield* first.next, { type: "closed", code: 1008, reason: "Incorrect API key provided." })
      assert.deepInclude(yield* second.next, { type: "closed", code: 1008 })
      assert.deepInclude(yield* fourth.next, { type: "closed", code: 1008, reason: "The API key has expired." })
      third.send(chat("a"))
      assert.strictEqual((yield* third.until(isDone("a"))).at(-1)?.type, "chat.completion.done")
    })
  )
})

layer(withLimits({ heartbeatMillis: 20, idleMillis: 100 }), { excludeTestServices: true })(
  "An idle WebSocket",
  (it) => {
    it.scoped("is closed, unless it waits for an answer or listens", () =>
      Effect.gen(function* () {
        const [idle, busy, listening] = [yield* open, yield* open, yield* open]
        busy.send(chat("stuck", Misfortune.hangs))
        listening.send({ type: "subscribe", topic: "room" })
        assert.deepInclude(yield* idle.next, { type: "closed", code: 1001, reason: "The connection was idle." })
        busy.send({ type: "cancel", id: "stuck" })
        assert.strictEqual(errorOf((yield* busy.until(isDone("stuck"))).at(-1)).code, "cancelled")
        listening.send({ type: "publish", topic: "room", data: 1 })
        assert.deepInclude(yield* listening.next, { type: "event", data: 1 })
      })
    )
  }
)
