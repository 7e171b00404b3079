/**
 * What a session is asked that has no parts to keep: vectors, scores, a text's tokens and a text of tokens. A lost worker has it done
 * anew.
 */
import type { Rpc } from "@effect/rpc"
import type { Caller } from "@helixflow/schema/Caller"
import type { ClassificationRequest } from "@helixflow/schema/Classification"
import { type LoadFailed, type ModelNotFound, TaskNotSupported } from "@helixflow/schema/Errors"
import type { EmbeddingRequest, Prompt } from "@helixflow/schema/Generation"
import { type ModelId, RequestId } from "@helixflow/schema/Ids"
import type { ModelSpec, ModelTask } from "@helixflow/schema/Model"
import type { ModelActor } from "@helixflow/schema/ModelActor"
import type { Detokenize, SessionError, Tokenize } from "@helixflow/schema/SessionActor"
import { Effect } from "effect"
import type { ClientOf } from "./Actor.ts"
import type * as Attempts from "./Attempts.ts"
import type { Subject } from "./Quarantine.ts"

export interface WorkOptions extends Attempts.AttemptsOptions {
  readonly model: (id: ModelId) => Effect.Effect<ModelSpec, ModelNotFound | LoadFailed>
}

/** The model of this name, if it does what is wanted. */
export const specFor = ({ model }: Pick<WorkOptions, "model">, name: ModelId, task: ModelTask, wanted: string) =>
  Effect.filterOrFail(
    model(name),
    (spec) => spec.task === task,
    (spec) => new TaskNotSupported({ model: spec.id, task: wanted })
  )

const waiting = ({
  caller,
  queueTimeout
}: {
  readonly caller?: Caller | undefined
  readonly queueTimeout: number
}) => ({
  timeoutMillis: queueTimeout,
  caller
})

/** The tokens of each prompt, on one replica. */
const tokenizeAll = (replica: ClientOf<typeof ModelActor>, prompts: ReadonlyArray<Prompt>) =>
  Effect.forEach(prompts, (prompt) => Effect.map(replica.Tokenize({ prompt }), ({ tokens }) => tokens), {
    concurrency: 64
  })

/** Those of a session's handlers. */
export const make = (options: WorkOptions, withReplica: ReturnType<typeof Attempts.make>) => {
  const whole = <A>(
    model: ModelSpec,
    name: string,
    wait: Attempts.Wait,
    input: Subject,
    use: (place: Attempts.Place) => Effect.Effect<A, SessionError | Attempts.Lost>
  ) => {
    const subject = () => ({ ...input, model: model.id, name })
    return Effect.zipRight(
      options.quarantine.check(subject),
      withReplica({ model, name, wait, reached: () => 0, subject, preemptible: false, use })
    )
  }

  return {
    Embed: Effect.fn("SessionActor.Embed")(function* (request: EmbeddingRequest) {
      const model = yield* specFor(options, request.model, "embedding", "embeddings")
      return yield* whole(
        model,
        "embed",
        waiting(request),
        { inputs: request.inputs },
        ({ attempt, replica, served }) =>
          Effect.flatMap(tokenizeAll(replica, request.inputs), (inputs) => {
            served.input = inputs.reduce((sum, tokens) => sum + tokens.length, 0)
            return replica.Embed({ request: RequestId.make(`${options.session}@${attempt}`), inputs })
          })
      )
    }),
    Classify: Effect.fn("SessionActor.Classify")(function* (request: ClassificationRequest) {
      const model = yield* specFor(options, request.model, "classification", "classification")
      return yield* whole(
        model,
        "classify",
        waiting(request),
        { inputs: request.inputs },
        ({ attempt, replica, served }) =>
          replica.Classify({ request: RequestId.make(`${options.session}@${attempt}`), inputs: request.inputs }).pipe(
            Effect.tap(({ promptTokens }) => {
              served.input = promptTokens
            })
          )
      )
    }),
    Tokenize: Effect.fn("SessionActor.Tokenize")(function* ({
      model: name,
      prompt,
      ...request
    }: Rpc.Payload<typeof Tokenize>) {
      const model = yield* options.model(name)
      const { tokens } = yield* whole(model, "tokenize", waiting(request), { prompt }, ({ replica }) =>
        replica.Tokenize({ prompt })
      )
      return { tokens, context: model.context }
    }),
    Detokenize: Effect.fn("SessionActor.Detokenize")(function* ({
      model: name,
      tokens,
      ...request
    }: Rpc.Payload<typeof Detokenize>) {
      const model = yield* options.model(name)
      return yield* whole(model, "detokenize", waiting(request), { tokens }, ({ replica }) =>
        replica.Detokenize({ tokens })
      )
    })
  }
}
