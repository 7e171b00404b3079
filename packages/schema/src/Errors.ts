/**
 * Every error of HelixFlow. Each has a row in the gateway's table to HTTP and a line in `docs/errors.md`; a test holds the
 * three together. Messages are for the person who reads them: what happened and, where there is one, the way out.
 */
import { Schema } from "effect"
import { Bytes, DeviceId, ModelId, ReplicaId, RequestId, ReservationId } from "./Ids.ts"
import { MemoryShortage, shortageText } from "./MemoryShortage.ts"

/** No folder, alias or upstream has this name. */
export class ModelNotFound extends Schema.TaggedError<ModelNotFound>()("ModelNotFound", { model: Schema.String }) {
  override get message() {
    return `The model \`${this.model}\` does not exist or you do not have access to it.`
  }
}

/** A model can't be unloaded or removed: it has requests, or is kept. */
export class ModelInUse extends Schema.TaggedError<ModelInUse>()("ModelInUse", {
  model: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `The model \`${this.model}\` is in use: ${this.reason}.`
  }
}

/** The model exists but does something else, e.g. a chat with an embedding model. */
export class TaskNotSupported extends Schema.TaggedError<TaskNotSupported>()("TaskNotSupported", {
  model: ModelId,
  task: Schema.String
}) {
  override get message() {
    return `The model \`${this.model}\` does not support ${this.task}.`
  }
}

/** A parameter is missing, malformed, out of range or not supported. `param` is its path as the client wrote it. */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>()("InvalidRequest", {
  reason: Schema.String,
  param: Schema.NullOr(Schema.String),
  code: Schema.optionalWith(Schema.NullOr(Schema.String), { default: () => null })
}) {
  override get message() {
    return this.reason
  }
}

/** Prompt and completion together would not fit the model's context. Never truncated silently. */
export class ContextLengthExceeded extends Schema.TaggedError<ContextLengthExceeded>()("ContextLengthExceeded", {
  context: Schema.Int,
  promptTokens: Schema.Int,
  maxTokens: Schema.NullOr(Schema.Int),
  param: Schema.String
}) {
  override get message() {
    const asked = this.maxTokens === null ? "" : ` and ${this.maxTokens} in the completion`
    return (
      `This model's maximum context length is ${this.context} tokens. However, you requested ` +
      `${this.promptTokens} tokens in the prompt${asked}. Please reduce the length of the prompt or completion.`
    )
  }
}

/** No key, or one that is not known. */
export class Unauthenticated extends Schema.TaggedError<Unauthenticated>()("Unauthenticated", {
  reason: Schema.String
}) {
  override get message() {
    return this.reason
  }
}

/** The key is known and may not do this. */
export class PermissionDenied extends Schema.TaggedError<PermissionDenied>()("PermissionDenied", {
  /** What it lacks. */
  scope: Schema.String
}) {
  override get message() {
    return `You have insufficient permissions for this operation. Missing scopes: ${this.scope}.`
  }
}

export class RouteNotFound extends Schema.TaggedError<RouteNotFound>()("RouteNotFound", {
  method: Schema.String,
  path: Schema.String
}) {
  override get message() {
    return `Invalid URL (${this.method} ${this.path})`
  }
}

export class MethodNotAllowed extends Schema.TaggedError<MethodNotAllowed>()("MethodNotAllowed", {
  method: Schema.String,
  allowed: Schema.Array(Schema.String)
}) {
  override get message() {
    return `Not allowed to ${this.method} on this URL; allowed: ${this.allowed.join(", ")}.`
  }
}

/** The name that a request was sent to is not one that the server answers for. */
export class HostNotAllowed extends Schema.TaggedError<HostNotAllowed>()("HostNotAllowed", { host: Schema.String }) {
  override get message() {
    return `This server does not answer for the host ${JSON.stringify(this.host)}.`
  }
}

export class PayloadTooLarge extends Schema.TaggedError<PayloadTooLarge>()("PayloadTooLarge", { limit: Bytes }) {
  override get message() {
    return `The request body is larger than ${this.limit} bytes.`
  }
}

export class UnsupportedMediaType extends Schema.TaggedError<UnsupportedMediaType>()("UnsupportedMediaType", {
  reason: Schema.String
}) {
  override get message() {
    return this.reason
  }
}

/** The client took too long to send its request. */
export class RequestTimeout extends Schema.TaggedError<RequestTimeout>()("RequestTimeout", {}) {
  override get message() {
    return "The request was not received in time."
  }
}

/** The header fields are larger than the server takes. */
export class HeadersTooLarge extends Schema.TaggedError<HeadersTooLarge>()("HeadersTooLarge", {}) {
  override get message() {
    return "The request's header fields are too large."
  }
}

/** A device's ledger has less than was asked. */
export class OutOfMemory extends Schema.TaggedError<OutOfMemory>()("OutOfMemory", {
  device: DeviceId,
  needed: Bytes,
  free: Bytes
}) {
  override get message() {
    return `${this.device} has ${this.free} bytes free of the ${this.needed} needed.`
  }
}

/** The reservation is not in the ledger: never made, released, or expired. */
export class ReservationNotFound extends Schema.TaggedError<ReservationNotFound>()("ReservationNotFound", {
  reservation: ReservationId
}) {
  override get message() {
    return `The reservation ${this.reservation} does not exist or has expired.`
  }
}

/** The reservation exists with other figures: an id was used for two different claims. */
export class ReservationConflict extends Schema.TaggedError<ReservationConflict>()("ReservationConflict", {
  reservation: ReservationId
}) {
  override get message() {
    return `The reservation ${this.reservation} exists with other figures.`
  }
}

/** No device of the fleet can ever hold the model, as it is. */
export class NoDeviceFits extends Schema.TaggedError<NoDeviceFits>()("NoDeviceFits", {
  model: ModelId,
  reasons: Schema.Array(Schema.String)
}) {
  override get message() {
    return `No device can hold the model \`${this.model}\`: ${this.reasons.join("; ")}.`
  }
}

/** Too many requests wait for this model already. */
export class QueueFull extends Schema.TaggedError<QueueFull>()("QueueFull", {
  model: ModelId,
  limit: Schema.Int,
  retryAfterSeconds: Schema.Number
}) {
  override get message() {
    return `The model \`${this.model}\` is overloaded: ${this.limit} requests are waiting. Please retry later.`
  }
}

/** Too many requests of one tenant wait already, whatever others do. */
export class TenantQueueFull extends Schema.TaggedError<TenantQueueFull>()("TenantQueueFull", {
  limit: Schema.Int,
  retryAfterSeconds: Schema.Number
}) {
  override get message() {
    return `You have ${this.limit} requests waiting already, which is the most. Please retry when some of them have ended.`
  }
}

/** The request waited for a place until its deadline. */
export class QueueTimeout extends Schema.TaggedError<QueueTimeout>()("QueueTimeout", {
  model: ModelId,
  waitedMillis: Schema.Number,
  /** When a request like it would probably have got a place. */
  retryAfterSeconds: Schema.Number.pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault(() => 1)
  ),
  reasons: Schema.Array(Schema.String)
}) {
  override get message() {
    const why = this.reasons.length === 0 ? "" : ` (${this.reasons.join("; ")})`
    return `No place for the model \`${this.model}\` within ${Math.round(this.waitedMillis)} ms${why}.`
  }
}

/** The model's folder could not be loaded: the reason, and the file where there is one. */
export class LoadFailed extends Schema.TaggedError<LoadFailed>()("LoadFailed", {
  model: Schema.String,
  reason: Schema.String,
  file: Schema.NullOr(Schema.String),
  /** Where memory ran out: the figures. */
  memory: Schema.optionalWith(Schema.NullOr(MemoryShortage), { default: () => null })
}) {
  override get message() {
    const file = this.file === null ? "" : ` (${this.file})`
    const memory = this.memory === null ? "" : `; ${shortageText(this.memory)}`
    return `The model \`${this.model}\` could not be loaded: ${this.reason}${file}${memory}.`
  }
}

/** The model's files are others than those that were asked for, or that a request was begun with. */
export class ModelReplaced extends Schema.TaggedError<ModelReplaced>()("ModelReplaced", { model: Schema.String }) {
  override get message() {
    return `The model \`${this.model}\` was replaced by another version while the request ran. Please send it again.`
  }
}

/** A declared device is not there, or nothing here can compute on it. */
export class DeviceUnavailable extends Schema.TaggedError<DeviceUnavailable>()("DeviceUnavailable", {
  device: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `HELIX_DEVICES: ${this.device} is not available: ${this.reason}.`
  }
}

/**
 * The worker process of a replica ended while it was needed. `crashed`: by its own doing (a crash, want of memory, a hang), so that
 * what it computed may be to blame; else somebody has killed, stopped or drained it.
 */
export class WorkerLost extends Schema.TaggedError<WorkerLost>()("WorkerLost", {
  replica: ReplicaId,
  reason: Schema.String,
  crashed: Schema.Boolean
}) {
  override get message() {
    return `The worker of ${this.replica} was lost: ${this.reason}.`
  }
}

/** The replica is not ready for requests: loading, draining or gone. */
export class ReplicaNotReady extends Schema.TaggedError<ReplicaNotReady>()("ReplicaNotReady", {
  replica: ReplicaId,
  state: Schema.String
}) {
  override get message() {
    return `The replica ${this.replica} is ${this.state}.`
  }
}

/** The sequence gives its place up to a tenant that has less of the model; its session continues it later. */
export class Preempted extends Schema.TaggedError<Preempted>()("Preempted", { replica: ReplicaId }) {
  override get message() {
    return `The place on ${this.replica} is needed for another tenant.`
  }
}

/** Every attempt to finish the request ended with a lost worker. */
export class AttemptsExhausted extends Schema.TaggedError<AttemptsExhausted>()("AttemptsExhausted", {
  request: RequestId,
  attempts: Schema.Int,
  lastFailure: Schema.String
}) {
  override get message() {
    return `The request failed after ${this.attempts} attempts; the last: ${this.lastFailure}`
  }
}

/** The request, or one that was the same, killed the workers that computed it. It is refused for a while, so that others are safe. */
export class RequestQuarantined extends Schema.TaggedError<RequestQuarantined>()("RequestQuarantined", {
  retryAfterSeconds: Schema.Number
}) {
  override get message() {
    return `This request made its workers fail and is not tried again for ${this.retryAfterSeconds} s.`
  }
}

/** The engine failed on this request alone; its worker lives. */
export class EngineFailed extends Schema.TaggedError<EngineFailed>()("EngineFailed", {
  request: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `The engine failed: ${this.reason}`
  }
}

/** The session was cancelled by its id. */
export class Cancelled extends Schema.TaggedError<Cancelled>()("Cancelled", {}) {
  override get message() {
    return "The request was cancelled."
  }
}

/** An actor's mailbox is full: it is asked more than it can answer. */
export class MailboxFull extends Schema.TaggedError<MailboxFull>()("MailboxFull", {
  actor: Schema.String,
  capacity: Schema.Int
}) {
  override get message() {
    return `The mailbox of ${this.actor} is full (${this.capacity} messages).`
  }
}

/** Another server, whose model was asked for, does not answer, and nobody answers in its place. */
export class UpstreamUnavailable extends Schema.TaggedError<UpstreamUnavailable>()("UpstreamUnavailable", {
  upstream: Schema.String,
  reason: Schema.String,
  retryAfterSeconds: Schema.NonNegative
}) {
  override get message() {
    return `The upstream \`${this.upstream}\` is not available: ${this.reason}.`
  }
}

/** An actor could not be reached: not started, its node or process gone, or no answer within the deadline. */
export class ActorUnreachable extends Schema.TaggedError<ActorUnreachable>()("ActorUnreachable", {
  actor: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `The actor ${this.actor} could not be reached: ${this.reason}.`
  }
}

/** No child of this supervisor has this name. */
export class ChildNotFound extends Schema.TaggedError<ChildNotFound>()("ChildNotFound", {
  supervisor: Schema.String,
  child: Schema.String
}) {
  override get message() {
    return `The supervisor ${this.supervisor} has no child \`${this.child}\`.`
  }
}

/** A key has used what it may in a minute, or at once. */
export class RateLimitExceeded extends Schema.TaggedError<RateLimitExceeded>()("RateLimitExceeded", {
  /** What there is too much of, in words: `requests per minute`. */
  what: Schema.String,
  limit: Schema.Int,
  retryAfterSeconds: Schema.Number
}) {
  override get message() {
    return `Rate limit reached: ${this.limit} ${this.what}. Please try again in ${Math.ceil(this.retryAfterSeconds)} s.`
  }
}

/** Nothing in the supervision tree has this id. */
export class TreePlaceNotFound extends Schema.TaggedError<TreePlaceNotFound>()("TreePlaceNotFound", {
  place: Schema.String
}) {
  override get message() {
    return `There is nothing at \`${this.place}\` in the supervision tree.`
  }
}

/** No key has this id. */
export class KeyNotFound extends Schema.TaggedError<KeyNotFound>()("KeyNotFound", { key: Schema.String }) {
  override get message() {
    return `There is no API key \`${this.key}\`.`
  }
}

/** Whoever vouches for tokens cannot be asked now. */
export class IdentityProviderUnavailable extends Schema.TaggedError<IdentityProviderUnavailable>()(
  "IdentityProviderUnavailable",
  { reason: Schema.String }
) {
  override get message() {
    return `The issuer of the token cannot be asked for its keys: ${this.reason}. Please try again.`
  }
}

/** The server is stopping and takes no new work. */
export class ShuttingDown extends Schema.TaggedError<ShuttingDown>()("ShuttingDown", {}) {
  override get message() {
    return "The server is shutting down."
  }
}

/** As many WebSocket connections, or requests of one, as there may be. */
export class TooManyConnections extends Schema.TaggedError<TooManyConnections>()("TooManyConnections", {
  what: Schema.String,
  limit: Schema.Int
}) {
  override get message() {
    return `There are too many ${this.what}: at most ${this.limit} at once.`
  }
}

/** The path is that of a WebSocket, and the request asks for none. */
export class UpgradeRequired extends Schema.TaggedError<UpgradeRequired>()("UpgradeRequired", {}) {
  override get message() {
    return "This is the path of a WebSocket: connect to it with a WebSocket client."
  }
}

/** There is no completion with this id, it belongs to somebody else, or it is no longer kept. */
export class SessionNotFound extends Schema.TaggedError<SessionNotFound>()("SessionNotFound", {
  session: Schema.String
}) {
  override get message() {
    return `No completion with the id \`${this.session}\` was found: perhaps it is no longer kept.`
  }
}

/** The database does not answer. */
export class StorageUnavailable extends Schema.TaggedError<StorageUnavailable>()("StorageUnavailable", {
  reason: Schema.String
}) {
  override get message() {
    return this.reason
  }
}
