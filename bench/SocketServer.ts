/** The whole gateway with sessions that are kept, in a database of its own, over a replica that computes nothing (`PacedReplica.ts`). */
import * as Http from "node:http"
import { HttpServer } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { ApiKeys } from "@helixflow/gateway/ApiKeys"
import { Identity } from "@helixflow/gateway/Authentication"
import * as Gateway from "@helixflow/gateway/Gateway"
import * as HttpListener from "@helixflow/gateway/HttpListener"
import { keepMarkingOffTheLoop } from "@helixflow/gateway/Marking"
import * as StubRuntime from "@helixflow/gateway/StubRuntime"
import { WebSocketLimits } from "@helixflow/gateway/WebSocketLimits"
import { Conversations } from "@helixflow/runtime/Conversations"
import * as InProcess from "@helixflow/runtime/InProcess"
import { KeyStore } from "@helixflow/runtime/KeyStore"
import * as Quarantine from "@helixflow/runtime/Quarantine"
import { Runtime } from "@helixflow/runtime/Runtime"
import { Services } from "@helixflow/runtime/Services"
import * as Session from "@helixflow/runtime/SessionActor"
import * as Sessions from "@helixflow/runtime/Sessions"
import { SharedTrials } from "@helixflow/runtime/SharedTrials"
import * as Storage from "@helixflow/runtime/Storage"
import { DeviceId, makeReplicaId } from "@helixflow/schema/Ids"
import { ModelActor } from "@helixflow/schema/ModelActor"
import { SessionActor } from "@helixflow/schema/SessionActor"
import { Duration, Effect, Layer, Option, Redacted } from "effect"
import { key } from "./ChatRequest.ts"
import * as PacedReplica from "./PacedReplica.ts"

const [file = ""] = process.argv.slice(2)

const runtime = Layer.scoped(
  Runtime,
  Effect.gen(function* () {
    const stub = yield* Runtime
    const { id } = yield* Effect.orDie(stub.model("helix-demo"))
    const device = DeviceId.make("local/cpu:0")
    const replica = yield* InProcess.host(ModelActor, Effect.succeed(PacedReplica.replica()), { name: "replica" })
    const scheduler = PacedReplica.scheduler(device, makeReplicaId(device, id, 0))
    const conversations = new Conversations()
    const quarantine = Quarantine.make({ millis: 1, entries: 1 })
    const sessions = yield* Sessions.make({
      host: (session, hosted) =>
        InProcess.host(
          SessionActor,
          Session.make({
            session,
            scheduler: Effect.succeed(scheduler),
            replica: () => Effect.succeed(replica),
            model: stub.model,
            continuation: { attempts: 1, millis: 1_000, totalMillis: 1_000 },
            isolation: {
              alone: (_model, use) => use(Option.none()),
              trials: new SharedTrials(),
              crashedOn: () => undefined,
              cells: Effect.succeed([])
            },
            quarantine,
            conversations,
            ...hosted
          }),
          { name: session }
        ),
      retention: Duration.minutes(10),
      maxBytes: 2 ** 30,
      services: yield* Services
    })
    return Runtime.of({ ...stub, sessions })
  })
).pipe(Layer.provide(StubRuntime.layer({ context: 100_000 })))

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
  Layer.provide(Storage.layerSqlite(file)),
  Layer.provide(
    Layer.effect(
      WebSocketLimits,
      Effect.map(WebSocketLimits, (defaults) => ({ ...defaults, perPrincipal: defaults.connections }))
    )
  )
)

keepMarkingOffTheLoop()
NodeRuntime.runMain(Layer.launch(program))
