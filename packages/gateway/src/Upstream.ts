/**
 * Another server of this API as it stands: which models it has, whether it lives, and how to ask it. Requests pass as they are, with
 * its own name of the model and its own key; nothing of our clients' keys reaches it.
 */
import {
  HttpBody,
  type HttpClient,
  type HttpClientError,
  HttpClientRequest,
  HttpClientResponse
} from "@effect/platform"
import { UpstreamUnavailable } from "@helixflow/schema/Errors"
import { Clock, Effect, identity, Option, Schedule, Schema, type Scope, Stream } from "effect"
import * as CircuitBreaker from "./CircuitBreaker.ts"
import type { UpstreamFolder } from "./UpstreamSettings.ts"

/** The part of a server's list of models that is passed on. */
const ModelList = Schema.Struct({
  data: Schema.Array(
    Schema.Struct({
      id: Schema.NonEmptyString,
      created: Schema.optionalWith(Schema.Number, { default: () => 0 }),
      owned_by: Schema.optionalWith(Schema.String, { default: () => "" })
    })
  )
})

export interface UpstreamModel {
  /** Its name here. */
  readonly id: string
  /** Its name there. */
  readonly target: string
  /** Seconds since the epoch. */
  readonly created: number
  readonly ownedBy: string
}

export interface UpstreamStatus {
  readonly name: string
  readonly url: string
  readonly breaker: CircuitBreaker.CircuitBreaker["_tag"]
  readonly models: ReadonlyArray<string>
  readonly lastFailure: string | null
}

/** What a server answered: all of it, or of a stream the first bytes, and the rest as it comes. */
export interface UpstreamAnswer {
  readonly status: number
  readonly contentType: string
  readonly body: Uint8Array | Stream.Stream<Uint8Array, UpstreamUnavailable>
}

export interface Upstream {
  readonly name: string
  readonly fallback: ReadonlyArray<string>
  readonly models: () => ReadonlyArray<UpstreamModel>
  readonly status: () => UpstreamStatus
  /**
   * Sends a body to a path such as `/chat/completions`. Tried again while nothing of an answer has come; a refusal of the request
   * itself (4xx) is an answer. The scope's end hangs up.
   */
  readonly ask: (
    path: string,
    body: Readonly<Record<string, unknown>>
  ) => Effect.Effect<UpstreamAnswer, UpstreamUnavailable, Scope.Scope>
  /** Asks for its models, again and again. */
  readonly watch: Effect.Effect<never>
}

/** Pauses of 0.1, 0.2, 0.4, … s between attempts. */
const pauses = Schedule.exponential("100 millis")

/** A status that says nothing against the request: the server is overloaded, restarting, broken, or refuses our own key. */
const isServersFault = (status: number): boolean => status >= 500 || [401, 403, 408, 425, 429].includes(status)

const blame = (status: number): string =>
  status === 401 || status === 403 ? `it refuses the key it was given (${status})` : `it answered with status ${status}`

const innermost = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  return error.cause === undefined ? error.message : innermost(error.cause)
}

/** A server that is known to be there: it is asked once, and nothing of it is remembered. */
export const fixed = (name: string, url: string): UpstreamFolder => ({
  name,
  settings: { url, prefix: "", aliases: {}, fallback: [], retries: 0, timeoutSeconds: 600, probeSeconds: 3600 },
  key: Option.none()
})

/** The last event of a stream that is whole. */
const done = "data: [DONE]"

/** Fails at the end of a stream whose last bytes, but for white space, are others. */
const endingWith = <E>(
  ending: string,
  stream: Stream.Stream<Uint8Array, E>,
  failure: () => E
): Stream.Stream<Uint8Array, E> => {
  let tail = ""
  return Stream.concat(
    Stream.tap(stream, (bytes) =>
      Effect.sync(() => {
        const last = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).subarray(-2 * ending.length)
        tail = (tail + last.toString("latin1")).slice(-2 * ending.length)
      })
    ),
    Stream.suspend(() => (tail.trimEnd().endsWith(ending) ? Stream.empty : Stream.fail(failure())))
  )
}

export const make = ({ key, name, settings }: UpstreamFolder, http: HttpClient.HttpClient): Upstream => {
  const url = settings.url.replace(/\/+$/, "")
  const limits = CircuitBreaker.defaults
  const timeout = settings.timeoutSeconds * 1000
  let breaker = CircuitBreaker.closed
  let models: ReadonlyArray<UpstreamModel> = []
  let lastFailure: string | null = null

  const unavailable = (reason: string, retryAfterSeconds = 1) =>
    new UpstreamUnavailable({ upstream: name, reason, retryAfterSeconds })
  const broken = (error: HttpClientError.HttpClientError) => unavailable(`no answer (${innermost(error)})`)
  const silent = () => unavailable(`it was silent for ${settings.timeoutSeconds} s`)

  /** Lets an attempt through if the breaker does, and tells the breaker how it went. */
  const guarded = <A, R>(attempt: Effect.Effect<A, UpstreamUnavailable, R>) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const [next, admitted] = CircuitBreaker.admit(breaker, limits, now)
      breaker = next
      if (!admitted) {
        const wait = CircuitBreaker.waitMillis(breaker, limits, now) / 1000
        return yield* unavailable(lastFailure ?? "it failed a moment ago", wait)
      }
      return yield* attempt.pipe(
        Effect.tap(() => {
          breaker = CircuitBreaker.succeeded()
        }),
        Effect.tapError(({ reason }) =>
          Effect.map(Clock.currentTimeMillis, (at) => {
            lastFailure = reason
            breaker = CircuitBreaker.failed(breaker, limits, at)
          })
        )
      )
    })

  const execute = (request: HttpClientRequest.HttpClientRequest) =>
    http
      .execute(
        request.pipe(
          HttpClientRequest.prependUrl(url),
          Option.isSome(key) ? HttpClientRequest.bearerToken(key.value) : identity
        )
      )
      .pipe(
        Effect.mapError(broken),
        Effect.timeoutFail({ duration: timeout, onTimeout: silent }),
        Effect.flatMap((response) =>
          isServersFault(response.status) ? Effect.fail(unavailable(blame(response.status))) : Effect.succeed(response)
        )
      )

  const isServed = (id: string) => settings.models === undefined || settings.models.includes(id)

  const discover = guarded(
    execute(HttpClientRequest.get("/models")).pipe(
      Effect.flatMap((response) =>
        Effect.mapError(HttpClientResponse.schemaBodyJson(ModelList)(response), () =>
          unavailable("its list of models is none")
        )
      ),
      Effect.scoped
    )
  ).pipe(
    Effect.tap(({ data }) => {
      const own = data
        .filter(({ id }) => isServed(id))
        .map(({ created, id, owned_by }) => ({
          id: settings.prefix + id,
          target: id,
          created,
          ownedBy: owned_by === "" ? name : owned_by
        }))
      const aliases = Object.entries(settings.aliases).flatMap(([alias, target]) =>
        own.filter((model) => model.target === target).map((model) => ({ ...model, id: alias }))
      )
      models = [...own, ...aliases]
    })
  )

  /** A stream counts as begun when its first bytes are there, and an answer that is none when all of it is. */
  const begun = (
    response: HttpClientResponse.HttpClientResponse
  ): Effect.Effect<UpstreamAnswer, UpstreamUnavailable, Scope.Scope> => {
    const { status } = response
    const contentType = response.headers["content-type"] ?? "application/json"
    const bytes = response.stream.pipe(Stream.mapError(broken), Stream.timeoutFail(silent, timeout))
    if (!/^text\/event-stream/.test(contentType)) {
      return Effect.map(Stream.runCollect(bytes), (parts) => ({ status, contentType, body: Buffer.concat([...parts]) }))
    }
    return Effect.gen(function* () {
      const pull = yield* Stream.toPull(bytes)
      const first = yield* Effect.mapError(pull, (end) =>
        Option.getOrElse(end, () => unavailable("its answer was empty"))
      )
      const all = Stream.concat(Stream.fromChunk(first), Stream.repeatEffectChunkOption(pull))
      return { status, contentType, body: endingWith(done, all, () => unavailable("the stream broke off")) }
    })
  }

  return {
    name,
    fallback: settings.fallback,
    models: () => models,
    status: () => ({ name, url, breaker: breaker._tag, models: models.map(({ id }) => id), lastFailure }),
    ask: (path, body) =>
      guarded(
        execute(HttpClientRequest.post(path, { body: HttpBody.unsafeJson(body) })).pipe(Effect.flatMap(begun))
      ).pipe(Effect.retry(Schedule.intersect(pauses, Schedule.recurs(settings.retries)))),
    watch: discover.pipe(
      Effect.catchAll((error) => Effect.logDebug(error.message)),
      Effect.zipRight(Effect.sleep(settings.probeSeconds * 1000)),
      Effect.forever
    )
  }
}
