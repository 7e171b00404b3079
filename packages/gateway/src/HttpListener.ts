/**
 * Node's servers, with limits on what a client may take its time with. Those that cannot speak HTTP are answered in OpenAI's shape
 * too, and told to go.
 */
import * as Http from "node:http"
import type * as Https from "node:https"
import type { ListenOptions } from "node:net"
import type { Duplex, Writable } from "node:stream"
import * as Tls from "node:tls"
import { HttpServer, type HttpServerError } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Services } from "@helixflow/runtime/Services"
import { HeadersTooLarge, InvalidRequest, RequestTimeout } from "@helixflow/schema/Errors"
import { Effect, Layer } from "effect"
import { HttpLimits, type HttpLimitsShape } from "./HttpLimits.ts"
import { type HelixError, toBody, toStatus } from "./OpenAiErrors.ts"
import { newRequestId, standingHeaders } from "./RequestInfo.ts"

/** Most bytes of a request's header fields. */
const headerBytes = 16 * 1024

/** Milliseconds that a client has to read why it is cut off. A socket that is closed with unread input loses what it wrote. */
const lingerMillis = 1_000

/** Options to create a server with: https takes them too. */
const serverOptions = (limits: HttpLimitsShape): Http.ServerOptions => ({
  headersTimeout: limits.headersMillis,
  requestTimeout: limits.requestMillis,
  keepAliveTimeout: limits.keepAliveMillis,
  connectionsCheckingInterval: Math.max(10, Math.ceil(limits.headersMillis / 4)),
  maxHeaderSize: headerBytes,
  noDelay: true,
  // The gateway refuses such requests itself, with a body.
  requireHostHeader: false
})

/** What node's parser has against a client. */
const refusalOf = (code: string | undefined): HelixError => {
  switch (code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new RequestTimeout()
    case "HPE_HEADER_OVERFLOW":
      return new HeadersTooLarge()
    default:
      return new InvalidRequest({ reason: "The request is not valid HTTP.", param: null, code: "invalid_http" })
  }
}

/** An answer to what is no request to our router. */
export const rawResponse = (error: HelixError): string => {
  const body = JSON.stringify(toBody(error))
  const status = toStatus(error)
  return [
    `HTTP/1.1 ${status} ${Http.STATUS_CODES[status] ?? ""}`,
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${newRequestId()}`,
    ...Object.entries(standingHeaders).map(([name, value]) => `${name}: ${value}`),
    "connection: close",
    "",
    body
  ].join("\r\n")
}

export type NodeServer = Http.Server | Https.Server

/** The open connections of a server, each with the last answer that was begun on it. */
const trackConnections = (server: NodeServer): Map<Duplex, Http.ServerResponse | undefined> => {
  const connections = new Map<Duplex, Http.ServerResponse | undefined>()
  server.on(server instanceof Tls.Server ? "secureConnection" : "connection", (socket: Duplex) => {
    connections.set(socket, undefined)
    socket.once("close", () => connections.delete(socket))
  })
  server.on("request", (request, response) => connections.set(request.socket, response))
  return connections
}

/**
 * Requests that come before there is anybody to answer them: a server listens before what it serves is put together, and node leaves
 * unanswered what nobody hears of.
 */
const holdEarly = (server: NodeServer, event: "request" | "upgrade") => {
  const held: Array<readonly [request: Http.IncomingMessage, answer: Writable, ...rest: Array<unknown>]> = []
  const hold = (...request: (typeof held)[number]) => {
    // a client may leave meanwhile
    request[1].on("error", () => undefined)
    held.push(request)
  }
  const onListener = (name: string | symbol) => {
    if (name !== event) return
    server.off("newListener", onListener)
    // it is there in a moment
    queueMicrotask(() => {
      server.off(event, hold)
      for (const request of held) server.emit(event, ...request)
    })
  }
  server.on(event, hold).on("newListener", onListener)
}

/** Answers what never became a request, unless the client has been answered already or is being so. */
const refuseBrokenClients = (server: NodeServer, connections: ReadonlyMap<Duplex, Http.ServerResponse | undefined>) => {
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    const answer = connections.get(socket)
    const answered = answer?.headersSent === true && !(answer.writableFinished && answer.req.complete)
    if (answered || !socket.writable || error.code === "ECONNRESET") {
      socket.destroy()
      return
    }
    socket.end(rawResponse(refusalOf(error.code)))
    setTimeout(() => socket.destroy(), lingerMillis).unref()
  })
  // An expectation that we do not know is none that we must meet.
  server.on("checkExpectation", (request, response) => server.emit("request", request, response))
}

/** Takes no new connections, waits for the answers in progress, and then cuts off what is left. */
const drain = (
  server: NodeServer,
  connections: ReadonlyMap<Duplex, Http.ServerResponse | undefined>,
  drainMillis: number
) =>
  Effect.async<void>((resume) => {
    server.close(() => resume(Effect.void))
    // Node itself waits for connections that have never sent anything, and for those that an answer leaves idle.
    for (const [socket, answer] of connections) {
      if (answer === undefined || answer.writableFinished) socket.destroy()
      else answer.once("close", () => socket.destroy())
    }
  }).pipe(
    Effect.interruptible,
    Effect.timeoutTo({
      duration: drainMillis,
      onSuccess: () => undefined,
      onTimeout: () => server.closeAllConnections()
    })
  )

const nodeServers = new WeakMap<HttpServer.HttpServer, ReadonlyArray<NodeServer>>()

/** The servers of node that are behind one of ours, to take over their `upgrade` events. */
export const serversOf = (server: HttpServer.HttpServer): ReadonlyArray<NodeServer> => nodeServers.get(server) ?? []

/** To be called of a server that is made of others. */
export const isMadeOf = (server: HttpServer.HttpServer, parts: ReadonlyArray<HttpServer.HttpServer>): void => {
  nodeServers.set(server, parts.flatMap(serversOf))
}

/** Platform's own `serve` takes every `upgrade` event too, and so would answer a WebSocket's handshake as a request. */
const serveOn =
  (server: NodeServer): Parameters<typeof HttpServer.make>[0]["serve"] =>
  (app, middleware) =>
    Effect.flatMap(
      middleware === undefined ? NodeHttpServer.makeHandler(app) : NodeHttpServer.makeHandler(app, middleware),
      (handler) =>
        Effect.acquireRelease(
          Effect.sync(() => server.on("request", handler)),
          () => Effect.sync(() => server.off("request", handler))
        )
    )

/** Fails when the server does not listen any more; listens again where it has failed so before. */
const attend = (server: NodeServer, address: ListenOptions): Effect.Effect<never, Error> =>
  Effect.async((resume) => {
    const failed = (error: Error) => resume(Effect.fail(error))
    const closed = () => failed(new Error("it does not listen any more"))
    server.on("error", failed)
    server.on("close", closed)
    if (!server.listening) server.listen(address)
    return Effect.sync(() => {
      server.off("error", failed)
      server.off("close", closed)
    })
  })

/**
 * A listening server, looked after by a service of this name, which holds at most so many connections at once: one more is closed unheard, so that a flood of them leaves the
 * process descriptors for what it does for others. `create` makes it from options that carry the limits, e.g. `Http.createServer` or
 * `(options) => Https.createServer({ ...options, ...tls })`. On release it stops accepting and waits for the answers in progress.
 */
export const layer = (
  name: string,
  create: (options: Http.ServerOptions) => NodeServer,
  address: ListenOptions,
  mostConnections = Number.POSITIVE_INFINITY
): Layer.Layer<HttpServer.HttpServer, HttpServerError.ServeError, Services> =>
  Layer.scoped(
    HttpServer.HttpServer,
    Effect.gen(function* () {
      const limits = yield* HttpLimits
      const server = create(serverOptions(limits))
      if (Number.isFinite(mostConnections)) server.maxConnections = mostConnections
      const connections = trackConnections(server)
      refuseBrokenClients(server, connections)
      holdEarly(server, "request")
      holdEarly(server, "upgrade")
      const { address: bound } = yield* NodeHttpServer.make(() => server, address)
      yield* Effect.addFinalizer(() => drain(server, connections, limits.drainMillis))
      // one that nobody heard would end the process
      server.on("error", () => undefined)
      const port = bound._tag === "TcpAddress" ? { port: bound.port } : {}
      yield* (yield* Services).add(name, attend(server, { ...address, ...port }))
      const listening = HttpServer.make({ address: bound, serve: serveOn(server) })
      nodeServers.set(listening, [server])
      return listening
    })
  )
