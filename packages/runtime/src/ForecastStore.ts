/** Keeps what the scheduler has learned of when models are asked for, so that a restart forgets nothing. */
import * as SqlClient from "@effect/sql/SqlClient"
import type { ForecastMemory } from "@helixflow/scheduler/SchedulerActor"
import { Clock, Context, Effect, Layer } from "effect"

/** There is one scheduler, and it has one forecast. */
const id = 1

export class ForecastStore extends Context.Tag("@helixflow/runtime/ForecastStore")<ForecastStore, ForecastMemory>() {
  /** Forgets with the process. */
  static readonly layerMemory = Layer.sync(this, (): ForecastMemory => {
    let kept: string | undefined
    return {
      recall: Effect.sync(() => kept),
      keep: (text) =>
        Effect.sync(() => {
          kept = text
        })
    }
  })

  /** Kept in the database. While that does not answer, the forecast lasts as long as the scheduler. */
  static readonly layer = Layer.effect(
    this,
    Effect.map(
      SqlClient.SqlClient,
      (sql): ForecastMemory => ({
        recall: sql<{ readonly arrivals: string }>`SELECT arrivals FROM forecast WHERE id = ${id}`.pipe(
          Effect.map(([row]) => row?.arrivals),
          Effect.catchAllCause((cause) =>
            Effect.as(Effect.logWarning("when models were asked for could not be read", cause), undefined)
          )
        ),
        keep: (arrivals) =>
          Effect.flatMap(
            Clock.currentTimeMillis,
            (now) => sql`
              INSERT INTO forecast ${sql.insert({ id, arrivals, saved_at: now })}
              ON CONFLICT (id) DO UPDATE SET arrivals = excluded.arrivals, saved_at = excluded.saved_at`
          ).pipe(Effect.ignoreLogged)
      })
    )
  )
}
