/** The behaviour of the scheduler's actor: what each message of `@helixflow/schema/SchedulerActor` does with the cell. */
import { Rpc } from "@effect/rpc"
import type { QueueProgress } from "@helixflow/schema/Caller"
import { ModelNotFound } from "@helixflow/schema/Errors"
import { RequestId } from "@helixflow/schema/Ids"
import { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import { Clock, Effect, Option, Schedule, Stream } from "effect"
import { explain } from "./Explain.ts"
import * as FleetView from "./FleetView.ts"
import * as Forecast from "./Forecast.ts"
import * as News from "./News.ts"
import * as Outlook from "./Outlook.ts"
import * as PlaceRequest from "./PlaceRequest.ts"
import * as Preempting from "./Preempting.ts"
import * as Queue from "./Queue.ts"
import * as SchedulerCell from "./SchedulerCell.ts"
import { defaults, type SchedulerOptions } from "./SchedulerOptions.ts"
import { emit, heldBy, millis } from "./SchedulerState.ts"
import { snapshot } from "./Snapshot.ts"

/** How often it is looked whether a wait has come on, milliseconds. */
const progressInterval = 250

/** Looks rather than listens: whoever waits is told a few times a second at most, however much happens. */
const progress = (cell: SchedulerCell.SchedulerCell, request: RequestId): Stream.Stream<QueueProgress> => {
  const look = Effect.map(Clock.currentTimeMillis, (now) => {
    const state = cell.state()
    const waiting = Queue.find(state.queue, request)
    return waiting === undefined ? Option.none() : Option.some(Outlook.progress(state, waiting, now))
  })
  return Stream.repeatEffectWithSchedule(look, Schedule.spaced(progressInterval)).pipe(
    Stream.takeWhile(Option.isSome),
    Stream.map(({ value }) => value),
    Stream.changesWith(sameStanding)
  )
}

/** Time alone is no news, but for a load a second is. */
const sameStanding = (a: QueueProgress, b: QueueProgress): boolean =>
  a.position === b.position &&
  a.waiting === b.waiting &&
  Math.floor((a.loading?.elapsedMillis ?? -1) / 1000) === Math.floor((b.loading?.elapsedMillis ?? -1) / 1000)

/** On every request's path: a stack trace per span would cost more than the decision. */
const hot = { captureStackTrace: false }

/** Where what is known of arrivals outlives the scheduler. */
export interface ForecastMemory {
  readonly recall: Effect.Effect<string | undefined>
  readonly keep: (text: string) => Effect.Effect<void>
}

const forgetful: ForecastMemory = { recall: Effect.succeed(undefined), keep: () => Effect.void }

/** How often it is written down; and once more at the end. */
const keepInterval = "5 minutes"

/** Goes on with the forecast that was kept, and keeps it from then on. */
const keepForecast = Effect.fnUntraced(function* (cell: SchedulerCell.SchedulerCell, memory: ForecastMemory) {
  const recalled = Forecast.decode((yield* memory.recall) ?? "")
  if (recalled !== undefined) {
    const state = cell.state()
    cell.set({ ...state, ahead: { ...state.ahead, forecast: recalled } })
  }
  let kept = cell.state().ahead.forecast
  const keep = Effect.suspend(() => {
    const { forecast } = cell.state().ahead
    if (forecast === kept) return Effect.void
    kept = forecast
    return memory.keep(Forecast.encode(forecast))
  })
  yield* Effect.addFinalizer(() => keep)
  yield* Effect.forkScoped(Effect.schedule(keep, Schedule.spaced(keepInterval)))
})

/** The handlers, to be hosted on any transport. The scope is the actor's life: when it closes, all who wait fail with `ShuttingDown`. */
export const make = Effect.fnUntraced(function* (
  options: SchedulerOptions = defaults,
  memory: ForecastMemory = forgetful
) {
  const cell = yield* SchedulerCell.make(options)
  const place = PlaceRequest.make(cell)
  yield* cell.refreshModels
  yield* keepForecast(cell, memory)

  return SchedulerActor.of({
    // waits: must not keep others from being heard
    Place: (payload) => Rpc.fork(Effect.withSpan(place(payload), "SchedulerActor.Place", hot)),
    Complete: ({ reservation, served }) =>
      Effect.suspend(() => {
        const slot = heldBy(cell.state(), RequestId.make(reservation))
        return slot === undefined ? Effect.void : cell.giveBack(slot.claim, served)
      }).pipe(Effect.withSpan("SchedulerActor.Complete", hot)),
    Progress: ({ request }) => Rpc.fork(progress(cell, request)),
    // waits, as Place does
    Evict: ({ model, timeoutMillis }) =>
      Rpc.fork(
        Effect.gen(function* () {
          yield* cell.refreshModels
          const { view } = cell.state()
          const replicas = FleetView.replicasOf(view, model)
          if (FleetView.model(view, model) === undefined && replicas.length === 0) {
            return yield* new ModelNotFound({ model })
          }
          cell.perform(emit({ _tag: "EvictAsked", at: millis(yield* Clock.currentTimeMillis), model, timeoutMillis }))
          const [busy, evicted] = yield* Effect.partition(
            replicas,
            (replica) =>
              Effect.if(cell.drainAndStop(replica, timeoutMillis), {
                onTrue: () => Effect.succeed(replica),
                onFalse: () => Effect.fail(replica)
              }),
            { concurrency: "unbounded" }
          )
          return { evicted, busy }
        }).pipe(Effect.withSpan("SchedulerActor.Evict"))
      ),
    Observe: Effect.fn("SchedulerActor.Observe")(function* (news) {
      yield* cell.refreshModels
      yield* cell.settle((now) => News.observe(cell.state(), news, now))
    }),
    Explain: Effect.fn("SchedulerActor.Explain")(function* ({ model }) {
      yield* cell.refreshModels
      const { queue, view } = cell.state()
      const spec = FleetView.model(view, model)
      if (spec === undefined) return yield* new ModelNotFound({ model })
      const now = yield* Clock.currentTimeMillis
      const yielding = Preempting.yielding(cell.state(), model, now)
      return explain(view, spec, (model) => Queue.lane(queue, model).length, now, options, yielding)
    }),
    View: Effect.fn("SchedulerActor.View")(function* () {
      yield* cell.refreshModels
      return snapshot(cell.state())
    }),
    Watch: () => Rpc.fork(cell.events)
  })
})

export type Handlers = Effect.Effect.Success<ReturnType<typeof make>>

/** `make` with the default options. */
export const handlers = make()

export const layer = SchedulerActor.toLayer(handlers)
