/** Places on programs that serve models over HTTP: they are asked by whoever has one, and nothing of what is said passes here. */
import type { Caller } from "@helixflow/schema/Caller"
import { ActorUnreachable } from "@helixflow/schema/Errors"
import { type ModelId, type ReplicaId, RequestId, ReservationId } from "@helixflow/schema/Ids"
import type { ModelActor } from "@helixflow/schema/ModelActor"
import type { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import type { SessionError } from "@helixflow/schema/SessionActor"
import { type Context, Effect, Scope } from "effect"
import type { ClientOf } from "./Actor.ts"
import type { ModelStore } from "./ModelStore.ts"

export interface ServedRequest {
  readonly model: ModelId
  /** Milliseconds to wait for a place, and for the program to be started. */
  readonly queueTimeout: number
  readonly caller?: Caller | undefined
}

/** A program that is ready. */
export interface Served {
  /** Where its API begins, without a slash at the end. */
  readonly url: string
  /** What it calls the model. */
  readonly target: string
}

export interface ServedPlaceOptions {
  readonly scheduler: Effect.Effect<ClientOf<typeof SchedulerActor>, ActorUnreachable>
  readonly replica: (id: ReplicaId) => Effect.Effect<ClientOf<typeof ModelActor>, ActorUnreachable>
  readonly store: Context.Tag.Service<typeof ModelStore>
}

export const make = ({ replica, scheduler, store }: ServedPlaceOptions) => {
  let places = 0
  return ({
    caller,
    model,
    queueTimeout: timeoutMillis
  }: ServedRequest): Effect.Effect<Served, SessionError, Scope.Scope> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const { server } = yield* store.find(model)
        const actor = yield* scheduler
        const request = RequestId.make(`served-${++places}/${model}`)
        const giveBack = Effect.ignoreLogged(actor.Complete({ reservation: ReservationId.make(request) }))
        const place = yield* restore(actor.Place({ request, model, not: [], timeoutMillis, caller })).pipe(
          // the answer may have been on its way; its reservation has the request's name
          Effect.onInterrupt(() => giveBack)
        )
        yield* Scope.addFinalizer(yield* Effect.scope, giveBack)
        const { state, url } = yield* Effect.flatMap(replica(place.replica), (found) => found.Status())
        if (url === null) return yield* new ActorUnreachable({ actor: place.replica, reason: `it is ${state}` })
        return { url, target: server?.model ?? model }
      })
    )
}
