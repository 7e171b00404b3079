/** The server as a process: everything put together, what it says at its start, and how it ends. */
import { KeyStore } from "@helixflow/runtime/KeyStore"
import { Runtime } from "@helixflow/runtime/Runtime"
import { RuntimeConfig, settings } from "@helixflow/runtime/RuntimeConfig"
import { Services } from "@helixflow/runtime/Services"
import * as Storage from "@helixflow/runtime/Storage"
import { Console, Context, Effect, Layer, Logger, Ref, Schedule } from "effect"
import packageJson from "../package.json" with { type: "json" }
import { AllowedHosts } from "./AllowedHosts.ts"
import { ApiKeys } from "./ApiKeys.ts"
import { Identity } from "./Authentication.ts"
import * as Banner from "./Banner.ts"
import * as BootstrapKey from "./BootstrapKey.ts"
import * as Certificates from "./Certificates.ts"
import { failed } from "./CommandFailure.ts"
import * as Gateway from "./Gateway.ts"
import { GatewayConfig } from "./GatewayConfig.ts"
import { JsonWebTokens } from "./JsonWebTokens.ts"
import * as Listeners from "./Listeners.ts"
import { keepMarkingOffTheLoop } from "./Marking.ts"
import { make as makeShutdown, Shutdown } from "./Shutdown.ts"
import { stopSignal } from "./StopSignal.ts"
import * as Tracing from "./Tracing.ts"
import { Upstreams } from "./Upstreams.ts"
import { WebSocketLimits } from "./WebSocketLimits.ts"

/** How often readiness is looked at while the server starts. */
const pulse = "50 millis"

/** Waits until requests would be answered, and tells what that waits for whenever it changes. */
const ready = (runtime: Context.Tag.Service<Runtime>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const told = yield* Ref.make("")
    yield* runtime.readiness.pipe(
      Effect.tap(({ waitingFor }) =>
        Effect.gen(function* () {
          const now = waitingFor.join("; ")
          const before = yield* Ref.getAndSet(told, now)
          if (now !== before && now !== "") yield* Console.log(`starting: ${now}…`)
        })
      ),
      Effect.repeat({ until: ({ ready }) => ready, schedule: Schedule.spaced(pulse) })
    )
  })

/** A default model that is not there is the operator's slip, not a client's. */
const notListed = (model: string, folders: ReadonlyArray<string>) =>
  failed(`${settings.defaultModel.name} is \`${model}\`, but there is no such model in ${folders.join(", ")}.`)

const start = Effect.gen(function* () {
  const startedAt = performance.now()
  const config = yield* GatewayConfig
  const { allowedHosts, httpPort, httpsPort } = config
  const { modelsDirs } = yield* RuntimeConfig
  const key = yield* BootstrapKey.obtain
  const certificate = yield* Certificates.obtain()
  const context = yield* Layer.build(
    // in this order, so that at a stop the listeners end first, while what they wait for still runs
    Gateway.layer.pipe(
      Layer.provide(Listeners.layer(certificate)),
      Layer.provideMerge(Runtime.layerKeeping),
      Layer.provide(Identity.layer(key.key)),
      Layer.provide(JsonWebTokens.layer),
      Layer.provide(ApiKeys.layer),
      Layer.provide(KeyStore.layer),
      Layer.provideMerge(Storage.layer),
      Layer.provide(Upstreams.layer),
      Layer.provide(Services.layer),
      Layer.provide(
        Layer.effect(
          WebSocketLimits,
          Effect.map(WebSocketLimits, (defaults) => ({
            ...defaults,
            connections: config.webSockets,
            perPrincipal: config.webSocketsPerKey,
            stallMillis: config.webSocketStall,
            idleMillis: config.webSocketIdle,
            compression: config.webSocketCompression
          }))
        )
      ),
      Layer.provide(
        Layer.effect(
          AllowedHosts,
          Effect.map(AllowedHosts, (own) => new Set([...own, ...allowedHosts]))
        )
      )
    )
  ).pipe(
    Effect.catchTags({
      ModelNotFound: ({ model }) => notListed(model, modelsDirs),
      StorageUnavailable: ({ message }) => failed(message)
    })
  )
  const runtime = Context.get(context, Runtime)
  const facts: Banner.Facts = {
    version: packageJson.version,
    models: yield* runtime.models,
    modelsDirs,
    devices: (yield* runtime.fleet).devices.map(({ device }) => device),
    httpPort,
    httpsPort,
    key,
    certificate,
    folder: process.cwd()
  }
  const ended = Effect.catchTag(runtime.ended, "Escalated", ({ message }) => failed(message))
  yield* Console.log(Banner.overview(facts))
  yield* Effect.raceFirst(ready(runtime), ended)
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  yield* Console.log(`ready in ${seconds} s. Try:\n\n${Banner.example(facts)}\n`)
  yield* ended
})

/**
 * Serves until a signal, then takes no new requests, lets those in progress end, and stops the workers. Spans that were not sent
 * yet are sent last. Colours and times only where a person looks.
 */
export const serve = Effect.gen(function* () {
  keepMarkingOffTheLoop()
  const { shutdownSeconds } = yield* GatewayConfig
  const { run, shutdown } = yield* makeShutdown(shutdownSeconds * 1000)
  const stop = Effect.gen(function* () {
    yield* stopSignal
    yield* Console.log(
      `stopping: no new requests are taken; those in progress may end within ${shutdownSeconds} s (again to stop at once)…`
    )
    if ((yield* run) === "expired") yield* Console.log("stopping: time is up, what still runs is ended…")
  })
  yield* Effect.provideService(start, Shutdown, shutdown).pipe(
    Effect.raceFirst(stop),
    Effect.scoped,
    Effect.provide(Tracing.layer)
  )
  yield* Console.log("stopped")
}).pipe(Effect.provide(process.stdout.isTTY ? Logger.pretty : Layer.empty))
