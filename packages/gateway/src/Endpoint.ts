/** A path and what it answers to which method: what all endpoints have in common is here. */
import { HttpLayerRouter, HttpServerRequest, type HttpServerResponse } from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import {
  Attribute,
  byAttributes,
  httpServerActiveRequests,
  httpServerRequestDuration
} from "@helixflow/runtime/Telemetry"
import { MethodNotAllowed, ShuttingDown } from "@helixflow/schema/Errors"
import { Cause, type Context, Effect, type Fiber, FiberId, Option } from "effect"
import { dismiss } from "./Dismissal.ts"
import { HttpLimits } from "./HttpLimits.ts"
import { defectResponse, type HelixError, isHelixError, toResponse } from "./OpenAiErrors.ts"
import { logDefect, RequestInfo, withProcessingTime } from "./RequestInfo.ts"
import { Shutdown } from "./Shutdown.ts"
import { turn } from "./Turns.ts"

/** Those that a metric tells apart: a client may send any. */
const methods: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
const otherMethod = "_OTHER"

/** What a request counts as whose client has gone before its answer, as nginx has it. */
const abandoned = "499"

type Response = HttpServerResponse.HttpServerResponse

const observeDuration = byAttributes(httpServerRequestDuration, [
  Attribute.httpMethod,
  Attribute.httpRoute,
  Attribute.httpStatus
])

const countActive = byAttributes(httpServerActiveRequests, [Attribute.httpMethod, Attribute.httpRoute])

/** Errors become answers. Interruption does not: there is nobody to answer. */
const recover = <R>(
  handler: Effect.Effect<Response, HelixError, R>,
  info: Context.Tag.Service<RequestInfo>
): Effect.Effect<Response, never, R> =>
  Effect.catchAllCause(handler, (cause) => {
    const error = Option.getOrUndefined(Cause.failureOption(cause))
    if (isHelixError(error)) return Effect.succeed(toResponse(error))
    if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
    return Effect.as(logDefect(cause, info), defectResponse(info.id))
  })

const currentFiber = Effect.withFiberRuntime<Fiber.RuntimeFiber<unknown, unknown>>(Effect.succeed)

/** What a server that is stopping does no more. Operators and probes are answered to the end. */
const isWork = (path: HttpLayerRouter.PathInput): boolean => path.startsWith("/v1/")

/**
 * What surrounds a handler: the request's id, its scope, its error's answer and its measures. These end when the last byte of the
 * answer is handed to the operating system, or the client has gone.
 */
const around = <R>(path: HttpLayerRouter.PathInput, handler: Effect.Effect<Response, HelixError, R>) =>
  Effect.gen(function* () {
    const info = yield* RequestInfo.make
    const { stallMillis } = yield* HttpLimits
    const shutdown = yield* Shutdown
    const request = yield* HttpServerRequest.HttpServerRequest
    const nodeResponse = NodeHttpServerRequest.toServerResponse(request)
    const method = methods.has(request.method) ? request.method : otherMethod
    let status = abandoned
    countActive(1, method, path)
    const fiber = yield* currentFiber
    const leave = shutdown.enter(() => {
      dismiss(nodeResponse, new ShuttingDown())
      fiber.unsafeInterruptAsFork(FiberId.none)
    })
    const measure = () => {
      leave()
      countActive(-1, method, path)
      observeDuration((performance.now() - info.startedAt) / 1000, method, path, status)
    }
    if (nodeResponse.closed) measure()
    else nodeResponse.once("close", measure)
    if (isWork(path)) yield* turn
    const refused = shutdown.stopping() && isWork(path)
    // So that the client's next request finds another server.
    if (shutdown.stopping() && !nodeResponse.headersSent) nodeResponse.setHeader("connection", "close")
    return yield* recover(refused ? Effect.fail(new ShuttingDown()) : Effect.scoped(handler), info).pipe(
      Effect.provideService(RequestInfo, info),
      Effect.map((response) => {
        status = String(response.status)
        if (nodeResponse.writableEnded) return response
        // If the client leaves the answer unread, node destroys the socket.
        nodeResponse.setTimeout(stallMillis)
        return withProcessingTime(response, info)
      })
    )
  })

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE"

/** The methods of a path; the others are refused by name. `HEAD` is answered where `GET` is. */
export const resource = <R>(
  path: HttpLayerRouter.PathInput,
  handlers: ReadonlyMap<Method, Effect.Effect<Response, HelixError, R>>
) => {
  const byMethod = new Map<string, Effect.Effect<Response, HelixError, R>>(handlers)
  const get = handlers.get("GET")
  if (get !== undefined) byMethod.set("HEAD", get)
  const allowed = [...byMethod.keys()]
  const checked = Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    ({ method }): Effect.Effect<Response, HelixError, R> =>
      byMethod.get(method) ?? Effect.fail(new MethodNotAllowed({ method, allowed }))
  )
  return HttpLayerRouter.add("*", path, around(path, checked))
}

/** A path with one method. */
export const endpoint = <R>(
  method: Method,
  path: HttpLayerRouter.PathInput,
  handler: Effect.Effect<Response, HelixError, R>
) => resource(path, new Map([[method, handler]]))
