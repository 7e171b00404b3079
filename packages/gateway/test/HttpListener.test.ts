import * as diagnostics from "node:diagnostics_channel"
import * as Http from "node:http"
import { HttpServer, HttpServerResponse } from "@effect/platform"
import { assert, layer } from "@effect/vitest"
import { Services } from "@helixflow/runtime/Services"
import { Context, Effect, Exit, Fiber, Layer, Schedule, Scope } from "effect"
import * as HttpListener from "../src/HttpListener.ts"
import { connect, post } from "./RawClient.ts"
import * as StubGateway from "./StubGateway.ts"
import { request, Target } from "./Target.ts"

/** What node publishes to when a request has come. */
const requestStart = "http.server.request.start"

const impatient = StubGateway.layer({}, { headersMillis: 50, requestMillis: 100 })

layer(impatient, { excludeTestServices: true })("A listener that is in a hurry", (it) => {
  const slow = [
    ["says nothing", ""],
    ["sends half a request line", "GET /heal"],
    ["never ends its header fields", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n"],
    [
      "never sends its body",
      "POST /v1/tokenize HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sk-stub\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"
    ]
  ] as const

  for (const [name, text] of slow) {
    it.scoped(`cuts off a client that ${name}`, () =>
      Effect.gen(function* () {
        const client = yield* connect
        if (text !== "") yield* client.send(text)
        const answer = yield* client.rest
        assert.match(answer, /^HTTP\/1\.1 408 /)
        assert.include(answer, '"code":"request_timeout"')
        assert.include(answer, "connection: close")
      })
    )
  }
})

// Long enough for a request that comes at once, however busy the machine.
const patient = StubGateway.layer({}, { headersMillis: 2_000, requestMillis: 2_000, keepAliveMillis: 20 })

layer(patient, { excludeTestServices: true })("A listener", (it) => {
  it.scoped("closes a connection that is idle after an answer", () =>
    Effect.gen(function* () {
      const client = yield* connect
      yield* client.send(yield* post("/v1/tokenize", { model: "helix-demo", prompt: "one" }))
      assert.match(yield* client.rest, /^HTTP\/1\.1 200 /)
    })
  )

  it.scoped("answers once, however broken the rest is", () =>
    Effect.gen(function* () {
      const client = yield* connect
      yield* client.send("POST /v1/tokenize HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n")
      const text = yield* client.rest
      assert.lengthOf(text.match(/HTTP\/1\.1 /g) ?? [], 1)
      assert.match(text, /^HTTP\/1\.1 401 /)
    })
  )

  it.effect("listens again when it has stopped unasked, on the port that it had", () =>
    Effect.gen(function* () {
      const [server] = HttpListener.serversOf(yield* HttpServer.HttpServer)
      for (const harm of [() => server?.close(), () => server?.emit("error", new Error("broken"))]) {
        harm()
        server?.closeAllConnections()
        const { status } = yield* Effect.retry(request("/healthz").pipe(Effect.catchAllDefect(Effect.fail)), {
          schedule: Schedule.spaced("10 millis")
        })
        assert.strictEqual(status, 200)
      }
    })
  )

  it.scoped("answers what came before there was anything to serve", () =>
    Effect.gen(function* () {
      const listener = HttpListener.layer("early", Http.createServer, { port: 0, host: "127.0.0.1" })
      const server = Context.get(yield* Layer.build(listener), HttpServer.HttpServer)
      const port = server.address._tag === "TcpAddress" ? server.address.port : 0
      const hasCome = Effect.async<void>((resume) => {
        const onRequest = () => resume(Effect.void)
        diagnostics.subscribe(requestStart, onRequest)
        return Effect.sync(() => diagnostics.unsubscribe(requestStart, onRequest))
      })
      const coming = yield* Effect.fork(hasCome)
      yield* Effect.yieldNow()
      const answer = yield* Effect.fork(Effect.promise(() => fetch(`http://127.0.0.1:${port}/`)))
      yield* Fiber.join(coming)
      yield* server.serve(Effect.succeed(HttpServerResponse.text("served")))
      const response = yield* Fiber.join(answer)
      assert.strictEqual(yield* Effect.promise(() => response.text()), "served")
    }).pipe(Effect.provide(Services.layerAlone))
  )

  it.scoped("lets go of idle and silent connections when it stops", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(Layer.fresh(StubGateway.layer({}, { drainMillis: 3_600_000 })), scope)
      const { silent, idle } = yield* Effect.provide(
        Effect.gen(function* () {
          const silent = yield* connect
          const idle = yield* connect
          yield* idle.send(yield* post("/v1/tokenize", { model: "helix-demo", prompt: "one" }))
          yield* idle.until("max_model_len")
          return { silent, idle }
        }),
        context
      )
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* silent.rest, "")
      yield* idle.rest
      // Whoever comes later finds nobody.
      const late = yield* Effect.provide(connect, Layer.succeed(Target, yield* Effect.provide(Target, context)))
      assert.strictEqual(yield* late.rest, "")
    })
  )
})

layer(StubGateway.layer({}, {}, { mostConnections: 20 }), { excludeTestServices: true })(
  "A flood of connections",
  (it) => {
    it.scoped("is held off: those that are there are served, and others once they have left", () =>
      Effect.gen(function* () {
        const ask = post("/v1/tokenize", { model: "helix-demo", prompt: "one" })
        const scope = yield* Scope.make()
        const friend = yield* connect
        const flood = yield* Effect.all(Array.from({ length: 200 }, () => Scope.extend(connect, scope)))
        // all that are too many are closed unheard
        const [, ...late] = flood.slice(20)
        for (const client of late) assert.strictEqual(yield* client.rest, "")
        yield* friend.send(yield* ask)
        assert.include(yield* friend.until("max_model_len"), "200 OK")
        yield* Scope.close(scope, Exit.void)
        const { url } = yield* Target
        const { status } = yield* Effect.eventually(Effect.tryPromise(() => fetch(`${url}/healthz`)))
        assert.strictEqual(status, 200)
      })
    )
  }
)
