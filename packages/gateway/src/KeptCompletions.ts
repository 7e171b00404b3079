/**
 * Completions that are kept, by their ids: read, streamed again from any chunk, cancelled, removed. A completion of another tenant is
 * not there.
 */
import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Runtime } from "@helixflow/runtime/Runtime"
import type { SessionRecord } from "@helixflow/runtime/SessionRecord"
import { InvalidRequest, SessionNotFound } from "@helixflow/schema/Errors"
import { SessionId } from "@helixflow/schema/Ids"
import { Cause, Effect, Exit, Layer } from "effect"
import { type AnswerForm, answerOf, encoderOf, fromText, lastCertain } from "./AnswerForm.ts"
import { authenticated } from "./Authentication.ts"
import { type Method, resource } from "./Endpoint.ts"
import { eventStream } from "./EventStream.ts"
import { resume } from "./Generations.ts"
import type { HelixError } from "./OpenAiErrors.ts"
import { Principal } from "./Principal.ts"

/** The path's completion: where it is kept, and how it is written. */
const asked = (kind: AnswerForm["_tag"]) =>
  Effect.gen(function* () {
    const { id = "" } = yield* HttpLayerRouter.params
    const session = SessionId.make(id)
    const { sessions } = yield* Runtime
    if (sessions === null) return yield* new SessionNotFound({ session })
    const { tenant } = yield* Principal
    const { keep, record } = yield* sessions.read(session, tenant)
    const form = fromText(keep.answer)
    if (form._tag !== kind) return yield* new SessionNotFound({ session })
    return { session, sessions, tenant, form, record }
  })

const integer = /^-?\d{1,9}$/

const wrong = (param: string, reason: string, code = "invalid_value") => new InvalidRequest({ reason, param, code })

/** A number of chunks from the number of the last one that a client has; undefined where it says none. */
const chunksUntil = (param: string, text: string | undefined) =>
  text === undefined || (integer.test(text) && Number(text) >= -1)
    ? Effect.succeed(text === undefined ? undefined : Number(text) + 1)
    : Effect.fail(wrong(param, `Invalid value for '${param}': expected the number of a chunk, but got '${text}'.`))

/** What a `GET` asks for: `undefined` for the completion as it is, else how many chunks of its stream to leave out. */
const query = Effect.gen(function* () {
  const { headers } = yield* HttpServerRequest.HttpServerRequest
  const { starting_after: after, stream = "false", ...others } = yield* HttpServerRequest.ParsedSearchParams
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) {
    return yield* wrong(unknown, `Unknown parameter: '${unknown}'.`, "unknown_parameter")
  }
  if (stream !== "true" && stream !== "false") return yield* wrong("stream", "'stream' must be 'true' or 'false'.")
  if (Array.isArray(after)) return yield* wrong("starting_after", "'starting_after' is there twice.")
  const byQuery = yield* chunksUntil("starting_after", after)
  const byHeader = yield* chunksUntil("last-event-id", headers["last-event-id"])
  if (stream === "true" || byHeader !== undefined) return byQuery ?? byHeader ?? 0
  return byQuery === undefined
    ? undefined
    : yield* wrong("starting_after", "'starting_after' is only allowed when 'stream' is true.")
})

/** The completion so far, in the shape of a whole one: its finish reasons and usage are null until they are known. */
const body = (form: AnswerForm, record: SessionRecord) => {
  const answer = answerOf(form)
  for (const event of record.events) answer.add(event)
  return { ...answer.body, usage: answer.body.usage ?? null }
}

const retrieve = (kind: AnswerForm["_tag"]) =>
  Effect.gen(function* () {
    const skipped = yield* query
    const { form, record, session, sessions, tenant } = yield* asked(kind)
    if (skipped === undefined) {
      const failed = record.exit !== null && Exit.isFailure(record.exit) ? Cause.failureOption(record.exit.cause) : null
      // a completion that was cancelled is what there was until then
      if (failed?._tag === "Some" && failed.value._tag !== "Cancelled") return yield* failed.value
      return HttpServerResponse.unsafeJson(body(form, record))
    }
    const { certain, generation } = yield* resume(sessions, session, tenant, form)
    const known = lastCertain(form, record, certain)
    if (skipped > known + 1) {
      return yield* wrong(
        "starting_after",
        `Only the chunks up to ${known} are known to be as they were before the server's end: start after one of those.`
      )
    }
    return yield* eventStream(generation, encoderOf(form), skipped)
  })

const cancel = (kind: AnswerForm["_tag"]) =>
  Effect.gen(function* () {
    const { form, session, sessions, tenant } = yield* asked(kind)
    yield* sessions.cancel(session, tenant)
    const { record } = yield* sessions.read(session, tenant)
    return HttpServerResponse.unsafeJson(body(form, record))
  })

const remove = (kind: AnswerForm["_tag"], object: string) =>
  Effect.gen(function* () {
    const { session, sessions, tenant } = yield* asked(kind)
    yield* sessions.remove(session, tenant)
    return HttpServerResponse.unsafeJson({ id: session, object, deleted: true })
  })

const reading = (kind: AnswerForm["_tag"]) => authenticated(retrieve(kind))

type Handler = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  HelixError,
  Effect.Effect.Context<ReturnType<typeof reading>>
>

const routes = (path: `/v1/${string}`, kind: AnswerForm["_tag"], object: string) =>
  Layer.merge(
    resource(
      `${path}/:id`,
      new Map<Method, Handler>([
        ["GET", reading(kind)],
        ["DELETE", authenticated(remove(kind, `${object}.deleted`))]
      ])
    ),
    resource(`${path}/:id/cancel`, new Map([["POST", authenticated(cancel(kind))]]))
  )

export const layer = Layer.merge(
  routes("/v1/chat/completions", "Chat", "chat.completion"),
  routes("/v1/completions", "Completion", "text_completion")
)
