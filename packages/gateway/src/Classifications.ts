/** Classifiers as the gateway asks them, whatever the endpoint's shape. */
import { randomUUID } from "node:crypto"
import { Runtime } from "@helixflow/runtime/Runtime"
import type { Operation } from "@helixflow/runtime/Telemetry"
import { type ClassificationInput, ClassificationRequest, type Classifications } from "@helixflow/schema/Classification"
import {
  ContextLengthExceeded,
  InvalidRequest,
  type LoadFailed,
  type ModelNotFound,
  type PermissionDenied,
  TaskNotSupported
} from "@helixflow/schema/Errors"
import { Usage } from "@helixflow/schema/Generation"
import type { ModelSpec } from "@helixflow/schema/Model"
import type { SessionError } from "@helixflow/schema/SessionActor"
import { Clock, Effect, Exit } from "effect"
import { charge } from "./Admission.ts"
import { modelFor } from "./Generations.ts"
import { errorType, GenerationTelemetry } from "./GenerationTelemetry.ts"
import type { Principal } from "./Principal.ts"
import { queueing } from "./Queueing.ts"

/** The model of this name, if it gives a pair of texts one score. */
export const scorerFor = (
  name: string,
  endpoint: string
): Effect.Effect<ModelSpec, LoadFailed | ModelNotFound | TaskNotSupported, Principal | Runtime> =>
  Effect.filterOrFail(
    modelFor(name, "classification", endpoint),
    ({ labels }) => labels.length === 1,
    ({ id }) => new TaskNotSupported({ model: id, task: endpoint })
  )

/** Classifies all inputs. `paramOf` names the parameter that the i-th came in: only the endpoint knows it. */
export const classify = (
  operation: Operation,
  { id }: ModelSpec,
  inputs: ReadonlyArray<ClassificationInput>,
  paramOf: (index: number) => string
): Effect.Effect<Classifications, SessionError | PermissionDenied, Principal | Runtime> =>
  Effect.gen(function* () {
    const telemetry = new GenerationTelemetry(operation, id)
    const request = new ClassificationRequest(
      { model: id, inputs, ...(yield* queueing()) },
      { disableValidation: true }
    )
    const classified = yield* (yield* Runtime).classify(request).pipe(
      Effect.mapError(named(paramOf)),
      Effect.onExit((exit) =>
        Effect.sync(() => telemetry.ended(Exit.isSuccess(exit) ? undefined : errorType(exit.cause)))
      )
    )
    yield* telemetry.completed(new Usage({ promptTokens: classified.promptTokens, completionTokens: 0 }))
    yield* charge(classified.promptTokens)
    return classified
  })

/** Errors about the i-th input have the `param` `inputs[i]`. */
const named =
  (paramOf: (index: number) => string) =>
  (error: SessionError): SessionError => {
    if (!(error instanceof ContextLengthExceeded || error instanceof InvalidRequest)) return error
    const index = /^inputs\[(\d+)\]$/.exec(error.param ?? "")?.[1]
    if (index === undefined) return error
    const param = paramOf(Number(index))
    return error instanceof InvalidRequest
      ? new InvalidRequest({ ...error, param })
      : new ContextLengthExceeded({ ...error, param })
  }

/** What every answer begins with. */
export const envelope = (prefix: "rerank" | "score" | "classify", { id: model }: ModelSpec) =>
  Effect.map(Clock.currentTimeMillis, (now) => ({
    object: "list" as const,
    id: `${prefix}-${randomUUID().replaceAll("-", "")}`,
    created: Math.floor(now / 1000),
    model
  }))

/** Nothing is generated: all tokens are the prompt's. */
export const toUsage = (promptTokens: number) => ({ prompt_tokens: promptTokens, total_tokens: promptTokens })
