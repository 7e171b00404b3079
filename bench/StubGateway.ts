/**
 * The whole gateway on an engine that computes nothing. With `--stepwise` a stream's tokens come one per step, as engines have them;
 * else all at once.
 */
import * as Http from "node:http"
import { HttpServer } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { ApiKeys } from "@helixflow/gateway/ApiKeys"
import { Identity } from "@helixflow/gateway/Authentication"
import * as Gateway from "@helixflow/gateway/Gateway"
import * as HttpListener from "@helixflow/gateway/HttpListener"
import * as StubRuntime from "@helixflow/gateway/StubRuntime"
import { KeyStore } from "@helixflow/runtime/KeyStore"
import { Runtime } from "@helixflow/runtime/Runtime"
import { Services } from "@helixflow/runtime/Services"
import * as Storage from "@helixflow/runtime/Storage"
import type { SessionError, SessionEvent } from "@helixflow/schema/SessionActor"
import { Chunk, Effect, Exit, Layer, Mailbox, Redacted } from "effect"
import { key } from "./ChatRequest.ts"
import { Steps } from "./Steps.ts"

/** The stub's events, the first with what makes it a stream, the others one per step. */
const stepwise = Layer.effect(
  Runtime,
  Effect.map(Runtime, (runtime) => {
    const steps = new Steps()
    return Runtime.of({
      ...runtime,
      generate: (session, request) =>
        Effect.gen(function* () {
          const whole = yield* runtime.generate(session, request)
          const mailbox = yield* Mailbox.make<SessionEvent, SessionError>()
          const [ready] = yield* Effect.orDie(whole.takeAll)
          const events = Chunk.toReadonlyArray(ready)
          // the last token and what completes the stream come in one step
          const lastStep = events.length - 2
          let step = 0
          const next = () => {
            if (step < lastStep) mailbox.unsafeOfferAll(events.slice(step, step + 1))
            else {
              mailbox.unsafeOfferAll(events.slice(step))
              mailbox.unsafeDone(Exit.void)
            }
            return step++ < lastStep
          }
          yield* Effect.acquireRelease(
            Effect.sync(() => steps.run(next)),
            () => Effect.sync(() => steps.stop(next))
          )
          return mailbox
        })
    })
  })
)

const runtime = process.argv.includes("--stepwise") ? Layer.provide(stepwise, StubRuntime.layer()) : StubRuntime.layer()

const tellPort = Layer.effectDiscard(
  HttpServer.addressWith((address) =>
    Effect.sync(() => address._tag === "TcpAddress" && process.send?.({ port: address.port }))
  )
)

const program = Layer.merge(Gateway.layer, tellPort).pipe(
  Layer.provide(runtime),
  Layer.provide(HttpListener.layer("http-listener", Http.createServer, { port: 0, host: "127.0.0.1" })),
  Layer.provide(Identity.layerBootstrap(Redacted.make(key))),
  Layer.provide(ApiKeys.layer),
  Layer.provide(Services.layerAlone),
  Layer.provide(KeyStore.layer),
  Layer.provide(Storage.layerMemory)
)

NodeRuntime.runMain(Layer.launch(program))
