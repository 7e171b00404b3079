/** What becomes of a client's messages: each by its type. A request runs in a fiber of its own; all else is done in the order it came. */
import type { Runtime } from "@helixflow/runtime/Runtime"
import { Attribute, webSocketSpan } from "@helixflow/runtime/Telemetry"
import { InvalidRequest, PermissionDenied, ShuttingDown, TooManyConnections } from "@helixflow/schema/Errors"
import type { ClientMessage } from "@helixflow/schema/WebSocketMessages"
import { Effect, Either, FiberSet } from "effect"
import { type HelixError, toBody } from "./OpenAiErrors.ts"
import { Principal, type PrincipalShape } from "./Principal.ts"
import { Shutdown } from "./Shutdown.ts"
import * as StatusTopics from "./StatusTopics.ts"
import { keyOf, ruleOf } from "./TopicRules.ts"
import { Topics } from "./Topics.ts"
import { turn } from "./Turns.ts"
import { CloseCode, type WebSocketConnection } from "./WebSocketConnection.ts"
import { WebSocketLimits } from "./WebSocketLimits.ts"
import * as Requests from "./WebSocketRequests.ts"

export interface RouterOptions {
  /** Who the client of a connection is now; a connection of one who may do nothing any more is dismissed. */
  readonly identify: (connection: WebSocketConnection) => Effect.Effect<PrincipalShape, HelixError>
  /** Makes this connection the one that has a session: there is no other afterwards. */
  readonly takeOver: (connection: WebSocketConnection, session: string) => void
}

const noResponses = new InvalidRequest({
  reason: "'responses.create' is not supported: this server has no /v1/responses. Use 'chat.completions.create'.",
  param: "type",
  code: "unsupported_value"
})

const lateResume = new InvalidRequest({
  reason: "A connection takes over the session of another before its first request, or not at all.",
  param: "session"
})

const serversOwn = new InvalidRequest({ reason: "Only the server publishes to this topic.", param: "topic" })

/** Numbers that grow from one to the next, also from one server to the one that is started after it. */
const makeOrder = () => {
  let last = 0
  return () => {
    last = Math.max(last + 1, Date.now() * 1000)
    return last
  }
}

export const make = ({ identify, takeOver }: RouterOptions) =>
  Effect.gen(function* () {
    const limits = yield* WebSocketLimits
    const shutdown = yield* Shutdown
    const topics = new Topics()
    const status = yield* StatusTopics.make(topics)
    const fork = yield* FiberSet.makeRuntime<Runtime, void, never>()
    const nextOrder = makeOrder()

    const denied = (connection: WebSocketConnection, error: HelixError, id?: string) =>
      connection.sendError(toBody(error).error, id)

    /** Runs a request in a fiber of its own, known by the client's id. */
    const start = (
      connection: WebSocketConnection,
      id: string,
      type: ClientMessage["type"],
      request: (progress: Requests.Progress) => Effect.Effect<void, HelixError, Runtime | Principal>
    ) => {
      const refused = shutdown.stopping()
        ? new ShuttingDown()
        : connection.requests.has(id)
          ? new InvalidRequest({ reason: `The request \`${id}\` is in progress.`, param: "id" })
          : connection.requests.size >= limits.requests
            ? new TooManyConnections({ what: "requests on this connection", limit: limits.requests })
            : undefined
      if (refused !== undefined) return denied(connection, refused, id)
      const progress: Requests.Progress = { completion: undefined, kept: false, cancelled: false }
      const leave = shutdown.enter(() => connection.close(CloseCode.goingAway, "The server is stopping."))
      const identified = Effect.flatMap(identify(connection), (principal) =>
        Effect.provideService(
          Effect.zipRight(Effect.annotateCurrentSpan(Attribute.endUser, principal.id), request(progress)),
          Principal,
          principal
        )
      )
      const fiber = fork(
        Requests.told(connection, id, identified, progress).pipe(
          Effect.withSpan(webSocketSpan(type), {
            kind: "server",
            root: true,
            captureStackTrace: false,
            attributes: { [Attribute.session]: connection.session, [Attribute.requestId]: id }
          }),
          Effect.ensuring(
            Effect.sync(() => {
              leave()
              connection.requests.delete(id)
              connection.usedAt = performance.now()
              connection.closeIfDismissed()
            })
          ),
          // so that it is known before it may end
          (running) => Effect.zipRight(Effect.yieldNow(), Effect.zipRight(turn, running))
        )
      )
      connection.requests.set(id, { fiber, progress })
    }

    /** Does what no later message may overtake. */
    const inOrder = (
      connection: WebSocketConnection,
      id: string | undefined,
      task: Effect.Effect<void, HelixError, Runtime>
    ) => {
      const release = connection.hold()
      fork(Effect.ensuring(Requests.told(connection, id, task), Effect.sync(release)))
    }

    const cancel = (connection: WebSocketConnection, id: string) => {
      const running = connection.requests.get(id)
      if (running !== undefined) return inOrder(connection, id, Requests.cancel(running, connection.principal))
      const reason = `There is no request \`${id}\` in progress.`
      denied(connection, new InvalidRequest({ reason, param: "id" }), id)
    }

    const resume = (connection: WebSocketConnection, message: Extract<ClientMessage, { type: "resume" }>) => {
      const takesOver = Requests.isConnections(message.session) && message.session !== connection.session
      if (takesOver && connection.hasAsked) return denied(connection, lateResume)
      inOrder(
        connection,
        message.id ?? undefined,
        Effect.map(
          Effect.provideServiceEffect(Requests.resumptions(message), Principal, identify(connection)),
          (all) => {
            const { found, missing } = all
            if (takesOver) takeOver(connection, message.session)
            connection.hasAsked = true
            connection.send(JSON.stringify({ type: "session", session: connection.session }))
            for (const id of missing) {
              const reason = `The session has no request \`${id}\`.`
              denied(connection, new InvalidRequest({ reason, param: `last_seq.${id}` }), id)
            }
            for (const resumption of found) {
              start(connection, resumption.id, message.type, (progress) => {
                Object.assign(progress, { completion: resumption.completion, kept: true })
                return Requests.resumeChat(connection, resumption)
              })
            }
          }
        )
      )
    }

    const subscribe = (connection: WebSocketConnection, topic: string) => {
      if (connection.topics.has(topic)) return
      if (connection.topics.size >= limits.topics) {
        return denied(connection, new TooManyConnections({ what: "topics of this connection", limit: limits.topics }))
      }
      const { scopes, tenant } = connection.principal
      const { listen, shared } = ruleOf(topic)
      if (!scopes.has(listen)) return denied(connection, new PermissionDenied({ scope: listen }))
      connection.topics.set(topic, topics.subscribe(keyOf(tenant, topic), connection))
      if (shared) status.refresh()
    }

    const publish = (connection: WebSocketConnection, topic: string, data: unknown) => {
      const { scopes, tenant } = connection.principal
      const { speak } = ruleOf(topic)
      if (speak === null) return denied(connection, serversOwn)
      if (!scopes.has(speak)) return denied(connection, new PermissionDenied({ scope: speak }))
      topics.publish(keyOf(tenant, topic), topic, JSON.stringify(data ?? null))
    }

    const take = (connection: WebSocketConnection, message: ClientMessage): void => {
      switch (message.type) {
        case "chat.completions.create": {
          const order = nextOrder()
          connection.hasAsked = true
          start(connection, message.id, message.type, (progress) =>
            Requests.createChat(connection, message, order, progress)
          )
          break
        }
        case "responses.create":
          denied(connection, noResponses, message.id)
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

    return (connection: WebSocketConnection, text: string): void =>
      Either.match(Requests.parse(text), {
        onLeft: (error) => denied(connection, error),
        onRight: (message) => take(connection, message)
      })
  })
