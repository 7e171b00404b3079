/**
 * Requests for models of other servers. They pass as they came, every parameter with them, and the answer comes back byte for byte; only
 * the model's name is the upstream's own on the way. What goes wrong before an answer has begun is tried again, then elsewhere.
 */
import { HttpClient, type HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import { Runtime } from "@helixflow/runtime/Runtime"
import { Attribute } from "@helixflow/runtime/Telemetry"
import type { ModelSpec } from "@helixflow/schema/Model"
import { Effect, type Scope, Stream } from "effect"
import { charge } from "./Admission.ts"
import { passOn } from "./EventStream.ts"
import type { HelixError } from "./OpenAiErrors.ts"
import type { Principal } from "./Principal.ts"
import { queueing } from "./Queueing.ts"
import { readJson, replaceJson } from "./RequestBody.ts"
import type { RequestInfo } from "./RequestInfo.ts"
import type { UpstreamAnswer } from "./Upstream.ts"
import * as Upstream from "./Upstream.ts"
import { type Route, Upstreams } from "./Upstreams.ts"

type Body = Readonly<Record<string, unknown>>

const isBody = (json: unknown): json is Body => typeof json === "object" && json !== null && !Array.isArray(json)

const upstreamHeader = "x-helixflow-upstream"

/** The last total that an answer names; null: none. */
const totalTokens = (text: string): number | null => {
  const found = [...text.matchAll(/"total_tokens"\s*:\s*(\d+)/g)].at(-1)
  return found === undefined ? null : Number(found[1])
}

const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1")

/** As much of a stream's end as its usage may take. */
const tailLength = 2048

/**
 * Answers what a server answered, and charges its tokens to the key. A stream that does not tell its usage is charged a token an event,
 * and so is one that its reader leaves.
 */
const pass = ({ body, contentType, status }: UpstreamAnswer, headers: Readonly<Record<string, string>>) => {
  if (body instanceof Uint8Array) {
    return Effect.as(
      charge(totalTokens(textOf(body)) ?? 0),
      HttpServerResponse.uint8Array(body, { status, contentType, headers })
    )
  }
  let tail = ""
  let events = 0
  const counted = Stream.tap(body, (bytes) =>
    Effect.sync(() => {
      const text = textOf(bytes)
      events += text.split("\ndata:").length - 1
      tail = (tail + text).slice(-tailLength)
    })
  )
  return Effect.ensuring(
    passOn(counted, contentType, headers),
    Effect.suspend(() => charge(totalTokens(tail) ?? events))
  )
}

const relay = (route: Route, path: string, body: Body) =>
  Effect.gen(function* () {
    const { model, upstream } = route
    yield* Effect.annotateCurrentSpan({ [Attribute.upstream]: upstream.name, [Attribute.responseModel]: model.id })
    const answer = yield* upstream.ask(path, { ...body, model: model.target })
    return yield* pass(answer, { [upstreamHeader]: upstream.name })
  })

/** A place on a program of ours that is lost before an answer has begun is asked for so often. */
const attempts = 3

/** Asks a program that we run, which is started for it if need be; its place is held until the answer has ended. */
const relayServed = (spec: ModelSpec, path: string, body: Body) =>
  Effect.gen(function* () {
    const wait = yield* queueing()
    const server = yield* (yield* Runtime).connect({ model: spec.id, ...wait })
    const http = yield* HttpClient.HttpClient
    const upstream = Upstream.make(Upstream.fixed(spec.id, server.url), http)
    return yield* pass(yield* upstream.ask(path, { ...body, model: server.target }), {})
  }).pipe(
    Effect.scoped,
    Effect.retry({ times: attempts - 1, while: ({ _tag }) => _tag === "UpstreamUnavailable" }),
    Effect.provide(NodeHttpClient.layerUndici)
  )

/** One of our own models; undefined: it is none, and somebody else's or nobody's. */
const ours = (model: string) =>
  Effect.flatMap(Runtime, (runtime) => runtime.model(model)).pipe(
    Effect.catchTag("ModelNotFound", () => Effect.succeed(undefined))
  )

/**
 * Answers with a model of another server where that is what the body asks for, and with `handler` where it is one that our engines
 * compute, or nobody's. Our own models go before others of the same name. `path` is what follows `/v1`.
 */
export const relayed = <R>(
  path: string,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, HelixError, R>
) => {
  type Answer = Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    HelixError,
    R | Runtime | RequestInfo | Principal | HttpServerRequest.HttpServerRequest | Scope.Scope
  >
  const answer = (body: Body, name: string): Answer =>
    Effect.gen(function* () {
      const spec = yield* ours(name)
      if (spec !== undefined) return yield* spec.external ? relayServed(spec, path, body) : handler
      const route = (yield* Upstreams).find(name)
      return yield* route === undefined ? handler : follow(route, body, route.upstream.fallback)
    })

  /** Asks the routes one after the other. A model of ours ends the row: it does not fail for want of a server. */
  const follow = (route: Route, body: Body, fallback: ReadonlyArray<string>): Answer =>
    Effect.catchTag(relay(route, path, body), "UpstreamUnavailable", (error) =>
      Effect.gen(function* () {
        const upstreams = yield* Upstreams
        for (const [index, name] of fallback.entries()) {
          if ((yield* ours(name)) !== undefined) {
            const instead = { ...body, model: name }
            yield* replaceJson(instead)
            return yield* answer(instead, name)
          }
          const next = upstreams.find(name)
          if (next !== undefined) return yield* follow(next, body, fallback.slice(index + 1))
        }
        return yield* error
      })
    )

  return Effect.flatMap(readJson, (body) =>
    isBody(body) && typeof body["model"] === "string" ? answer(body, body["model"]) : handler
  )
}
