/**
 * Requests for models of other servers. They pass as they came, every parameter with them, and the answer comes back byte for byte; only
 * the model's name is the upstream's own on the way. What goes wrong before an answer has begun is tried again, then elsewhere.
 */
import { type HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Runtime } from "@helixflow/runtime/Runtime"
import { Attribute } from "@helixflow/runtime/Telemetry"
import type { UpstreamUnavailable } from "@helixflow/schema/Errors"
import { Effect, type Scope } from "effect"
import { passOn } from "./EventStream.ts"
import type { HelixError } from "./OpenAiErrors.ts"
import { readJson, replaceJson } from "./RequestBody.ts"
import type { RequestInfo } from "./RequestInfo.ts"
import { type Route, Upstreams } from "./Upstreams.ts"

type Body = Readonly<Record<string, unknown>>

const isBody = (json: unknown): json is Body => typeof json === "object" && json !== null && !Array.isArray(json)

const upstreamHeader = "x-helixflow-upstream"

const relay = (route: Route, path: string, body: Body) =>
  Effect.gen(function* () {
    const { model, upstream } = route
    yield* Effect.annotateCurrentSpan({ [Attribute.upstream]: upstream.name, [Attribute.responseModel]: model.id })
    const answer = yield* upstream.ask(path, { ...body, model: model.target })
    const { contentType, status } = answer
    const headers = { [upstreamHeader]: upstream.name }
    return answer.body instanceof Uint8Array
      ? HttpServerResponse.uint8Array(answer.body, { status, contentType, headers })
      : yield* passOn(answer.body, contentType, headers)
  })

/** Whether the model is one of our own. */
const isOurs = (model: string): Effect.Effect<boolean, never, Runtime> =>
  Effect.flatMap(Runtime, (runtime) => Effect.isSuccess(runtime.model(model)))

/**
 * Answers with a model of another server where that is what the body asks for, and with `handler` where it is one of ours or nobody's.
 * Our own models go before others of the same name. `path` is what follows `/v1`.
 */
export const relayed = <R>(
  path: string,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, HelixError, R>
): Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  HelixError,
  R | Runtime | RequestInfo | HttpServerRequest.HttpServerRequest | Scope.Scope
> =>
  Effect.gen(function* () {
    const upstreams = yield* Upstreams
    if (upstreams.all.length === 0) return yield* handler
    const body = yield* readJson
    if (!isBody(body) || typeof body["model"] !== "string" || (yield* isOurs(body["model"]))) return yield* handler
    const first = upstreams.find(body["model"])
    if (first === undefined) return yield* handler

    /** Asks the routes one after the other; a model of ours ends the row, as it does not fail for want of a server. */
    const follow = (
      route: Route,
      fallback: ReadonlyArray<string>
    ): Effect.Effect<
      HttpServerResponse.HttpServerResponse,
      HelixError,
      R | Runtime | RequestInfo | HttpServerRequest.HttpServerRequest | Scope.Scope
    > =>
      Effect.catchAll(relay(route, path, body), (error: UpstreamUnavailable) =>
        Effect.gen(function* () {
          for (const [index, name] of fallback.entries()) {
            if (yield* isOurs(name)) {
              yield* replaceJson({ ...body, model: name })
              return yield* handler
            }
            const next = upstreams.find(name)
            if (next !== undefined) return yield* follow(next, fallback.slice(index + 1))
          }
          return yield* error
        })
      )
    return yield* follow(first, first.upstream.fallback)
  })
