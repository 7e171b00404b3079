import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, Fiber, Layer, Option, TestClock } from "effect"
import * as Shutdown from "../src/Shutdown.ts"
import { Misfortune } from "../src/StubRuntime.ts"
import { connect, post } from "./RawClient.ts"
import * as StubGateway from "./StubGateway.ts"
import { request } from "./Target.ts"

const graceMillis = 1_000

/** What is true of a fiber that has had its chance to run. */
const ended = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.zipRight(Effect.yieldNow(), Effect.map(fiber.poll, Option.isSome))

describe("A shutdown", () => {
  it.effect("is over at once where nothing runs", () =>
    Effect.gen(function* () {
      const { run, shutdown } = yield* Shutdown.make(graceMillis)
      assert.isFalse(shutdown.stopping())
      assert.strictEqual(yield* run, "ended")
      assert.isTrue(shutdown.stopping())
      yield* shutdown.begun
    })
  )

  it.effect("gives up what runs when the time is up, and tells it", () =>
    Effect.gen(function* () {
      const { run, shutdown } = yield* Shutdown.make(graceMillis)
      let told = 0
      shutdown.enter(() => told++)
      shutdown.enter(() => told++)()
      const running = yield* Effect.fork(run)
      const expired = yield* Effect.fork(shutdown.expired)
      yield* TestClock.adjust(graceMillis - 1)
      assert.isFalse(yield* ended(expired))
      assert.strictEqual(told, 0)
      yield* TestClock.adjust(1)
      yield* Fiber.join(expired)
      assert.strictEqual(told, 1)
      assert.strictEqual(yield* Fiber.join(running), "expired")
    })
  )

  /** Work that is entered before the stop, and entered after it: how long each lasts, in milliseconds. */
  const lengths = FastCheck.array(FastCheck.integer({ min: 1, max: graceMillis - 1 }), { maxLength: 8 })

  it.effect.prop(
    "waits for the last of all that runs, and no longer",
    [lengths],
    ([lengths]) =>
      Effect.gen(function* () {
        const { run, shutdown } = yield* Shutdown.make(graceMillis)
        for (const length of lengths) {
          const leave = shutdown.enter(() => assert.fail("it ends in time"))
          yield* Effect.fork(Effect.delay(Effect.sync(leave), length))
        }
        const running = yield* Effect.fork(run)
        const last = Math.max(0, ...lengths)
        if (last > 0) {
          yield* TestClock.adjust(last - 1)
          assert.isFalse(yield* ended(running))
          yield* TestClock.adjust(1)
        }
        assert.strictEqual(yield* Fiber.join(running), "ended")
      }),
    { fastCheck: { numRuns: 20 } }
  )
})

const chat = (content: string, more: object = {}) => ({
  model: "helix-demo",
  messages: [{ role: "user", content }],
  ...more
})

describe("A server that stops", () => {
  const stopping = (graceMillis: number) =>
    Effect.map(Shutdown.make(graceMillis), ({ run, shutdown }) => ({
      run,
      gateway: Layer.fresh(StubGateway.layer({}, {}, { shutdown }))
    }))

  it.scopedLive("takes no new work and says so, and answers probes and operators", () =>
    Effect.gen(function* () {
      const { gateway, run } = yield* stopping(60_000)
      yield* Effect.gen(function* () {
        assert.strictEqual((yield* request("/readyz")).status, 200)
        // the stop waits for this one
        const client = yield* connect
        yield* client.send(yield* post("/v1/chat/completions", chat(Misfortune.hangs, { stream: true })))
        yield* client.until("data:")
        const running = yield* Effect.fork(run)
        const { headers, status, text } = yield* request("/v1/chat/completions", { json: chat("hi") })
        assert.strictEqual(status, 503)
        assert.strictEqual(JSON.parse(text).error.code, "shutting_down")
        assert.strictEqual(headers.get("retry-after"), "1")
        assert.strictEqual(headers.get("connection"), "close")
        const readyz = yield* request("/readyz")
        assert.strictEqual(readyz.status, 503)
        assert.deepInclude(JSON.parse(readyz.text), { waiting_for: ["the server is shutting down"] })
        for (const path of ["/healthz", "/metrics", "/admin/v1/tree"]) {
          assert.strictEqual((yield* request(path)).status, 200, path)
        }
        client.socket.destroy()
        assert.strictEqual(yield* Fiber.join(running), "ended")
      }).pipe(Effect.provide(gateway))
    })
  )

  it.scopedLive("tells those who are not finished in time, streamed or whole", () =>
    Effect.gen(function* () {
      const { gateway, run } = yield* stopping(50)
      yield* Effect.gen(function* () {
        const streamed = yield* connect
        yield* streamed.send(yield* post("/v1/chat/completions", chat(Misfortune.hangs, { stream: true })))
        yield* streamed.until("data:")
        const whole = yield* connect
        yield* whole.send(yield* post("/v1/chat/completions", chat(Misfortune.hangs)))
        // both are being worked on when the count of the metric says so
        yield* Effect.repeat(request("/metrics"), {
          until: ({ text }) => /active_requests\{.*"\/v1\/chat\/completions"\} 2/.test(text)
        })
        assert.strictEqual(yield* run, "expired")
        const end = yield* streamed.until("shutting_down")
        assert.match(end, /\ndata: \{"error":\{"message":"The server is shutting down\./)
        assert.notInclude(end, "[DONE]")
        const answer = yield* whole.rest
        assert.match(answer, /^HTTP\/1\.1 503 /)
        assert.match(answer, /\r\nretry-after: 1\r\n/i)
        assert.include(answer, '"code":"shutting_down"')
      }).pipe(Effect.provide(gateway))
    })
  )
})
