/** The gateway as a whole: the routes, and what is answered where there is none. */

import { TLSSocket } from "node:tls"
import { HttpLayerRouter, type HttpServer, HttpServerError, HttpServerRequest } from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import type { Runtime } from "@helixflow/runtime/Runtime"
import type { Services } from "@helixflow/runtime/Services"
import { HostNotAllowed, InvalidRequest, RouteNotFound } from "@helixflow/schema/Errors"
import { Effect, Layer } from "effect"
import { AllowedHosts, isAllowed } from "./AllowedHosts.ts"
import type { ApiKeys } from "./ApiKeys.ts"
import type { Identity } from "./Authentication.ts"
import * as ChatCompletions from "./ChatCompletions.ts"
import * as Classify from "./Classify.ts"
import * as Completions from "./Completions.ts"
import * as DevicesRoutes from "./DevicesRoutes.ts"
import * as Embeddings from "./Embeddings.ts"
import * as Health from "./Health.ts"
import * as KeptCompletions from "./KeptCompletions.ts"
import * as KeysRoutes from "./KeysRoutes.ts"
import * as Metrics from "./Metrics.ts"
import * as ModelCatalogRoutes from "./ModelCatalogRoutes.ts"
import * as Models from "./Models.ts"
import { type HelixError, toResponse } from "./OpenAiErrors.ts"
import { RequestInfo, withProcessingTime } from "./RequestInfo.ts"
import * as Rerank from "./Rerank.ts"
import * as ScheduleRoutes from "./ScheduleRoutes.ts"
import * as Tokenization from "./Tokenization.ts"
import * as TreeRoutes from "./TreeRoutes.ts"
import * as UpstreamsRoutes from "./UpstreamsRoutes.ts"
import * as WebSockets from "./WebSocketServer.ts"

const missingHost = new InvalidRequest({
  reason: "The Host header field is missing.",
  param: null,
  code: "invalid_http"
})

const refuse = (error: (request: HttpServerRequest.HttpServerRequest) => HelixError) =>
  Effect.gen(function* () {
    const info = yield* RequestInfo.make
    return withProcessingTime(toResponse(error(yield* HttpServerRequest.HttpServerRequest)), info)
  })

/** Refuses what no endpoint sees: requests for unknown paths, and those that HTTP forbids. */
const refusals = HttpLayerRouter.middleware(
  (app) =>
    Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const { headers, httpVersion, socket } = NodeHttpServerRequest.toIncomingMessage(request)
      const { host } = headers
      if (host === undefined) return httpVersion === "1.0" ? yield* app : yield* refuse(() => missingHost)
      return socket instanceof TLSSocket || isAllowed(yield* AllowedHosts, host)
        ? yield* app
        : yield* refuse(() => new HostNotAllowed({ host }))
    }).pipe(
      Effect.catchAll((error) =>
        error instanceof HttpServerError.RouteNotFound
          ? refuse(({ method, url }) => new RouteNotFound({ method, path: url.split("?", 1)[0] ?? url }))
          : Effect.fail(error)
      )
    ),
  { global: true }
)

/** Needs a `Runtime` to ask, an `Identity` to know who asks, and the `ApiKeys` that operators make. */
export const routes = Layer.mergeAll(
  ChatCompletions.layer,
  Classify.layer,
  Completions.layer,
  DevicesRoutes.layer,
  Embeddings.layer,
  Health.layer,
  KeptCompletions.layer,
  KeysRoutes.layer,
  Metrics.layer,
  ModelCatalogRoutes.layer,
  Models.layer,
  Rerank.layer,
  Tokenization.layer,
  ScheduleRoutes.layer,
  TreeRoutes.layer,
  UpstreamsRoutes.layer,
  WebSockets.routes
).pipe(Layer.provide(refusals))

/** Serves on the `HttpServer` at hand. The annotation is the proof that no route has an error without an answer. */
export const layer: Layer.Layer<never, never, ApiKeys | HttpServer.HttpServer | Identity | Runtime | Services> =
  Layer.merge(HttpLayerRouter.serve(routes, { disableListenLog: true, disableLogger: true }), WebSockets.layer)
