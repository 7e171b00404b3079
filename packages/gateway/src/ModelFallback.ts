/**
 * Requests whose model can't be had: one of its `fallback`s answers, the first that can. Only where nothing has been told of an answer,
 * so that no stream ever changes its model.
 */
import { Runtime } from "@helixflow/runtime/Runtime"
import { Attribute, byAttributes, fallbacks } from "@helixflow/runtime/Telemetry"
import type { ModelId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import { Clock, Effect, Either } from "effect"
import type { HelixError } from "./OpenAiErrors.ts"
import { Principal } from "./Principal.ts"
import { Waited } from "./Queueing.ts"

const countFallback = byAttributes(fallbacks, [Attribute.requestModel, Attribute.responseModel, Attribute.errorType])

/** The model has no place, or its program no answer; nothing is said against the request, nor against who sent it. */
type Absent = Extract<
  HelixError,
  { readonly _tag: "NoDeviceFits" | "LoadFailed" | "QueueFull" | "QueueTimeout" | "UpstreamUnavailable" }
>

const absent: ReadonlySet<string> = new Set<Absent["_tag"]>([
  "NoDeviceFits",
  "LoadFailed",
  "QueueFull",
  "QueueTimeout",
  "UpstreamUnavailable"
])

const isAbsent = (error: HelixError): error is Absent => absent.has(error._tag)

/** A model of ours by name, for whoever asks; undefined: there is none that can be served. */
const served = (name: string) =>
  Effect.flatMap(Effect.all([Runtime, Principal]), ([runtime, { tenant }]) => runtime.model(name, () => tenant)).pipe(
    Effect.orElseSucceed(() => undefined)
  )

/** Who answers in a model's place, and in theirs: in order, each once. */
const successors = (
  { fallback }: ModelSpec,
  found: Map<ModelId, ModelSpec> = new Map()
): Effect.Effect<ReadonlyArray<ModelSpec>, never, Runtime | Principal> =>
  Effect.gen(function* () {
    for (const name of fallback) {
      const spec = yield* served(name)
      if (spec === undefined || found.has(spec.id)) continue
      found.set(spec.id, spec)
      yield* successors(spec, found)
    }
    return [...found.values()]
  })

/** Token ids mean something else to every model. */
const speaksTokens = (body: Readonly<Record<string, unknown>>): boolean =>
  [body["prompt"], body["input"]].some(
    (text) => Array.isArray(text) && text.some((part) => typeof part !== "string")
  ) ||
  body["logit_bias"] != null ||
  body["stop_token_ids"] != null

export interface Attempt<A, R> {
  readonly spec: ModelSpec
  readonly body: Readonly<Record<string, unknown>>
  /** Asks a model. */
  readonly ask: (spec: ModelSpec, body: Readonly<Record<string, unknown>>) => Effect.Effect<A, HelixError, R>
  /** Tells the client, should it come to an answer, in whose place another model answers. */
  readonly instead: <B, R2>(
    asked: ModelId,
    answer: Effect.Effect<B, HelixError, R2>
  ) => Effect.Effect<B, HelixError, R | R2>
  /** Whether the client has been told something of an answer. */
  readonly hasBegun: () => boolean
}

/** Asks the model, and if it can't be had those in its place. If none can answer, its own error is the answer. */
export const withFallback = <A, R>({
  ask,
  body,
  hasBegun,
  instead,
  spec
}: Attempt<A, R>): Effect.Effect<A, HelixError, R | Runtime | Principal> =>
  Effect.flatMap(Clock.currentTimeMillis, (since) =>
    Effect.catchIf(ask(spec, body), isAbsent, (error) =>
      Effect.gen(function* () {
        if (hasBegun() || speaksTokens(body)) return yield* error
        // of a name with versions the conversation may have drawn another one
        const asked = error._tag === "UpstreamUnavailable" ? spec : ((yield* served(error.model)) ?? spec)
        for (const other of yield* successors(asked)) {
          const waited = (yield* Clock.currentTimeMillis) - since
          const answer = yield* instead(asked.id, ask(other, { ...body, model: other.id })).pipe(
            Effect.provideService(Waited, Math.max(1, waited)),
            Effect.either
          )
          if (Either.isLeft(answer)) {
            if (hasBegun()) return yield* answer.left
            continue
          }
          countFallback(1, asked.id, other.id, error._tag)
          yield* Effect.annotateCurrentSpan({ [Attribute.requestModel]: asked.id, [Attribute.responseModel]: other.id })
          yield* Effect.logWarning(`${other.id} has answered in place of ${asked.id}: ${error.message}`)
          return answer.right
        }
        return yield* error
      })
    )
  )
