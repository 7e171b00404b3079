/** The only file that knows how errors look to an OpenAI client. `docs/errors.md` shows the same table. */
import { HttpServerResponse } from "@effect/platform"
import * as Errors from "@helixflow/schema/Errors"

/** Every error of `schema/Errors.ts`: a new one without a row does not compile. */
export type HelixError = InstanceType<(typeof Errors)[keyof typeof Errors]>

/** How a client is told: https://platform.openai.com/docs/guides/error-codes */
export interface Row {
  readonly status: number
  readonly type: "invalid_request_error" | "server_error"
  readonly code: string | null
  readonly param: string | null
  /** Further header fields. */
  readonly headers?: Readonly<Record<string, string>>
}

type Table = { readonly [E in HelixError as E["_tag"]]: (error: E) => Row }

const client = (status: number, code: string | null, param: string | null = null): Row => ({
  status,
  type: "invalid_request_error",
  code,
  param
})

const retryAfter = (seconds: number) => ({ "retry-after": String(Math.max(1, Math.ceil(seconds))) })

const server = (status: number, code: string, retryAfterSeconds?: number): Row => ({
  status,
  type: "server_error",
  code,
  param: null,
  ...(retryAfterSeconds !== undefined && { headers: retryAfter(retryAfterSeconds) })
})

export const table: Table = {
  InvalidRequest: ({ code, param }) => client(400, code, param),
  ContextLengthExceeded: ({ param }) => client(400, "context_length_exceeded", param),
  TaskNotSupported: () => client(400, "unsupported_model", "model"),
  Unauthenticated: () => ({ ...client(401, "invalid_api_key"), headers: { "www-authenticate": "Bearer" } }),
  PermissionDenied: () => client(403, "insufficient_permissions"),
  ModelNotFound: () => client(404, "model_not_found", "model"),
  UpgradeRequired: () => ({ ...client(426, "upgrade_required"), headers: { upgrade: "websocket" } }),
  TooManyConnections: () => client(429, "too_many_connections"),
  SessionNotFound: () => client(404, "completion_not_found"),
  TreePlaceNotFound: () => client(404, "place_not_found", "id"),
  KeyNotFound: () => client(404, "key_not_found", "id"),
  RouteNotFound: () => client(404, "unknown_url"),
  MethodNotAllowed: ({ allowed }) => ({
    ...client(405, "method_not_supported"),
    headers: { allow: allowed.join(", ") }
  }),
  RequestTimeout: () => client(408, "request_timeout"),
  ModelInUse: () => client(409, "model_in_use", "model"),
  PayloadTooLarge: () => client(413, "request_too_large"),
  HostNotAllowed: () => client(421, "host_not_allowed"),
  UnsupportedMediaType: () => client(415, "unsupported_media_type"),
  HeadersTooLarge: () => client(431, "headers_too_large"),
  TenantQueueFull: ({ retryAfterSeconds }) => ({
    ...client(429, "queue_limit_exceeded"),
    headers: retryAfter(retryAfterSeconds)
  }),
  RateLimitExceeded: ({ retryAfterSeconds }) => ({
    ...client(429, "rate_limit_exceeded"),
    headers: retryAfter(retryAfterSeconds)
  }),
  Cancelled: () => client(499, "cancelled"),

  AttemptsExhausted: () => server(500, "attempts_exhausted"),
  RequestQuarantined: ({ retryAfterSeconds }) => server(500, "request_quarantined", retryAfterSeconds),
  EngineFailed: () => server(500, "engine_failed"),
  ModelReplaced: () => server(500, "model_replaced"),
  NoDeviceFits: () => server(503, "no_device_fits"),
  LoadFailed: () => server(503, "model_load_failed"),
  QueueFull: ({ retryAfterSeconds }) => server(503, "overloaded", retryAfterSeconds),
  QueueTimeout: ({ retryAfterSeconds }) => server(503, "queue_timeout", retryAfterSeconds),
  MailboxFull: () => server(503, "overloaded", 1),
  UpstreamUnavailable: ({ retryAfterSeconds }) => server(503, "upstream_unavailable", retryAfterSeconds),
  ActorUnreachable: () => server(503, "actor_unreachable", 1),
  ShuttingDown: () => server(503, "shutting_down", 1),
  IdentityProviderUnavailable: () => server(503, "identity_provider_unavailable", 1),
  StorageUnavailable: () => server(503, "storage_unavailable", 1),

  // Between actors: whoever asks handles them, and a client that sees one sees a failure of the server.
  DeviceUnavailable: () => server(500, "device_unavailable"),
  OutOfMemory: () => server(500, "out_of_memory"),
  ReservationNotFound: () => server(500, "reservation_not_found"),
  ReservationConflict: () => server(500, "reservation_conflict"),
  WorkerLost: () => server(500, "worker_lost"),
  ReplicaNotReady: () => server(500, "replica_not_ready"),
  Preempted: () => server(500, "preempted"),
  ChildNotFound: () => server(500, "child_not_found")
}

const classes: ReadonlyArray<(typeof Errors)[keyof typeof Errors]> = Object.values(Errors)

export const isHelixError = (error: unknown): error is HelixError =>
  classes.some((errorClass) => error instanceof errorClass)

/** `{error: {…}}`, as it is in a response and in an event of a stream that has begun. */
export interface ErrorBody {
  readonly error: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    readonly code: string | null
  }
}

const rowOf = <E extends HelixError>(error: E): Row => {
  // The table is indexed by the error's own tag, which TypeScript cannot correlate over the union.
  const row = table[error._tag] as (error: E) => Row
  return row(error)
}

const bodyOf = (message: string, { type, param, code }: Row): ErrorBody => ({ error: { message, type, param, code } })

export const toBody = (error: HelixError): ErrorBody => bodyOf(error.message, rowOf(error))

export const toStatus = (error: HelixError): number => rowOf(error).status

/** Further header fields of its answer. */
export const toHeaders = (error: HelixError): Readonly<Record<string, string>> => rowOf(error).headers ?? {}

export const toResponse = (error: HelixError): HttpServerResponse.HttpServerResponse => {
  const row = rowOf(error)
  return HttpServerResponse.unsafeJson(bodyOf(error.message, row), { status: row.status, headers: row.headers })
}

/** What is told of a defect: nothing of it, but the id that the log has it under. */
export const defectBody = (requestId: string): ErrorBody =>
  bodyOf(
    `The server had an error while processing your request (request id ${requestId}).`,
    server(500, "internal_error")
  )

export const defectResponse = (requestId: string): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.unsafeJson(defectBody(requestId), { status: 500 })
