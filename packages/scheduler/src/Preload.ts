/**
 * Loading ahead of requests: a model that will probably be asked for soon takes memory that is free, or that of idle models which will
 * probably not be.
 *
 * What a loaded model is worth is how likely it is asked for in the time that matters, times how long a load of it takes. The time that
 * matters is twice a load: what is begun later comes too late, what is begun earlier can wait. A model is loaded ahead where it is worth
 * more than those together that leave for it, by some margin, since a load is certain and what it is for is not.
 *
 * Nobody who waits is worse off: nothing is loaded ahead while somebody waits for a model that is neither there nor coming, and what is
 * being loaded then is given up for it. What was loaded ahead and not used leaves as soon as its place is needed.
 */
import type { ModelId, ReplicaId } from "@helixflow/schema/Ids"
import { type ModelSpec, partsOf } from "@helixflow/schema/Model"
import { HashMap, Option } from "effect"
import * as Asked from "./Asked.ts"
import * as Demand from "./Demand.ts"
import * as FleetView from "./FleetView.ts"
import * as Forecast from "./Forecast.ts"
import { startLoad } from "./Loading.ts"
import { compareIds } from "./Policy.ts"
import * as Queue from "./Queue.ts"
import type { Command, LoadPlan, SchedulerState, Step } from "./SchedulerState.ts"
import * as Survey from "./Survey.ts"

/** The time that matters, in loads. */
const lookahead = 2
/** Less likely ones are not loaded, however much memory there is: it takes a disk and a processor from what computes. */
const leastProbability = 0.01
/** Those that leave are worth so many times less at least. */
const margin = 2
/** For so many times as long as between two looks it is waited where something is worth it and has no place, unless something comes. */
const patience = 5
/** Those worth most are looked at. */
const mostCandidates = 8

/** A request came. One that comes again because its worker was lost says nothing of its client. */
export const learn = (
  state: SchedulerState,
  {
    caller,
    model,
    not
  }: { readonly caller: { readonly tenant: string }; readonly model: ModelId; readonly not: ReadonlyArray<ReplicaId> },
  now: number
): SchedulerState => {
  if (not.length > 0) return state
  const { ahead, options } = state
  const forecast = Forecast.arrived(ahead.forecast, model, caller.tenant, now)
  if (!options.preload) return { ...state, ahead: { ...ahead, forecast } }
  const lookAt = Math.min(ahead.lookAt, Math.max(now, ahead.lookedAt + options.preloadInterval))
  return { ...state, ahead: { ...ahead, forecast, lookAt }, wakeAt: Math.min(state.wakeAt, lookAt) }
}

const isHereOrComing = (view: FleetView.FleetView, model: ModelId): boolean =>
  FleetView.replicasOf(view, model).some((id) => {
    const entry = FleetView.replica(view, id)
    const state = entry && FleetView.stateOf(entry)
    return state === "ready" || state === "loading"
  })

/** On the devices that it would be loaded on with nothing in the way; no time where there are none. */
const reloadOf = (view: FleetView.FleetView, spec: ModelSpec): number => {
  const demand = FleetView.demandFor(view, spec.id)
  if (demand.loadMillis !== null) return demand.loadMillis
  for (const { id } of Survey.devicesFor(view, spec)) {
    const on = FleetView.device(view, id)?.status.device
    if (on !== undefined) return Demand.loadMillis(demand, spec, on.kind)
  }
  return 0
}

/** How likely a model is asked for in the time that matters, by the forecast or by how much it was asked for lately. */
const likelihood = (view: FleetView.FleetView, forecast: Forecast.Forecast, now: number) => {
  const within = (model: ModelId): number => {
    const spec = FleetView.model(view, model)
    return spec === undefined ? 0 : lookahead * reloadOf(view, spec)
  }
  const forecasts = new Map(
    Forecast.predict(forecast, now, within).map(({ model, probability }) => [model, probability])
  )
  const of = (model: ModelId): number =>
    Math.max(forecasts.get(model) ?? 0, Demand.probability(FleetView.demandFor(view, model), now, within(model)))
  return { forecasts, of }
}

export interface Choice {
  readonly spec: ModelSpec
  readonly load: Survey.LoadDecision
}

/** What to load ahead now, if anything; and whether something would be if there was a place for it. */
export const choose = (
  state: SchedulerState,
  now: number
): { readonly choice: Choice | undefined; readonly eager: boolean } => {
  const { ahead, options, queue, view } = state
  const likely = likelihood(view, ahead.forecast, now)
  const worth = (model: ModelId, spec: ModelSpec | undefined): number =>
    spec === undefined ? 0 : likely.of(model) * reloadOf(view, spec)
  const candidates = [...likely.forecasts].flatMap(([model, probability]) => {
    const spec = probability < leastProbability ? undefined : FleetView.model(view, model)
    if (spec === undefined || isHereOrComing(view, model)) return []
    const before = Option.getOrUndefined(HashMap.get(ahead.loadedAt, model))
    const inVain = before !== undefined && Forecast.lastOf(ahead.forecast, model) < before
    if (inVain && now < before + options.preloadPause) return []
    return [{ spec, worth: probability * reloadOf(view, spec) }]
  })
  candidates.sort((a, b) => b.worth - a.worth || compareIds(a.spec.id, b.spec.id))
  for (const { spec, worth: gain } of candidates.slice(0, mostCandidates)) {
    const search = { spec, evicts: true, patientUntil: Number.POSITIVE_INFINITY, wanted: Queue.isWanted(queue) }
    const { load } = Survey.survey(view, search, now, options)
    if (load === undefined) continue
    const loss = load.evict.reduce((sum, id) => {
      const model = FleetView.replica(view, id)?.status.model
      return model === undefined ? sum : sum + worth(model, FleetView.model(view, model))
    }, 0)
    if (load.evict.length === 0 || gain > margin * loss) return { choice: { spec, load }, eager: true }
  }
  return { choice: undefined, eager: candidates.length > 0 }
}

/** Models that somebody waits for and that are neither there nor coming. */
const starving = ({ queue, view }: SchedulerState): ReadonlyArray<ModelSpec> =>
  queue.turns.flatMap((model) => {
    const spec = FleetView.model(view, model)
    return spec === undefined || Queue.lane(queue, model).length === 0 || isHereOrComing(view, model) ? [] : [spec]
  })

/** Gives up what is being loaded ahead where one that somebody waits for could be loaded. */
const giveWay = (state: SchedulerState, waiting: ReadonlyArray<ModelSpec>): Step => {
  const inTheWay = (plan: LoadPlan): boolean =>
    Queue.lane(state.queue, plan.spec.id).length === 0 &&
    partsOf(plan).some(({ device }) => {
      const on = FleetView.device(state.view, device)?.status.device
      return (
        on !== undefined &&
        waiting.some(
          (other) =>
            Asked.suits(other.placing, on) && Asked.isPinnedTo(other.placing, on) && other.claimOn(on.kind) <= on.total
        )
      )
    })
  const given = state.ahead.loads.filter(inTheWay)
  if (given.length === 0) return { state, commands: [] }
  const loads = state.ahead.loads.filter((plan) => !given.includes(plan))
  return {
    state: { ...state, ahead: { ...state.ahead, loads } },
    commands: given.map((plan) => ({ _tag: "GiveUp", plan }))
  }
}

/** Loads what is worth it, one at a time, after everybody who waits was decided for. */
export const advance = (state: SchedulerState, now: number): Step => {
  const { options, view } = state
  if (!options.preload || state.closed) return { state, commands: [] }
  const waiting = starving(state)
  if (waiting.length > 0) return giveWay(state, waiting)
  if (now < state.ahead.lookAt) {
    return { state: { ...state, wakeAt: Math.min(state.wakeAt, state.ahead.lookAt) }, commands: [] }
  }
  const { choice, eager } = choose(state, now)
  const soon = now + options.preloadInterval
  const longest = Array.from(HashMap.values(view.models), (spec) => lookahead * reloadOf(view, spec))
  const change =
    Forecast.nextChange(state.ahead.forecast, now) - longest.reduce((most, millis) => Math.max(most, millis), 0)
  const lookAt = choice !== undefined ? soon : eager ? now + patience * options.preloadInterval : Math.max(soon, change)
  const looked = { ...state, ahead: { ...state.ahead, lookedAt: now, lookAt }, wakeAt: Math.min(state.wakeAt, lookAt) }
  if (choice === undefined) return { state: looked, commands: [] }
  const started = startLoad(looked, choice.spec, choice.load, "preload", now)
  const plans = started.commands.flatMap((command: Command) => (command._tag === "Load" ? [command.plan] : []))
  const ahead = {
    ...started.state.ahead,
    loads: [...started.state.ahead.loads, ...plans],
    loadedAt: HashMap.set(started.state.ahead.loadedAt, choice.spec.id, now)
  }
  return { state: { ...started.state, ahead }, commands: started.commands }
}
