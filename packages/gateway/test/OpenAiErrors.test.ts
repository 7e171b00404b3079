import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Errors from "@helixflow/schema/Errors"
import { Bytes, DeviceId, ModelId, ReplicaId, RequestId, ReservationId } from "@helixflow/schema/Ids"
import { defectBody, type HelixError, isHelixError, toBody, toResponse, toStatus } from "../src/OpenAiErrors.ts"

const model = ModelId.make("m")
const device = DeviceId.make("local/cpu:0")
const replica = ReplicaId.make("local/cpu:0/m#0")
const reservation = ReservationId.make("r")

/** One of each: a new error does not compile without one. */
const examples: { readonly [E in HelixError as E["_tag"]]: E } = {
  UpstreamUnavailable: new Errors.UpstreamUnavailable({ upstream: "u", reason: "no answer", retryAfterSeconds: 1.2 }),
  ModelInUse: new Errors.ModelInUse({ model: "m", reason: "it has requests" }),
  InvalidRequest: new Errors.InvalidRequest({ reason: "bad", param: "messages[0].content", code: "invalid_type" }),
  ContextLengthExceeded: new Errors.ContextLengthExceeded({
    context: 8,
    promptTokens: 9,
    maxTokens: null,
    param: "messages"
  }),
  TaskNotSupported: new Errors.TaskNotSupported({ model, task: "embeddings" }),
  Unauthenticated: new Errors.Unauthenticated({ reason: "no key" }),
  RateLimitExceeded: new Errors.RateLimitExceeded({ what: "requests per minute", limit: 1, retryAfterSeconds: 2.2 }),
  TreePlaceNotFound: new Errors.TreePlaceNotFound({ place: "local/cpu:9" }),
  KeyNotFound: new Errors.KeyNotFound({ key: "key_1" }),
  IdentityProviderUnavailable: new Errors.IdentityProviderUnavailable({ reason: "no answer" }),
  PermissionDenied: new Errors.PermissionDenied({ scope: "admin" }),
  ModelNotFound: new Errors.ModelNotFound({ model: "m" }),
  RouteNotFound: new Errors.RouteNotFound({ method: "GET", path: "/" }),
  MethodNotAllowed: new Errors.MethodNotAllowed({ method: "PUT", allowed: ["GET", "HEAD"] }),
  RequestTimeout: new Errors.RequestTimeout(),
  PayloadTooLarge: new Errors.PayloadTooLarge({ limit: Bytes.make(1) }),
  HostNotAllowed: new Errors.HostNotAllowed({ host: "example.com" }),
  UnsupportedMediaType: new Errors.UnsupportedMediaType({ reason: "no" }),
  HeadersTooLarge: new Errors.HeadersTooLarge(),
  Cancelled: new Errors.Cancelled(),
  AttemptsExhausted: new Errors.AttemptsExhausted({ request: RequestId.make("r"), attempts: 2, lastFailure: "f" }),
  RequestQuarantined: new Errors.RequestQuarantined({ retryAfterSeconds: 600 }),
  EngineFailed: new Errors.EngineFailed({ request: "r", reason: "f" }),
  ModelReplaced: new Errors.ModelReplaced({ model: "m" }),
  NoDeviceFits: new Errors.NoDeviceFits({ model, reasons: [] }),
  LoadFailed: new Errors.LoadFailed({ model: "m", reason: "f", file: null }),
  QueueFull: new Errors.QueueFull({ model, limit: 1, retryAfterSeconds: 2.2 }),
  TenantQueueFull: new Errors.TenantQueueFull({ limit: 1, retryAfterSeconds: 2.2 }),
  QueueTimeout: new Errors.QueueTimeout({ model, waitedMillis: 1, reasons: [] }),
  MailboxFull: new Errors.MailboxFull({ actor: "a", capacity: 1 }),
  ActorUnreachable: new Errors.ActorUnreachable({ actor: "a", reason: "f" }),
  TooManyConnections: new Errors.TooManyConnections({ what: "connections", limit: 1 }),
  UpgradeRequired: new Errors.UpgradeRequired(),
  SessionNotFound: new Errors.SessionNotFound({ session: "chatcmpl-1" }),
  StorageUnavailable: new Errors.StorageUnavailable({ reason: "The database does not answer." }),
  ShuttingDown: new Errors.ShuttingDown(),
  DeviceUnavailable: new Errors.DeviceUnavailable({ device: "d", reason: "f" }),
  OutOfMemory: new Errors.OutOfMemory({ device, needed: Bytes.make(2), free: Bytes.make(1) }),
  ReservationNotFound: new Errors.ReservationNotFound({ reservation }),
  ReservationConflict: new Errors.ReservationConflict({ reservation }),
  WorkerLost: new Errors.WorkerLost({ replica, reason: "f", crashed: true }),
  ReplicaNotReady: new Errors.ReplicaNotReady({ replica, state: "loading" }),
  Preempted: new Errors.Preempted({ replica }),
  ChildNotFound: new Errors.ChildNotFound({ supervisor: "s", child: "c" })
}

/** The rows `| status | code | error | …` of the document; a code is in backticks, or not one. */
const documented = new Map(
  readFileSync(new URL("../../../docs/errors.md", import.meta.url), "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, status, code, tag] = /^\| (\d{3}) \| (\S+|see below) \| `(\w+)` \|/.exec(line) ?? []
      return tag === undefined ? [] : [[tag, { status: Number(status), code: code?.replaceAll("`", "") }] as const]
    })
)

describe("Errors as OpenAI's clients see them", () => {
  it("are documented as they are answered, all of them and no others", () => {
    assert.deepStrictEqual([...documented.keys()].sort(), Object.keys(Errors).sort())
    for (const error of Object.values(examples)) {
      const { code, status } = documented.get(error._tag) ?? {}
      assert.strictEqual(toStatus(error), status, error._tag)
      if (error._tag !== "InvalidRequest") assert.strictEqual(toBody(error).error.code, code ?? "", error._tag)
    }
  })

  it("blame the client for 4xx and the server for 5xx", () => {
    for (const error of Object.values(examples)) {
      const { message, type } = toBody(error).error
      assert.strictEqual(type, toStatus(error) < 500 ? "invalid_request_error" : "server_error")
      assert.strictEqual(message, error.message)
      assert.isTrue(isHelixError(error))
    }
  })

  it("name the parameter at fault", () => {
    assert.deepStrictEqual(toBody(examples.InvalidRequest), {
      error: { message: "bad", type: "invalid_request_error", param: "messages[0].content", code: "invalid_type" }
    })
    assert.strictEqual(toBody(examples.ModelNotFound).error.param, "model")
  })

  it("say in header fields what a client can act on", () => {
    assert.strictEqual(toResponse(examples.QueueFull).headers["retry-after"], "3")
    assert.strictEqual(toResponse(examples.TenantQueueFull).headers["retry-after"], "3")
    assert.strictEqual(toResponse(examples.ShuttingDown).headers["retry-after"], "1")
    assert.deepInclude(toResponse(examples.MethodNotAllowed).headers, { allow: "GET, HEAD" })
    assert.strictEqual(toResponse(examples.Unauthenticated).headers["www-authenticate"], "Bearer")
  })

  it("tell nothing of a defect but the request's id", () => {
    assert.deepStrictEqual(defectBody("req_1").error, {
      message: "The server had an error while processing your request (request id req_1).",
      type: "server_error",
      param: null,
      code: "internal_error"
    })
    assert.isFalse(isHelixError(new Error("ModelNotFound")))
  })
})
