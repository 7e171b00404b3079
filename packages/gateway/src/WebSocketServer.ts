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
import type { Runtime } from "@helixflow/runtime/Runtime"
import { Services } from "@helixflow/runtime/Services"
import { byAttributes, webSocketConnections } from "@helixflow/runtime/Telemetry"
import {
  HostNotAllowed,
  InvalidRequest,
  ShuttingDown,
  TooManyConnections,
  UpgradeRequired
} from "@helixflow/schema/Errors"
import { Duration, Effect, FiberSet, Layer, Schedule } from "effect"
import { type WebSocket, WebSocketServer } from "ws"
import { AllowedHosts, isAllowed } from "./AllowedHosts.ts"
import { Identity } from "./Authentication.ts"
import { endpoint } from "./Endpoint.ts"
import * as HttpListener from "./HttpListener.ts"
import type { HelixError } from "./OpenAiErrors.ts"
import { type PrincipalShape, requireScope } from "./Principal.ts"
import { Shutdown } from "./Shutdown.ts"
import { turn } from "./Turns.ts"
import { CloseCode, WebSocketConnection } from "./WebSocketConnection.ts"
import { WebSocketLimits } from "./WebSocketLimits.ts"
import * as WebSocketRouter from "./WebSocketRouter.ts"

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

/** In how many parts the heartbeat looks after the connections, so that it never looks after all of them at once. */
const beats = 16

const make = Effect.gen(function* () {
  const limits = yield* WebSocketLimits
  const identity = yield* Identity
  const allowedHosts = yield* AllowedHosts
  const shutdown = yield* Shutdown
  /** By session: the last that took it. */
  const connections = new Map<string, WebSocketConnection>()
  const open = Array.from({ length: beats }, () => new Set<WebSocketConnection>())
  const perPrincipal = new Map<string, number>()
  const fork = yield* FiberSet.makeRuntime<never, void, never>()
  let count = 0
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: limits.messageBytes,
    perMessageDeflate: limits.compression,
    handleProtocols: chooseProtocol
  })

  const authenticate = (authorization: string | undefined) =>
    Effect.flatMap(identity.authenticate(authorization), (principal) => requireScope(principal, "inference"))

  /** Takes note of who a client is now. What it has begun is finished, whoever it is. */
  const recognise = (
    authorization: string | undefined,
    theirs: ReadonlyArray<WebSocketConnection>
  ): Effect.Effect<PrincipalShape, HelixError> =>
    authenticate(authorization).pipe(
      Effect.tap((principal) =>
        Effect.sync(() => {
          for (const connection of theirs) connection.principal = principal
        })
      ),
      Effect.tapError((error) =>
        Effect.sync(() => {
          if (error._tag !== "Unauthenticated" && error._tag !== "PermissionDenied") return
          for (const connection of theirs) connection.dismiss(error.message)
        })
      )
    )

  const take = yield* WebSocketRouter.make({
    identify: (connection) => recognise(connection.authorization, [connection]),
    takeOver: (connection, session) => {
      connections.get(session)?.close(CloseCode.takenOver, "The session was resumed on another connection.")
      connections.delete(connection.session)
      connection.session = session
      connections.set(session, connection)
    }
  })

  const opened = (
    socket: WebSocket,
    transport: Duplex,
    principal: PrincipalShape,
    authorization: string | undefined
  ) => {
    const connection = new WebSocketConnection(socket, transport, principal, authorization, limits, take)
    const { id } = principal
    const part = open[count++ % beats]
    part?.add(connection)
    connections.set(connection.session, connection)
    countConnections(1)
    perPrincipal.set(id, (perPrincipal.get(id) ?? 0) + 1)
    socket.on("message", (data, isBinary) => {
      if (isBinary) connection.close(CloseCode.unsupported, "Messages are JSON texts.")
      else connection.receive(String(data))
    })
    socket.on("pong", () => {
      connection.unanswered = 0
    })
    // ws closes by itself, with the code that fits
    socket.on("error", () => connection.refuse())
    socket.once("close", () => {
      part?.delete(connection)
      if (connections.get(connection.session) === connection) connections.delete(connection.session)
      countConnections(-1)
      const left = (perPrincipal.get(id) ?? 1) - 1
      if (left === 0) perPrincipal.delete(id)
      else perPrincipal.set(id, left)
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
      const principal = yield* authenticate(authorizationOf(request))
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
      Effect.zipRight(turn, admit(request)).pipe(
        Effect.match({
          onSuccess: (principal) => {
            socket.off("error", onEarlyError)
            server.handleUpgrade(request, socket, head, (webSocket) =>
              opened(webSocket, socket, principal, authorizationOf(request))
            )
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
        for (const connection of connections.values()) connection.close(CloseCode.goingAway, stopping)
        yield* Effect.repeat(Effect.void, {
          until: () => connections.size === 0,
          schedule: Schedule.spaced("10 millis")
        }).pipe(Effect.timeoutOption(farewell))
      })
  )

  /** Looks after a part of the connections: are they there, do they do something, may they still? */
  const beat = (part: ReadonlySet<WebSocketConnection>) =>
    Effect.suspend(() => {
      const now = performance.now()
      const byCredential = new Map<string | undefined, Array<WebSocketConnection>>()
      for (const connection of part) {
        // counted, and not timed: a server that was held up itself has heard nobody
        if (connection.unanswered >= 2) {
          connection.socket.terminate()
        } else if (connection.isIdle && now - connection.usedAt > limits.idleMillis) {
          connection.close(CloseCode.goingAway, "The connection was idle.")
        } else {
          connection.ping()
          const theirs = byCredential.get(connection.authorization)
          if (theirs === undefined) byCredential.set(connection.authorization, [connection])
          else theirs.push(connection)
        }
      }
      return Effect.forEach(
        byCredential,
        // who can't be asked about now is asked about again
        ([authorization, theirs]) => Effect.ignore(recognise(authorization, theirs)),
        { discard: true }
      )
    })
  yield* (yield* Services).add(
    "websocket-heartbeat",
    Effect.forever(
      Effect.forEach(open, (part) => Effect.delay(beat(part), limits.heartbeatMillis / beats), { discard: true })
    )
  )

  // who waits for nothing goes first; the others when their requests have ended, or the time is up
  yield* Effect.forkScoped(
    Effect.zipRight(
      shutdown.begun,
      Effect.sync(() => {
        for (const connection of connections.values()) {
          if (connection.requests.size === 0) connection.close(CloseCode.goingAway, stopping)
        }
      })
    )
  )
})

const stopping = "The server is stopping."

const countConnections = byAttributes(webSocketConnections, [])

/** What is answered to a request that asks for no WebSocket. */
export const routes = endpoint("GET", path, Effect.fail(new UpgradeRequired()))

export const layer: Layer.Layer<never, never, HttpServer.HttpServer | Identity | Runtime | Services> =
  Layer.scopedDiscard(make)
