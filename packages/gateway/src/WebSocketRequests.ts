/** What is done for a client's messages. A request runs in a fiber of its own; its failure is a message and never the connection's end. */
import { Runtime } from "@helixflow/runtime/Runtime"
import type { Kept } from "@helixflow/runtime/SessionStore"
import { Cancelled, InvalidRequest, SessionNotFound, type StorageUnavailable } from "@helixflow/schema/Errors"
import { SessionId } from "@helixflow/schema/Ids"
import { OpenAiChatRequest } from "@helixflow/schema/OpenAiChat"
import type { SessionError, SessionEvent, Waiting } from "@helixflow/schema/SessionActor"
import { ClientMessage, messageTypes } from "@helixflow/schema/WebSocketMessages"
import { Cause, Clock, Effect, Either, type Fiber, Option, ParseResult, Scope } from "effect"
import { Meter } from "./Admission.ts"
import { type ChatForm, encoderOf, fromText, lastCertain } from "./AnswerForm.ts"
import { accept } from "./ChatCompletions.ts"
import { forEachBatch, type Generation, resume } from "./Generations.ts"
import { defectBody, type HelixError, isHelixError, toBody } from "./OpenAiErrors.ts"
import { toInvalidRequest } from "./ParameterIssue.ts"
import { Principal, type PrincipalShape } from "./Principal.ts"
import { route } from "./Relay.ts"
import { newRequestId } from "./RequestInfo.ts"
import { toUsageBody } from "./UsageBody.ts"
import type { WebSocketConnection } from "./WebSocketConnection.ts"
import * as WebSocketRelay from "./WebSocketRelay.ts"

const strict = { errors: "first", onExcessProperty: "error" } as const

const decodeMessage = ParseResult.decodeUnknownEither(ClientMessage, strict)

const decodeChat = ParseResult.decodeUnknownEither(OpenAiChatRequest, strict)

const refuse = (reason: string, param: string | null, code = "invalid_value") =>
  new InvalidRequest({ reason, param, code })

/** A message, or what is wrong with the text. */
export const parse = (text: string): Either.Either<ClientMessage, InvalidRequest> => {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return Either.left(new InvalidRequest({ reason: "The message is not valid JSON.", param: null }))
  }
  const type = typeof json === "object" && json !== null && "type" in json ? json.type : undefined
  if (type === undefined) return Either.left(refuse("The message has no 'type'.", "type", "missing_required_parameter"))
  if (typeof type !== "string" || !messageTypes.includes(type)) {
    const reason = `Unknown message type: ${JSON.stringify(type).slice(0, 100)}. Known: ${messageTypes.join(", ")}.`
    return Either.left(refuse(reason, "type"))
  }
  return Either.mapLeft(decodeMessage(json), toInvalidRequest)
}

const seconds = (millis: number): number => Math.round(millis / 100) / 10

/** How it stands with a request that waits for a place. Times in seconds; null: not known. */
const queueMessage = (id: string, { expectedMillis, loading, position, waitedMillis, waiting }: Waiting): string =>
  JSON.stringify({
    type: "queue",
    id,
    position,
    waiting,
    waited: seconds(waitedMillis),
    expected: expectedMillis === null ? null : seconds(expectedMillis),
    loading: loading && {
      elapsed: seconds(loading.elapsedMillis),
      usual: loading.usualMillis === null ? null : seconds(loading.usualMillis)
    }
  })

/** Writes a stream's chunks as messages, without the first `skipped`, as fast as the client reads. */
const write = (
  connection: WebSocketConnection,
  id: string,
  form: ChatForm,
  generation: Generation,
  skipped: number
): Effect.Effect<void, SessionError> => {
  const encoder = encoderOf(form)
  const head = `{"type":"chat.completion.chunk","id":${JSON.stringify(id)},"seq":`
  let number = 0
  let unwritten = encoder.open
  const send = (chunks: ReadonlyArray<string>) => {
    for (const chunk of chunks) {
      if (number >= skipped) connection.send(`${head}${number},"data":${chunk}}`)
      number++
    }
  }
  const sendAll = (events: ReadonlyArray<SessionEvent>) => {
    let waiting: Waiting | undefined
    for (const event of events) {
      waiting = event._tag === "Waiting" ? event : undefined
      if (event._tag === "Waiting") continue
      send(unwritten)
      unwritten = []
      send(encoder.encode(event))
      if (event._tag === "Completed") {
        connection.send(
          JSON.stringify({ type: "chat.completion.done", id, seq: number, usage: toUsageBody(event.usage) })
        )
      }
    }
    // how it stood before is no news
    if (waiting !== undefined) connection.send(queueMessage(id, waiting))
  }
  return forEachBatch(generation, (events) => {
    connection.together(() => sendAll(events))
    return connection.isFull ? connection.drained : Effect.void
  })
}

/** Where a request on a connection has come. */
export interface Progress {
  /** How it is known to others, once it is; also where it is known to nobody later, since it is not kept. */
  completion: SessionId | undefined
  /** Whether its completion goes on without it. */
  kept: boolean
  /** Whether its client wanted it to end. */
  cancelled: boolean
}

export interface RunningRequest {
  readonly fiber: Fiber.RuntimeFiber<void>
  readonly progress: Progress
}

const asObject = (body: unknown) =>
  typeof body === "object" && body !== null && !Array.isArray(body) ? body : undefined

/** Counts a request against the limits of its key, as each `POST` is. */
const withinLimits = <A, E, R>(request: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const { admission } = yield* Principal
    const lease = admission.enter(yield* Clock.currentTimeMillis)
    if (lease._tag === "RateLimitExceeded") return yield* lease
    yield* Scope.addFinalizer(yield* Effect.scope, Effect.sync(lease.release))
    return yield* Effect.provideService(request, Meter, lease)
  })

/** A chat, streamed in any case. `order`: of the session's requests the later have the greater. */
export const createChat = (
  connection: WebSocketConnection,
  { body, id }: Extract<ClientMessage, { type: "chat.completions.create" }>,
  order: number,
  progress: Progress
) =>
  Effect.gen(function* () {
    const given = asObject(body)
    if (given === undefined)
      return yield* refuse("Invalid type for 'body': expected a JSON object.", "body", "invalid_type")
    if ("stream" in given && given.stream === false) {
      return yield* refuse(
        "Unsupported value for 'stream': over a WebSocket answers are streamed.",
        "stream",
        "unsupported_value"
      )
    }
    let begun = false
    yield* route(
      "/chat/completions",
      { ...given, stream: true },
      {
        hasBegun: () => begun,
        theirs: (answer) => {
          begun = !(answer.body instanceof Uint8Array)
          return WebSocketRelay.tell(connection, id, answer)
        },
        ours: (asked) =>
          Effect.gen(function* () {
            const chat = yield* Either.mapLeft(decodeChat(asked), toInvalidRequest)
            const { form, generation } = yield* accept(chat, {
              connection: connection.session,
              request: id,
              order,
              begins: (completion, kept) => Object.assign(progress, { completion, kept })
            })
            begun = true
            yield* write(connection, id, form, generation, 0)
          })
      }
    )
  }).pipe(withinLimits, Effect.scoped)

/** A stream to go on with. */
export interface Resumption {
  readonly completion: SessionId
  readonly form: ChatForm
  /** The client's name for it. */
  readonly id: string
  readonly skipped: number
}

export interface Resumptions {
  readonly found: ReadonlyArray<Resumption>
  /** What the client has asked for and there is not, by its names. */
  readonly missing: ReadonlyArray<string>
}

/** A stream of the session that is resumed, as it is known without reading it. */
interface Candidate {
  readonly completion: SessionId
  readonly form: ChatForm
  readonly id: string
  readonly ended: boolean
}

const candidateOf = ({ answer, ended, session }: Kept): ReadonlyArray<Candidate> => {
  const form = fromText(answer)
  return form._tag === "Chat" ? [{ completion: session, form, id: form.request ?? session, ended }] : []
}

/** Whether a session is that of a connection, and not a completion. */
export const isConnections = (session: string): boolean => session.startsWith("ws_")

/** What a client resumes: one completion, or the streams of a connection that was lost. */
export const resumptions = (
  message: Extract<ClientMessage, { type: "resume" }>
): Effect.Effect<Resumptions, SessionNotFound | StorageUnavailable | InvalidRequest, Runtime | Principal> =>
  Effect.gen(function* () {
    const { last_seq: last = -1, session } = message
    const { sessions } = yield* Runtime
    const notFound = new SessionNotFound({ session })
    if (sessions === null) return yield* notFound
    const { tenant } = yield* Principal
    const kept = isConnections(session)
      ? yield* sessions.onConnection(session, tenant)
      : [yield* sessions.describe(SessionId.make(session), tenant)]
    const candidates = kept.flatMap(candidateOf).sort((a, b) => (a.form.order ?? 0) - (b.form.order ?? 0))
    const latest = candidates.at(-1)
    if (latest === undefined) return yield* notFound
    if (typeof last === "object" && last !== null) {
      const found: Array<Resumption> = []
      const missing: Array<string> = []
      for (const [id, seq] of Object.entries(last)) {
        const named = candidates.findLast((stream) => stream.id === id)
        if (named === undefined) missing.push(id)
        else found.push({ ...named, skipped: seq + 1 })
      }
      return { found, missing }
    }
    if (candidates.some((stream) => stream !== latest && !stream.ended)) {
      return yield* refuse(
        "Several requests of the session have not ended: 'last_seq' must be an object with the last seq of each, by its id.",
        "last_seq"
      )
    }
    return { found: [{ ...latest, id: message.id ?? latest.id, skipped: (last ?? -1) + 1 }], missing: [] }
  })

export const resumeChat = (connection: WebSocketConnection, { completion, form, id, skipped }: Resumption) =>
  Effect.gen(function* () {
    const { sessions } = yield* Runtime
    const { tenant } = yield* Principal
    if (sessions === null) return yield* new SessionNotFound({ session: completion })
    const { certain, generation, record } = yield* resume(sessions, completion, tenant, form)
    const known = lastCertain(form, record, certain)
    if (skipped > known + 1) {
      return yield* refuse(
        `Only the chunks up to ${known} are known to be as they were: resume after one of those.`,
        "last_seq"
      )
    }
    yield* write(connection, id, form, generation, skipped)
  }).pipe(Effect.scoped)

/** Ends a request; it ends with the error `cancelled`, unless it has ended well before. */
export const cancel = ({ fiber, progress }: RunningRequest, { tenant }: PrincipalShape) =>
  Effect.gen(function* () {
    const { sessions } = yield* Runtime
    const end = Effect.sync(() => {
      progress.cancelled = true
      fiber.unsafeInterruptAsFork(fiber.id())
    })
    const { completion, kept } = progress
    if (sessions === null || completion === undefined || !kept) return yield* end
    // its reader is told; one that is not kept yet has nothing that goes on without it
    yield* Effect.catchAll(sessions.cancel(completion, tenant), () => end)
  })

/** Runs what a client has asked for, and tells it if that fails. */
export const told = <R>(
  connection: WebSocketConnection,
  id: string | undefined,
  request: Effect.Effect<void, HelixError, R>,
  progress?: Progress
): Effect.Effect<void, never, R> => {
  const tell = (error: HelixError) => connection.sendError(toBody(error).error, id)
  return request.pipe(
    Effect.catchAllCause((cause) => {
      if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
      const error = Option.getOrUndefined(Cause.failureOption(cause))
      if (isHelixError(error)) return Effect.sync(() => tell(error))
      const requestId = newRequestId()
      return Effect.zipRight(
        Effect.annotateLogs(Effect.logError("A WebSocket's request met a defect", cause), "request", requestId),
        Effect.sync(() => connection.sendError(defectBody(requestId).error, id))
      )
    }),
    Effect.onInterrupt(() =>
      Effect.sync(() => {
        if (progress?.cancelled === true) tell(new Cancelled())
      })
    )
  )
}
