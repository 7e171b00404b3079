/**
 * Requests for models of other servers. They pass as they came, every parameter with them, and the answer comes back byte for byte; only
 * the model's name is the upstream's own on the way. What goes wrong before an answer has begun is tried again, then elsewhere.
 */
import { HttpClient, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpClient, NodeHttpServerRequest } from "@effect/platform-node"
import { Runtime } from "@helixflow/runtime/Runtime"
import { Attribute } from "@helixflow/runtime/Telemetry"
import type { ModelId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import { Effect, type Scope, Stream } from "effect"
import { charge } from "./Admission.ts"
import { passOn } from "./EventStream.ts"
import { type Attempt, withFallback } from "./ModelFallback.ts"
import type { HelixError } from "./OpenAiErrors.ts"
import { Principal } from "./Principal.ts"
import { queueing } from "./Queueing.ts"
import { readJson, replaceJson } from "./RequestBody.ts"
import type { RequestInfo } from "./RequestInfo.ts"
import type { UpstreamAnswer } from "./Upstream.ts"
import * as Upstream from "./Upstream.ts"
import { type Route, Upstreams } from "./Upstreams.ts"

type Body = Readonly<Record<string, unknown>>

const isBody = (json: unknown): json is Body => typeof json === "object" && json !== null && !Array.isArray(json)

const upstreamHeader = "x-helixflow-upstream"
const fallbackHeader = "x-helixflow-fallback-for"

/** The last total that an answer names; null: none. */
const totalTokens = (text: string): number | null => {
  const found = [...text.matchAll(/"total_tokens"\s*:\s*(\d+)/g)].at(-1)
  return found === undefined ? null : Number(found[1])
}

const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1")

/** As much of a stream's end as its usage may take. */
const tailLength = 2048

/** Charges a key for an answer's tokens when it has ended. A stream that does not tell its usage is charged a token an event. */
const metered = (answer: UpstreamAnswer): Effect.Effect<UpstreamAnswer> => {
  const { body } = answer
  if (body instanceof Uint8Array) return Effect.as(charge(totalTokens(textOf(body)) ?? 0), answer)
  let tail = ""
  let events = 0
  const counted = Stream.tap(body, (bytes) =>
    Effect.sync(() => {
      const text = textOf(bytes)
      events += text.split("\ndata:").length - 1
      tail = (tail + text).slice(-tailLength)
    })
  )
  const charged = Effect.suspend(() => charge(totalTokens(tail) ?? events))
  return Effect.succeed({ ...answer, body: Stream.ensuring(counted, charged) })
}

/** Where an answer to a body comes from, once that is known. */
export interface Answering<A, R> {
  /** Our engines, which are asked for this: the model may be another than the client's. */
  readonly ours: (body: unknown) => Effect.Effect<A, HelixError, R>
  /** Another server. */
  readonly theirs: (
    answer: UpstreamAnswer,
    headers: Readonly<Record<string, string>>
  ) => Effect.Effect<A, HelixError, R>
  /** Tells the client, should it come to an answer, in whose place another model answers; an answer names its model anyway. */
  readonly instead?: Attempt<A, R>["instead"]
  /** Whether the client has been told something of an answer, after which nobody else is asked. */
  readonly hasBegun?: () => boolean
}

const notBegun = () => false

const relay = <A, R>(route: Route, path: string, body: Body, { theirs }: Answering<A, R>) =>
  Effect.gen(function* () {
    const { model, upstream } = route
    yield* Effect.annotateCurrentSpan({ [Attribute.upstream]: upstream.name, [Attribute.responseModel]: model.id })
    const answer = yield* upstream.ask(path, { ...body, model: model.target })
    return yield* theirs(yield* metered(answer), { [upstreamHeader]: upstream.name })
  })

/** A place on a program of ours that is lost before an answer has begun is asked for so often. */
const attempts = 3

/** Asks a program that we run, which is started for it if need be; its place is held until the answer has ended. */
const relayServed = <A, R>(
  spec: ModelSpec,
  path: string,
  body: Body,
  { hasBegun = notBegun, theirs }: Answering<A, R>
) =>
  Effect.gen(function* () {
    const wait = yield* queueing()
    const server = yield* (yield* Runtime).connect({ model: spec.id, ...wait })
    const http = yield* HttpClient.HttpClient
    const upstream = Upstream.make(Upstream.fixed(spec.id, server.url), http)
    const answer = yield* upstream.ask(path, { ...body, model: server.target })
    return yield* theirs(yield* metered(answer), {})
  }).pipe(
    Effect.scoped,
    Effect.retry({ times: attempts - 1, while: ({ _tag }) => _tag === "UpstreamUnavailable" && !hasBegun() }),
    Effect.provide(NodeHttpClient.layerUndici)
  )

/** One of our own models; undefined: it is none, and somebody else's or nobody's. */
const ours = (model: string) =>
  Effect.flatMap(Effect.all([Runtime, Principal]), ([runtime, { tenant }]) => runtime.model(model, () => tenant)).pipe(
    Effect.catchTag("ModelNotFound", () => Effect.succeed(undefined))
  )

/**
 * Has a body answered by another server where its model is one of that, and by our engines where it is one that they compute, or
 * nobody's. Our own models go before others of the same name. `path` is what follows `/v1`.
 */
export const route = <A, R>(
  path: string,
  body: unknown,
  answering: Answering<A, R>
): Effect.Effect<A, HelixError, R | Runtime | Principal | Scope.Scope> => {
  type Answer = Effect.Effect<A, HelixError, R | Runtime | Principal | Scope.Scope>
  const { hasBegun = notBegun, instead = (_, answer) => answer } = answering
  const ask = (spec: ModelSpec, body: Body): Answer =>
    spec.external ? relayServed(spec, path, body, answering) : answering.ours(body)
  const answer = (body: Body, name: string): Answer =>
    Effect.gen(function* () {
      const spec = yield* ours(name)
      if (spec !== undefined) return yield* withFallback({ spec, body, ask, instead, hasBegun })
      const found = (yield* Upstreams).find(name)
      return yield* found === undefined ? answering.ours(body) : follow(found, body, found.upstream.fallback)
    })

  /** Asks the routes one after the other. A model of ours ends the row: it does not fail for want of a server. */
  const follow = (found: Route, body: Body, fallback: ReadonlyArray<string>): Answer =>
    Effect.catchTag(relay(found, path, body, answering), "UpstreamUnavailable", (error) =>
      Effect.gen(function* () {
        if (hasBegun()) return yield* error
        const upstreams = yield* Upstreams
        for (const [index, name] of fallback.entries()) {
          if ((yield* ours(name)) !== undefined) return yield* answer({ ...body, model: name }, name)
          const next = upstreams.find(name)
          if (next !== undefined) return yield* follow(next, body, fallback.slice(index + 1))
        }
        return yield* error
      })
    )

  return isBody(body) && typeof body["model"] === "string" ? answer(body, body["model"]) : answering.ours(body)
}

/** Answers what another server answered. */
const pass = ({ body, contentType, status }: UpstreamAnswer, headers: Readonly<Record<string, string>>) =>
  body instanceof Uint8Array
    ? Effect.succeed(HttpServerResponse.uint8Array(body, { status, contentType, headers }))
    : passOn(body, contentType, headers)

/** Says in a header field of the answer, if it is one, whom the client had asked for. */
const markedWith = <A, R>(asked: ModelId, answer: Effect.Effect<A, HelixError, R>) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const response = NodeHttpServerRequest.toServerResponse(request)
    response.setHeader(fallbackHeader, asked)
    return Effect.tapError(answer, () => Effect.sync(() => response.removeHeader(fallbackHeader)))
  })

/** The handler of a path, and what is answered where the request is for a model of another server. */
export const relayed = <R>(
  path: string,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, HelixError, R>
) =>
  Effect.flatMap(readJson, (asked) =>
    route<HttpServerResponse.HttpServerResponse, R | RequestInfo | HttpServerRequest.HttpServerRequest>(path, asked, {
      ours: (body) => (body === asked ? handler : Effect.zipRight(replaceJson(body), handler)),
      theirs: pass,
      instead: markedWith
    })
  )
