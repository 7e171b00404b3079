/** A HelixFlow server, or any server of its API, as the command line sees it. */
import { rootCertificates } from "node:tls"
import { HttpClient, type HttpClientError, HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import { Context, Effect, identity, Layer, Option, type Redacted, Schema, Stream } from "effect"

/** Nothing answers there, or it stopped in the middle. */
export class ServerUnreachable extends Schema.TaggedError<ServerUnreachable>()("ServerUnreachable", {
  url: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `No answer from ${this.url}: ${this.reason}.`
  }
}

/** It answered with an error, whose words these are. */
export class ServerRefused extends Schema.TaggedError<ServerRefused>()("ServerRefused", {
  /** Null: the answer had begun when the error came. */
  status: Schema.NullOr(Schema.Int),
  reason: Schema.String
}) {
  override get message() {
    return this.reason
  }
}

export type ServerError = ServerUnreachable | ServerRefused

/** Other servers of this API need not say what a model is for and how long its context is. */
const Model = Schema.Struct({
  id: Schema.String,
  created: Schema.Number,
  owned_by: Schema.String,
  task: Schema.optional(Schema.String),
  max_model_len: Schema.optional(Schema.Number)
})
export type Model = typeof Model.Type

const ModelList = Schema.Struct({ data: Schema.Array(Model) })

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant"
  readonly content: string
}

export interface ChatRequest {
  readonly model: string
  readonly messages: ReadonlyArray<ChatMessage>
  readonly temperature: Option.Option<number>
  readonly maxTokens: Option.Option<number>
  /** Goes on after the model's end of sequence; servers other than HelixFlow and vLLM may not know it. */
  readonly ignoreEos?: boolean
  readonly seed?: number
}

/** The part of a chunk that is shown. The last ones have a finish reason and the usage. */
const ChatChunk = Schema.Struct({
  choices: Schema.Array(
    Schema.Struct({
      delta: Schema.Struct({ content: Schema.optional(Schema.NullOr(Schema.String)) }),
      finish_reason: Schema.NullOr(Schema.String)
    })
  ),
  usage: Schema.optional(
    Schema.NullOr(Schema.Struct({ prompt_tokens: Schema.Number, completion_tokens: Schema.Number }))
  )
})
export type ChatChunk = typeof ChatChunk.Type

const ErrorBody = Schema.Struct({ error: Schema.Struct({ message: Schema.String }) })
const StreamItem = Schema.parseJson(Schema.Union(ErrorBody, ChatChunk))

/** What follows `data:` on the lines of a server-sent event stream; OpenAI puts every event on one line. */
const eventData = (line: string): Option.Option<string> =>
  line.startsWith("data:") ? Option.some(line.slice(5).trim()) : Option.none()

/** The innermost reason, where Node says what really happened. */
const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  if ("code" in error && error.code === "ECONNREFUSED") return "nothing listens there"
  return error.cause === undefined ? error.message : reasonOf(error.cause)
}

export class ServerClient extends Context.Tag("@helixflow/gateway/ServerClient")<
  ServerClient,
  {
    readonly url: string
    /** Asks for JSON of this shape; the request's URL is a path. */
    readonly call: <A, I>(
      request: HttpClientRequest.HttpClientRequest,
      answer: Schema.Schema<A, I>
    ) => Effect.Effect<A, ServerError>
    /** Asks for something whose answer says nothing. */
    readonly send: (request: HttpClientRequest.HttpClientRequest) => Effect.Effect<void, ServerError>
    readonly models: Effect.Effect<ReadonlyArray<Model>, ServerError>
    /** By its id or an alias. */
    readonly model: (name: string) => Effect.Effect<Model, ServerError>
    /** Ends after the server's `[DONE]`; fails when the stream ends without one. */
    readonly chat: (request: ChatRequest) => Stream.Stream<ChatChunk, ServerError>
  }
>() {
  /** `url` without a path. `trusted`: certificates (PEM) to accept besides those of the public authorities. */
  static readonly layer = (options: {
    readonly url: string
    readonly key: Option.Option<Redacted.Redacted>
    readonly trusted: ReadonlyArray<string>
  }): Layer.Layer<ServerClient> =>
    Layer.effect(
      this,
      Effect.map(HttpClient.HttpClient, (http) => make(options.url, options.key, http))
    ).pipe(
      Layer.provide(NodeHttpClient.layerWithoutAgent),
      Layer.provide(NodeHttpClient.makeAgentLayer({ ca: [...rootCertificates, ...options.trusted] }))
    )
}

const make = (
  url: string,
  key: Option.Option<Redacted.Redacted>,
  http: HttpClient.HttpClient
): Context.Tag.Service<ServerClient> => {
  const unreachable = (error: HttpClientError.HttpClientError) =>
    new ServerUnreachable({ url, reason: reasonOf(error) })
  const foreign = () => new ServerUnreachable({ url, reason: "what answers there does not speak this API" })
  const cutOff = () => new ServerUnreachable({ url, reason: "the answer was cut off" })

  const refused = (response: HttpClientResponse.HttpClientResponse) =>
    HttpClientResponse.schemaBodyJson(ErrorBody)(response).pipe(
      Effect.mapError(foreign),
      Effect.flatMap(({ error }) => new ServerRefused({ status: response.status, reason: error.message }))
    )

  const execute = (request: HttpClientRequest.HttpClientRequest) =>
    http
      .execute(
        request.pipe(
          HttpClientRequest.prependUrl(url),
          Option.isSome(key) ? HttpClientRequest.bearerToken(key.value) : identity
        )
      )
      .pipe(
        Effect.mapError(unreachable),
        Effect.flatMap((response) => (response.status < 400 ? Effect.succeed(response) : refused(response)))
      )

  /** The data of each event up to the last; a stream that ends without it was cut off. */
  const events = (response: HttpClientResponse.HttpClientResponse) =>
    response.stream.pipe(
      Stream.mapError(unreachable),
      Stream.decodeText(),
      Stream.splitLines,
      Stream.filterMap(eventData),
      Stream.concat(Stream.failSync(cutOff)),
      Stream.takeWhile((data) => data !== "[DONE]")
    )

  const call = <A, I>(request: HttpClientRequest.HttpClientRequest, answer: Schema.Schema<A, I>) =>
    Effect.flatMap(execute(request), (response) =>
      Effect.mapError(HttpClientResponse.schemaBodyJson(answer)(response), foreign)
    )

  return {
    url,
    call,
    send: (request) => Effect.asVoid(execute(request)),
    models: Effect.map(call(HttpClientRequest.get("/v1/models"), ModelList), ({ data }) => data),
    model: (name) =>
      call(HttpClientRequest.get(`/v1/models/${name.split("/").map(encodeURIComponent).join("/")}`), Model),
    chat: (request) =>
      Stream.unwrap(
        Effect.map(
          execute(
            HttpClientRequest.bodyUnsafeJson(HttpClientRequest.post("/v1/chat/completions"), {
              model: request.model,
              messages: request.messages,
              temperature: Option.getOrUndefined(request.temperature),
              max_completion_tokens: Option.getOrUndefined(request.maxTokens),
              ignore_eos: request.ignoreEos,
              seed: request.seed,
              stream: true,
              stream_options: { include_usage: true }
            })
          ),
          events
        )
      ).pipe(
        Stream.mapEffect((data) => Effect.mapError(Schema.decode(StreamItem)(data), foreign)),
        Stream.mapEffect((item) =>
          "error" in item ? new ServerRefused({ status: null, reason: item.error.message }) : Effect.succeed(item)
        )
      )
  }
}
