/** What is done for a client's messages. A request runs in a fiber of its own; its failure is a message and never the connection's end. */
import { Runtime } from "@helixflow/runtime/Runtime"
import { InvalidRequest, SessionNotFound } from "@helixflow/schema/Errors"
import { SessionId } from "@helixflow/schema/Ids"
import { OpenAiChatRequest } from "@helixflow/schema/OpenAiChat"
import type { SessionError, SessionEvent } from "@helixflow/schema/SessionActor"
import { ClientMessage, messageTypes } from "@helixflow/schema/WebSocketMessages"
import { Cause, Clock, Effect, Either, Option, ParseResult, Scope } from "effect"
import { Meter } from "./Admission.ts"
import { type ChatForm, encoderOf, fromText, lastCertain } from "./AnswerForm.ts"
import { accept } from "./ChatCompletions.ts"
import { forEachBatch, type Generation, resume } from "./Generations.ts"
import { defectBody, type HelixError, isHelixError, toBody } from "./OpenAiErrors.ts"
import { toInvalidRequest } from "./ParameterIssue.ts"
import { Principal } from "./Principal.ts"
import { newRequestId } from "./RequestInfo.ts"
import { toUsageBody } from "./UsageBody.ts"
import type { WebSocketConnection } from "./WebSocketConnection.ts"

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
  return forEachBatch(generation, (events: Iterable<SessionEvent>) => {
    for (const event of events) {
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
    return connection.isFull ? connection.drained : Effect.void
  })
}

/** Where a request on a connection has come: how it is known to others, once it is. */
export interface Progress {
  completion: SessionId | undefined
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

/** A chat, streamed in any case. */
export const createChat = (
  connection: WebSocketConnection,
  { body, id }: Extract<ClientMessage, { type: "chat.completions.create" }>,
  turn: number,
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
    const chat = yield* Either.mapLeft(decodeChat({ ...given, stream: true }), toInvalidRequest)
    const { form, generation } = yield* accept(chat, { connection: connection.session, request: id, turn })
    progress.completion = form.identity.id
    yield* write(connection, id, form, generation, 0)
  }).pipe(withinLimits, Effect.scoped)

/** A stream to go on with. */
export interface Resumption {
  readonly completion: SessionId
  readonly form: ChatForm
  /** The client's name for it. */
  readonly id: string
  readonly skipped: number
}

/** What a client resumes: one completion, or the streams of a connection that was lost. */
export const resumptions = (message: Extract<ClientMessage, { type: "resume" }>) =>
  Effect.gen(function* () {
    const { last_seq: last = -1, session } = message
    const { sessions } = yield* Runtime
    const notFound = new SessionNotFound({ session })
    if (sessions === null) return yield* notFound
    const { tenant } = yield* Principal
    const read = (completion: SessionId) =>
      Effect.map(sessions.read(completion, tenant), ({ keep, record }) => {
        const form = fromText(keep.answer)
        const ended = record.exit !== null
        return form._tag === "Chat" ? [{ completion, form, id: form.request ?? completion, ended }] : []
      })
    const isConnection = session.startsWith("ws_")
    const completions = isConnection ? yield* sessions.onConnection(session, tenant) : [SessionId.make(session)]
    const found = (yield* Effect.forEach(completions, read))
      .flat()
      .sort((a, b) => (a.form.turn ?? 0) - (b.form.turn ?? 0))
    const latest = found.at(-1)
    if (latest === undefined) return yield* notFound
    if (typeof last === "object" && last !== null) {
      return yield* Effect.forEach(Object.entries(last), ([id, seq]) => {
        const named = found.findLast((stream) => stream.id === id)
        return named === undefined
          ? refuse(`The session has no request \`${id}\`.`, `last_seq.${id}`)
          : Effect.succeed<Resumption>({ ...named, skipped: seq + 1 })
      })
    }
    if (found.some((stream) => stream !== latest && !stream.ended)) {
      return yield* refuse(
        "Several requests of the session have not ended: 'last_seq' must be an object with the last seq of each, by its id.",
        "last_seq"
      )
    }
    return [{ ...latest, id: message.id ?? latest.id, skipped: (last ?? -1) + 1 } satisfies Resumption]
  })

export const resumeChat = (connection: WebSocketConnection, { completion, form, id, skipped }: Resumption) =>
  Effect.gen(function* () {
    const { sessions } = yield* Runtime
    const { tenant } = yield* Principal
    if (sessions === null) return yield* new SessionNotFound({ session: completion })
    const { record } = yield* sessions.read(completion, tenant)
    const { certain, generation } = yield* resume(sessions, completion, tenant, form, record.exit !== null)
    const known = lastCertain(form, record, certain)
    if (skipped > known + 1) {
      return yield* refuse(
        `Only the chunks up to ${known} are known to be as they were: resume after one of those.`,
        "last_seq"
      )
    }
    yield* write(connection, id, form, generation, skipped)
  }).pipe(Effect.scoped)

/** Runs what a client has asked for, and tells it if that fails. */
export const told = <R>(
  connection: WebSocketConnection,
  id: string | undefined,
  request: Effect.Effect<void, HelixError, R>
): Effect.Effect<void, never, R> =>
  Effect.catchAllCause(request, (cause) => {
    if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
    const error = Option.getOrUndefined(Cause.failureOption(cause))
    if (isHelixError(error)) return Effect.sync(() => connection.sendError(toBody(error).error, id))
    const requestId = newRequestId()
    return Effect.zipRight(
      Effect.annotateLogs(Effect.logError("A WebSocket's request met a defect", cause), "request", requestId),
      Effect.sync(() => connection.sendError(defectBody(requestId).error, id))
    )
  })
