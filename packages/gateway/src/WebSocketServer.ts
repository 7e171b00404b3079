/**
 * `/v1/ws`: who may connect, how many, and for how long; the one place where `upgrade` events of our servers end.
 *
 * A connection costs no fiber and no timer of its own while it is idle: one heartbeat looks after all, and a request's fiber lives as
 * long as the request.
 */
import * as Http from "node:http"
import type { Duplex } from "node:stream"
import { TLSSocket } from "node:tls"
import { HttpServer } from "@effect/platform"
import { Runtime } from "@helixflow/runtime/Runtime"
import {
  Cancelled,
  HostNotAllowed,
  InvalidRequest,
  PermissionDenied,
  ShuttingDown,
  TooManyConnections,
  UpgradeRequired
} from "@helixflow/schema/Errors"
import type { ClientMessage } from "@helixflow/schema/WebSocketMessages"
import { Duration, Effect, Either, FiberSet, Layer, Schedule } from "effect"
import { type WebSocket, WebSocketServer } from "ws"
import { AllowedHosts, isAllowed } from "./AllowedHosts.ts"
import { Identity } from "./Authentication.ts"
import { endpoint } from "./Endpoint.ts"
import * as HttpListener from "./HttpListener.ts"
import { type HelixError, toBody } from "./OpenAiErrors.ts"
import { Principal, type PrincipalShape, requireScope } from "./Principal.ts"
import { Shutdown } from "./Shutdown.ts"
import * as StatusTopics from "./StatusTopics.ts"
import { Topics } from "./Topics.ts"
import { CloseCode, WebSocketConnection } from "./WebSocketConnection.ts"
import { WebSocketLimits } from "./WebSocketLimits.ts"
import * as Requests from "./WebSocketRequests.ts"

const path = "/v1/ws"

/** A browser can't set header fields of a WebSocket, but it can name subprotocols. */
const bearer = "helix.bearer."

/** How long connections have to close when the server ends. */
const farewell = Duration.seconds(1)

/** One that is offered must be chosen, or browsers refuse the connection; the one that is no secret if there is one. */
const chooseProtocol = (offered: ReadonlySet<string>): string | false =>
  [...offered].find((name) => !name.startsWith(bearer)) ?? [...offered][0] ?? false

const authorizationOf = ({ headers }: Http.IncomingMessage): string | undefined => {
  if (headers.authorization !== undefined) return headers.authorization
  const offered = (headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim())
  const token = offered.find((name) => name.startsWith(bearer))
  return token === undefined ? undefined : `Bearer ${token.slice(bearer.length)}`
}

const noResponses = new InvalidRequest({
  reason: "'responses.create' is not supported: this server has no /v1/responses. Use 'chat.completions.create'.",
  param: "type",
  code: "unsupported_value"
})

const make = Effect.gen(function* () {
  const limits = yield* WebSocketLimits
  const identity = yield* Identity
  const allowedHosts = yield* AllowedHosts
  const shutdown = yield* Shutdown
  const topics = new Topics()
  const connections = new Set<WebSocketConnection>()
  const perPrincipal = new Map<string, number>()
  const fork = yield* FiberSet.makeRuntime<Runtime, void, never>()
  const status = yield* StatusTopics.make(topics)
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: limits.messageBytes,
    perMessageDeflate: limits.compression,
    handleProtocols: chooseProtocol
  })

  /** Runs a request in a fiber of its own, known by the client's id. */
  const start = (
    connection: WebSocketConnection,
    id: string,
    request: (progress: Requests.Progress) => Effect.Effect<void, HelixError, Runtime | Principal>
  ) => {
    const refused = shutdown.stopping()
      ? new ShuttingDown()
      : connection.requests.has(id)
        ? new InvalidRequest({ reason: `The request \`${id}\` is in progress.`, param: "id" })
        : connection.requests.size >= limits.requests
          ? new TooManyConnections({ what: "requests on this connection", limit: limits.requests })
          : undefined
    if (refused !== undefined) return connection.sendError(toBody(refused).error, id)
    const progress: Requests.Progress = { completion: undefined }
    const leave = shutdown.enter(() => connection.close(CloseCode.goingAway, "The server is stopping."))
    const fiber = fork(
      Requests.told(connection, id, request(progress)).pipe(
        Effect.provideService(Principal, connection.principal),
        Effect.ensuring(
          Effect.sync(() => {
            leave()
            connection.requests.delete(id)
          })
        ),
        // so that it is known before it may end
        (running) => Effect.zipRight(Effect.yieldNow(), running)
      )
    )
    connection.requests.set(id, { fiber, progress })
  }

  const run = (
    connection: WebSocketConnection,
    id: string | undefined,
    task: Effect.Effect<void, HelixError, Runtime | Principal>
  ) => fork(Effect.provideService(Requests.told(connection, id, task), Principal, connection.principal))

  const cancel = (connection: WebSocketConnection, id: string) => {
    const running = connection.requests.get(id)
    if (running === undefined) {
      const reason = `There is no request \`${id}\` in progress.`
      return connection.sendError(toBody(new InvalidRequest({ reason, param: "id" })).error, id)
    }
    run(
      connection,
      id,
      Effect.gen(function* () {
        const { sessions } = yield* Runtime
        const { completion } = running.progress
        if (sessions !== null && completion !== undefined) {
          // its reader is told
          return yield* Effect.ignore(sessions.cancel(completion, connection.principal.tenant))
        }
        running.fiber.unsafeInterruptAsFork(running.fiber.id())
        return yield* new Cancelled()
      })
    )
  }

  const resume = (connection: WebSocketConnection, message: Extract<ClientMessage, { type: "resume" }>) =>
    run(
      connection,
      message.id ?? undefined,
      Effect.map(Requests.resumptions(message), (found) => {
        if (message.session.startsWith("ws_")) connection.session = message.session
        connection.send(JSON.stringify({ type: "session", session: connection.session }))
        for (const resumption of found) {
          start(connection, resumption.id, (progress) => {
            progress.completion = resumption.completion
            return Requests.resumeChat(connection, resumption)
          })
        }
      })
    )

  const denied = (connection: WebSocketConnection, error: HelixError) => connection.sendError(toBody(error).error)

  const subscribe = (connection: WebSocketConnection, topic: string) => {
    if (connection.topics.has(topic)) return
    if (connection.topics.size >= limits.topics) {
      return denied(connection, new TooManyConnections({ what: "topics of this connection", limit: limits.topics }))
    }
    if (StatusTopics.needsAdmin(topic) && !connection.principal.scopes.has("admin")) {
      return denied(connection, new PermissionDenied({ scope: "admin" }))
    }
    connection.topics.set(topic, topics.subscribe(keyOf(connection, topic), connection))
    if (StatusTopics.isStatus(topic)) status.refresh()
  }

  const publish = (connection: WebSocketConnection, topic: string, data: unknown) => {
    if (StatusTopics.isStatus(topic)) {
      denied(connection, new InvalidRequest({ reason: "Only the server publishes to this topic.", param: "topic" }))
    } else topics.publish(keyOf(connection, topic), topic, JSON.stringify(data ?? null))
  }

  const handle = (connection: WebSocketConnection, message: ClientMessage): void => {
    switch (message.type) {
      case "chat.completions.create": {
        const turn = connection.turns++
        start(connection, message.id, (progress) => Requests.createChat(connection, message, turn, progress))
        break
      }
      case "responses.create":
        connection.sendError(toBody(noResponses).error, message.id)
        break
      case "cancel":
        cancel(connection, message.id)
        break
      case "resume":
        resume(connection, message)
        break
      case "subscribe":
        subscribe(connection, message.topic)
        break
      case "unsubscribe":
        connection.topics.get(message.topic)?.()
        connection.topics.delete(message.topic)
        break
      case "publish":
        publish(connection, message.topic, message.data)
        break
      case "ping":
        connection.send(`{"type":"pong"}`)
    }
  }

  const opened = (socket: WebSocket, principal: PrincipalShape) => {
    const connection = new WebSocketConnection(socket, principal, limits)
    connections.add(connection)
    perPrincipal.set(principal.id, (perPrincipal.get(principal.id) ?? 0) + 1)
    socket.on("message", (data, isBinary) => {
      connection.heardAt = performance.now()
      if (isBinary) return connection.close(CloseCode.unsupported, "Messages are JSON texts.")
      const message = Requests.parse(String(data))
      if (Either.isLeft(message)) denied(connection, message.left)
      else handle(connection, message.right)
    })
    socket.on("pong", () => {
      connection.heardAt = performance.now()
    })
    // ws closes by itself, with the code that fits; who is not heard of here would end the process
    socket.on("error", () => {})
    socket.once("close", () => {
      connections.delete(connection)
      const left = (perPrincipal.get(principal.id) ?? 1) - 1
      if (left === 0) perPrincipal.delete(principal.id)
      else perPrincipal.set(principal.id, left)
      connection.closed()
      for (const { fiber } of connection.requests.values()) fiber.unsafeInterruptAsFork(fiber.id())
    })
    connection.send(JSON.stringify({ type: "session", session: connection.session }))
  }

  const admit = (request: Http.IncomingMessage): Effect.Effect<PrincipalShape, HelixError> =>
    Effect.gen(function* () {
      const { host } = request.headers
      if (host === undefined) {
        return yield* new InvalidRequest({
          reason: "The Host header field is missing.",
          param: null,
          code: "invalid_http"
        })
      }
      if (!(request.socket instanceof TLSSocket) && !isAllowed(allowedHosts, host))
        return yield* new HostNotAllowed({ host })
      const principal = yield* identity.authenticate(authorizationOf(request))
      yield* requireScope(principal, "inference")
      if (shutdown.stopping()) return yield* new ShuttingDown()
      const { connections: most, perPrincipal: each } = limits
      if (connections.size >= most) return yield* new TooManyConnections({ what: "connections", limit: most })
      if ((perPrincipal.get(principal.id) ?? 0) >= each) {
        return yield* new TooManyConnections({ what: "connections of one key", limit: each })
      }
      return principal
    })

  const upgrade = (own: HttpListener.NodeServer) => (request: Http.IncomingMessage, socket: Duplex, head: Buffer) => {
    const isWebSocket = request.headers.upgrade?.toLowerCase() === "websocket"
    if (!isWebSocket || request.url?.split("?", 1)[0] !== path) {
      // a protocol that we don't speak need not be spoken: the request is answered as if it had not asked
      const response = new Http.ServerResponse(request)
      response.shouldKeepAlive = false
      response.assignSocket(request.socket)
      response.once("finish", () => socket.end())
      own.emit("request", request, response)
      return
    }
    const onEarlyError = () => socket.destroy()
    socket.on("error", onEarlyError)
    fork(
      admit(request).pipe(
        Effect.match({
          onSuccess: (principal) => {
            socket.off("error", onEarlyError)
            server.handleUpgrade(request, socket, head, (webSocket) => opened(webSocket, principal))
          },
          onFailure: (error) => {
            socket.end(HttpListener.rawResponse(error))
          }
        })
      )
    )
  }

  const servers = HttpListener.serversOf(yield* HttpServer.HttpServer).map((each) => [each, upgrade(each)] as const)
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      for (const [each, listener] of servers) each.on("upgrade", listener)
    }),
    () =>
      Effect.gen(function* () {
        for (const [each, listener] of servers) each.off("upgrade", listener)
        for (const connection of connections) connection.close(CloseCode.goingAway, "The server is stopping.")
        yield* Effect.repeat(Effect.void, {
          until: () => connections.size === 0,
          schedule: Schedule.spaced("10 millis")
        }).pipe(Effect.timeoutOption(farewell))
      })
  )

  const beat = Effect.sync(() => {
    const now = performance.now()
    for (const connection of connections) {
      if (now - connection.heardAt > 2 * limits.heartbeatMillis) connection.socket.terminate()
      else connection.socket.ping()
    }
  })
  yield* Effect.forkScoped(Effect.schedule(beat, Schedule.spaced(limits.heartbeatMillis)))

  // who waits for nothing goes first; the others when their requests have ended, or the time is up
  yield* Effect.forkScoped(
    Effect.zipRight(
      shutdown.begun,
      Effect.sync(() => {
        for (const connection of connections) {
          if (connection.requests.size === 0) connection.close(CloseCode.goingAway, "The server is stopping.")
        }
      })
    )
  )
})

/** Topics of a tenant's own are its own; those of the server are the same for all. */
const keyOf = ({ principal }: WebSocketConnection, topic: string): string =>
  StatusTopics.isStatus(topic) ? topic : `${principal.tenant}\n${topic}`

/** What is answered to a request that asks for no WebSocket. */
export const routes = endpoint("GET", path, Effect.fail(new UpgradeRequired()))

export const layer: Layer.Layer<never, never, HttpServer.HttpServer | Identity | Runtime> = Layer.scopedDiscard(make)
