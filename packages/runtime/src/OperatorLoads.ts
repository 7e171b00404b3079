/** Loads that an operator has asked for. One that nobody waits for goes on all the same; how the last of each model failed is kept. */
import type { ModelId } from "@helixflow/schema/Ids"
import { Effect, FiberMap, type Scope } from "effect"

export interface OperatorLoads<E> {
  /** Loads a model and waits for it. */
  readonly await: (model: ModelId) => Effect.Effect<void, E>
  /** The same in the background, unless it is being done there. */
  readonly start: (model: ModelId) => Effect.Effect<void>
  /** Gives up what `start` has begun and what is known of earlier loads. */
  readonly cancel: (model: ModelId) => Effect.Effect<void>
  /** Whether it is being loaded in the background, or waits for a place. */
  readonly isPending: (model: ModelId) => boolean
  /** Why the last load failed; null: it did not, or there was none. */
  readonly failureOf: (model: ModelId) => string | null
}

/** `load` succeeds when a replica of the model is ready. What goes on ends with the scope. */
export const make = <E extends { readonly message: string }>(
  load: (model: ModelId) => Effect.Effect<void, E>
): Effect.Effect<OperatorLoads<E>, never, Scope.Scope> =>
  Effect.map(FiberMap.make<ModelId>(), (running) => {
    const failures = new Map<ModelId, string>()
    const forget = (model: ModelId) => Effect.sync(() => void failures.delete(model))
    const told = (model: ModelId) =>
      load(model).pipe(
        Effect.zipLeft(forget(model)),
        Effect.tapError(({ message }) => Effect.sync(() => failures.set(model, message)))
      )
    return {
      await: told,
      start: (model) =>
        forget(model).pipe(
          Effect.zipRight(
            FiberMap.run(
              running,
              model,
              told(model).pipe(
                Effect.catchAll(({ message }) =>
                  Effect.logWarning(`${model} is not loaded, as an operator wanted: ${message}`)
                )
              ),
              { onlyIfMissing: true }
            )
          ),
          Effect.asVoid
        ),
      cancel: (model) => Effect.zipRight(FiberMap.remove(running, model), forget(model)),
      isPending: (model) => FiberMap.unsafeHas(running, model),
      failureOf: (model) => failures.get(model) ?? null
    }
  })
