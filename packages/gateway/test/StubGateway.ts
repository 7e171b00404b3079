/** A gateway over the stub engine, listening on a port of its own. */
import * as Http from "node:http"
import { HttpLayerRouter, HttpServer } from "@effect/platform"
import { KeyStore } from "@helixflow/runtime/KeyStore"
import type { Runtime } from "@helixflow/runtime/Runtime"
import { Services } from "@helixflow/runtime/Services"
import * as Storage from "@helixflow/runtime/Storage"
import { Context, Effect, Layer, Logger, Redacted } from "effect"
import { ApiKeys } from "../src/ApiKeys.ts"
import { Identity } from "../src/Authentication.ts"
import * as Gateway from "../src/Gateway.ts"
import { GatewayConfig } from "../src/GatewayConfig.ts"
import { HttpLimits, type HttpLimitsShape } from "../src/HttpLimits.ts"
import * as HttpListener from "../src/HttpListener.ts"
import { JsonWebTokens } from "../src/JsonWebTokens.ts"
import { Shutdown, type ShutdownShape } from "../src/Shutdown.ts"
import * as StubRuntime from "../src/StubRuntime.ts"
import { environment } from "./environment.ts"
import { Target } from "./Target.ts"

const key = "sk-stub"

/** Of this gateway alone, as they are made. */
const keys = ApiKeys.layer.pipe(Layer.provide(KeyStore.layer), Layer.provide(Layer.orDie(Storage.layerMemory)))

const target = Layer.effect(
  Target,
  HttpServer.addressWith((address) =>
    address._tag === "TcpAddress"
      ? Effect.succeed({
          url: `http://127.0.0.1:${address.port}`,
          key,
          chatModel: "helix-demo",
          embeddingModel: "helix-demo-embed"
        })
      : Effect.dieMessage("the stub gateway listens on TCP")
  )
)

/** How many connections the server has open. */
export class Connections extends Context.Tag("@helixflow/gateway/test/Connections")<
  Connections,
  Effect.Effect<number>
>() {}

const listener = (mostConnections: number | undefined) =>
  Layer.suspend(() => {
    const servers: Array<Http.Server> = []
    const create = (options: Http.ServerOptions) => {
      const server = Http.createServer(options)
      servers.push(server)
      return server
    }
    const count = Effect.async<number>((resume) => {
      servers[0]?.getConnections((_error, count) => resume(Effect.succeed(count)))
    })
    return Layer.merge(
      HttpListener.layer("http-listener", create, { port: 0, host: "127.0.0.1" }, mostConnections),
      Layer.succeed(Connections, count)
    )
  })

/** The first key, and those that are made with it. */
const ownIdentity = Identity.layer(Redacted.make(key)).pipe(
  Layer.provide(JsonWebTokens.layer),
  Layer.provide(GatewayConfig.layer),
  Layer.provide(environment({})),
  Layer.orDie
)

interface StubParts {
  readonly shutdown?: ShutdownShape
  readonly upstreams?: Layer.Layer<never>
  readonly mostConnections?: number
  readonly identity?: Layer.Layer<Identity, never, ApiKeys>
  /** A real one instead of the stub. */
  readonly runtime?: Layer.Layer<Runtime>
  /** Besides the gateway's own. */
  readonly routes?: Layer.Layer<
    never,
    never,
    HttpLayerRouter.HttpRouter | HttpLayerRouter.Request<"Requires", Identity>
  >
}

const serve = (routes: NonNullable<StubParts["routes"]>) =>
  HttpLayerRouter.serve(Layer.merge(Gateway.routes, routes), { disableListenLog: true, disableLogger: true })

export const layer = (
  options: Partial<StubRuntime.StubOptions> = {},
  limits: Partial<HttpLimitsShape> = {},
  { identity = ownIdentity, mostConnections, routes, runtime, shutdown, upstreams = Layer.empty }: StubParts = {}
) =>
  Layer.merge(routes === undefined ? Gateway.layer : serve(routes), target).pipe(
    Layer.provideMerge(listener(mostConnections)),
    Layer.provideMerge(
      runtime === undefined ? StubRuntime.layer(options) : Layer.merge(StubRuntime.layer(options), runtime)
    ),
    Layer.provide(identity),
    Layer.provide(upstreams),
    Layer.provide(keys),
    Layer.provide(Services.layerAlone),
    Layer.provide(shutdown === undefined ? Layer.empty : Layer.succeed(Shutdown, shutdown)),
    Layer.provide(
      Layer.effect(
        HttpLimits,
        Effect.map(HttpLimits, (defaults) => ({ ...defaults, ...limits }))
      )
    ),
    Layer.provide(Logger.remove(Logger.defaultLogger))
  )
