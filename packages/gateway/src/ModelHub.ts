/**
 * A hub of models with the API of Hugging Face's: what a repository holds at a revision, and its files from any byte on.
 * https://huggingface.co/docs/hub/api
 */
import {
  FetchHttpClient,
  HttpClient,
  type HttpClientError,
  HttpClientRequest,
  HttpClientResponse
} from "@effect/platform"
import { Context, Data, Effect, identity, Layer, Option, type Redacted, Schema, type Scope, Stream } from "effect"
import type { HubFile } from "./PullPlan.ts"

/** What the hub does not give, as a sentence for a person. Trying again does not help. */
export class HubRefused extends Data.TaggedError("HubRefused")<{ readonly message: string }> {}

/** The hub or the way to it fails. Trying again may help. */
export class HubUnreachable extends Data.TaggedError("HubUnreachable")<{ readonly message: string }> {}

export type HubError = HubRefused | HubUnreachable

export interface HubRevision {
  /** The commit that the revision's name stood for when it was asked. */
  readonly commit: string
  readonly files: ReadonlyArray<HubFile>
}

/** The part of a file from `start` on: a hub may begin at an earlier byte than asked, which is always the first. */
export interface HubContent {
  readonly start: number
  readonly bytes: Stream.Stream<Uint8Array, HubUnreachable>
}

const Sibling = Schema.Struct({
  rfilename: Schema.NonEmptyString,
  size: Schema.optional(Schema.NonNegative),
  blobId: Schema.optional(Schema.String),
  lfs: Schema.optional(Schema.NullOr(Schema.Struct({ sha256: Schema.String, size: Schema.NonNegative })))
})

const ModelInfo = Schema.Struct({ sha: Schema.NonEmptyString, siblings: Schema.Array(Sibling) })

/** A path that stays below the folder it is written to. */
const isSafe = (path: string): boolean =>
  !path.startsWith("/") && !/[\\\0:]/.test(path) && path.split("/").every((part) => !["", ".", ".."].includes(part))

const encodePath = (path: string): string => path.split("/").map(encodeURIComponent).join("/")

const toFile = ({ blobId, lfs, rfilename, size }: typeof Sibling.Type): Option.Option<HubFile> => {
  if (!isSafe(rfilename)) return Option.none()
  if (lfs != null) {
    return Option.some({ path: rfilename, size: lfs.size, checksum: { kind: "sha256", hex: lfs.sha256 } })
  }
  return size === undefined || blobId === undefined
    ? Option.none()
    : Option.some({ path: rfilename, size, checksum: { kind: "git-blob", hex: blobId } })
}

export class ModelHub extends Context.Tag("@helixflow/gateway/ModelHub")<
  ModelHub,
  {
    readonly revision: (model: string, revision: string) => Effect.Effect<HubRevision, HubError>
    readonly open: (
      model: string,
      commit: string,
      file: HubFile,
      start: number
    ) => Effect.Effect<HubContent, HubError, Scope.Scope>
  }
>() {
  /** The token goes to the hub alone, not to where it redirects. */
  static readonly layer = (options: {
    /** Without a path. */
    readonly endpoint: string
    readonly token: Option.Option<Redacted.Redacted>
  }): Layer.Layer<ModelHub> =>
    Layer.effect(
      this,
      Effect.map(HttpClient.HttpClient, (http) => make(options.endpoint, options.token, http))
    ).pipe(Layer.provide(FetchHttpClient.layer))
}

const make = (
  endpoint: string,
  token: Option.Option<Redacted.Redacted>,
  http: HttpClient.HttpClient
): Context.Tag.Service<ModelHub> => {
  const unreachable = ({ cause, message }: { readonly cause?: unknown; readonly message: string }) => {
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
    return new HubUnreachable({
      message: `No answer from ${endpoint}: ${inner instanceof Error && inner.message !== "" ? inner.message : message}.`
    })
  }
  const foreign = () => new HubRefused({ message: `What answers at ${endpoint} does not speak a hub's API.` })

  const refusal = (model: string, what: string, status: number): HubError => {
    const withToken = Option.isSome(token)
    switch (status) {
      case 401:
      case 403:
        return new HubRefused({
          message: withToken
            ? `The hub does not give this token access to ${what}: accept the model's terms on ${endpoint}/${model}, or use another token.`
            : `The hub asks who wants ${what}. If it is there at all, it needs a token in HF_TOKEN.`
        })
      case 404:
        return new HubRefused({ message: `The hub has no ${what}.` })
      case 408:
      case 425:
      case 429:
        return new HubUnreachable({ message: `The hub asks to wait (${status}).` })
      default:
        return status >= 500
          ? new HubUnreachable({ message: `The hub fails (${status}).` })
          : new HubRefused({ message: `The hub refuses ${what} (${status}).` })
    }
  }

  const execute = (request: HttpClientRequest.HttpClientRequest, model: string, what: string) =>
    http
      .execute(
        request.pipe(
          HttpClientRequest.prependUrl(endpoint),
          Option.isSome(token) ? HttpClientRequest.bearerToken(token.value) : identity
        )
      )
      .pipe(
        Effect.mapError((error: HttpClientError.HttpClientError) => unreachable(error)),
        Effect.filterOrFail(
          ({ status }) => status < 400,
          ({ status }) => refusal(model, what, status)
        )
      )

  return {
    revision: (model, revision) =>
      execute(
        HttpClientRequest.get(`/api/models/${encodePath(model)}/revision/${encodeURIComponent(revision)}?blobs=true`),
        model,
        `model \`${model}\` with a revision \`${revision}\``
      ).pipe(
        Effect.flatMap((response) => Effect.mapError(HttpClientResponse.schemaBodyJson(ModelInfo)(response), foreign)),
        Effect.map(({ sha, siblings }) => ({ commit: sha, files: siblings.map(toFile).flatMap(Option.toArray) }))
      ),
    open: (model, commit, file, start) =>
      execute(
        HttpClientRequest.get(
          `/${encodePath(model)}/resolve/${encodeURIComponent(commit)}/${encodePath(file.path)}`
        ).pipe(
          start === 0 ? identity : HttpClientRequest.setHeader("range", `bytes=${start}-`),
          // a hub that compressed would make sizes and ranges meaningless
          HttpClientRequest.setHeader("accept-encoding", "identity")
        ),
        model,
        `file \`${file.path}\` in \`${model}\``
      ).pipe(
        Effect.map((response) => ({
          start: response.status === 206 ? start : 0,
          bytes: Stream.mapError(response.stream, unreachable)
        }))
      )
  }
}
