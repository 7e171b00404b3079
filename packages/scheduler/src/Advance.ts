/**
 * The decisions that are made anew for those who wait whenever something changed: places first, of all models, so that no idle replica
 * is evicted that would be used, then loads, then slots that others have too many of. What is kept loaded comes then: it has time. Who was not used for as long as it is kept is
 * let go, and who has files that were replaced is renewed. What may be asked for comes last.
 *
 * Where a load is to be had for some of those who wait, the most urgent tier is first, then the tenant on whom the least time of loads
 * was spent, then whose turn it is.
 *
 * Of lanes that nothing could be done for only those are looked at again for which something may have changed (`Stalled`): an event
 * costs what it changes, and not what waits.
 */
import { ModelNotFound, QueueTimeout } from "@helixflow/schema/Errors"
import type { ModelId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import { HashMap, Option } from "effect"
import * as Decide from "./Decide.ts"
import * as Demand from "./Demand.ts"
import * as FairShare from "./FairShare.ts"
import * as FleetChange from "./FleetChange.ts"
import * as FleetIndex from "./FleetIndex.ts"
import * as FleetView from "./FleetView.ts"
import * as Keeping from "./Keeping.ts"
import { startLoad } from "./Loading.ts"
import * as Moving from "./Moving.ts"
import { retryAfterSeconds } from "./Outlook.ts"
import { isParticular, queryOf, refusal, refuse } from "./Placing.ts"
import { preempt } from "./Preempting.ts"
import * as Preload from "./Preload.ts"
import * as Queue from "./Queue.ts"
import { reasonText } from "./ReasonText.ts"
import { renew } from "./Renewing.ts"
import type { Command, SchedulerState, Step } from "./SchedulerState.ts"
import * as Serving from "./Serving.ts"
import { assign } from "./Slots.ts"

export const advance = (state: SchedulerState, now: number): Step => {
  const served = serveWaiting(state, now)
  const kept = keepLoaded(served.state, now)
  const left = letGo(kept.state, now)
  const renewed = renew(left.state, Queue.isWanted(left.state.queue), now)
  const ahead = Preload.advance(renewed.state, now)
  return {
    state: ahead.state,
    commands: [...served.commands, ...kept.commands, ...left.commands, ...renewed.commands, ...ahead.commands]
  }
}

/** Stops the replicas that nobody has used for as long as they are kept, but for those that somebody waits for or that are kept loaded. */
const letGo = (state: SchedulerState, now: number): Step => {
  const commands: Array<Command> = []
  const wanted = Queue.isWanted(state.queue)
  let { view } = state
  let first = Keeping.first(view.keeping)
  for (; first !== undefined && first.until <= now; first = Keeping.first(view.keeping)) {
    const { replica } = first
    const entry = FleetView.replica(view, replica)
    const leaves =
      entry !== undefined &&
      FleetView.stateOf(entry) === "ready" &&
      !wanted(entry.status.model) &&
      FleetView.mayLeave(view, entry)
    view = FleetChange.updateReplica(view, replica, ({ life }) => ({
      life: leaves ? "stopping" : life,
      keepUntil: Number.POSITIVE_INFINITY
    }))
    if (leaves) commands.push({ _tag: "Stop", replica })
  }
  const wakeAt = Math.min(state.wakeAt, first?.until ?? Number.POSITIVE_INFINITY)
  return { state: { ...state, view, wakeAt }, commands }
}

/** Loads what is to be kept loaded and is not. */
const keepLoaded = (state: SchedulerState, now: number): Step => {
  if (state.closed || state.view.kept.length === 0) return { state, commands: [] }
  const commands: Array<Command> = []
  let current = state
  for (const spec of state.view.kept) {
    const { load, until } = Decide.keep(current.view, spec, Queue.isWanted(current.queue), now, current.options)
    if (load === undefined) {
      current = { ...current, wakeAt: Math.min(current.wakeAt, until) }
      continue
    }
    const started = startLoad(current, spec, load, "keep", now)
    commands.push(...started.commands)
    current = started.state
  }
  return { state: current, commands }
}

/** While this is the same, nobody leaves or is left alone who did not before: who found no room finds none. */
const roomOf = ({ queue, view }: SchedulerState): number => FleetIndex.indexOf(view).grown + queue.emptied

/** With the lanes to be looked at again whose models have moved. */
const noted = (state: SchedulerState): SchedulerState => ({
  ...state,
  view: FleetChange.settled(state.view),
  stalled: HashMap.removeMany(state.stalled, state.view.moved),
  content: HashMap.removeMany(state.content, state.view.moved)
})

const stalledOf = ({ queue, stalled }: SchedulerState, model: ModelId, now: number) => {
  const found = Option.getOrUndefined(HashMap.get(stalled, model))
  return found !== undefined && now < found.until && found.head === Queue.lane(queue, model)[0]?.ticket
    ? found
    : undefined
}

const serveWaiting = (before: SchedulerState, now: number): Step => {
  const state = noted(before)
  if (state.queue.size === 0) {
    return {
      state: { ...state, stalled: HashMap.empty(), content: HashMap.empty(), wakeAt: Number.POSITIVE_INFINITY },
      commands: []
    }
  }
  const { queue, expired } = Queue.expire(state.queue, now)
  const commands: Array<Command> = []
  for (const waiting of expired) commands.push(...refuse(waiting.ticket, waiting, timeout(state, waiting, now), now))
  const placed = place({ ...state, queue }, now)
  const loading = load(placed.state, now)
  const preempting = preempt(noted(loading.state), now)
  commands.push(...placed.commands, ...loading.commands, ...preempting.commands)
  return { state: preempting.state, commands }
}

/** Gives free slots to those who wait for them. */
const place = (state: SchedulerState, now: number): Step => {
  const commands: Array<Command> = []
  const attempt = (
    current: SchedulerState,
    waiting: Queue.Waiting,
    charged: number
  ): Serving.Attempt<SchedulerState> => {
    const spec = FleetView.model(current.view, waiting.model)
    if (spec === undefined) {
      commands.push(...refuse(waiting.ticket, waiting, new ModelNotFound({ model: waiting.model }), now))
      return { outcome: "refused", state: current }
    }
    const decision = Decide.attempt(current.view, queryOf(current, spec, waiting), now, current.options)
    if (decision._tag === "Placed") {
      const assigned = assign(current, waiting, decision.replica, charged, now)
      const { loadedAt } = decision.replica
      const cold = loadedAt !== null && loadedAt >= waiting.since
      commands.push({ _tag: "Grant", ticket: waiting.ticket, slot: assigned.slot, cold })
      return { outcome: "served", state: assigned.state }
    }
    const error = refusal(decision, waiting.model)
    if (error !== undefined) {
      commands.push(...refuse(waiting.ticket, waiting, error, now))
      return { outcome: "refused", state: current }
    }
    // Who takes any replica and gets none speaks for all behind, but for those to whom one is left that leaves.
    const speaksForAll = !isParticular(waiting) && !Queue.lane(state.queue, waiting.model).some(goesOnWithOld(spec))
    return { outcome: speaksForAll ? "blocked" : "passed", state: current }
  }
  const isOpen = (model: ModelId) => stalledOf(state, model, now) === undefined
  const served = Serving.serve(state.queue, state, now, attempt, isOpen)
  return { state: { ...served.state, queue: served.queue }, commands }
}

/** Whether a request goes on with files that were replaced. */
const goesOnWithOld =
  (spec: ModelSpec) =>
  ({ revision = null }: Queue.Waiting): boolean =>
    revision !== null && revision !== spec.revision

interface Candidate {
  readonly model: ModelId
  readonly rank: number
  readonly tenant: string
  readonly turn: number
}

/** Loads what those wait for who have no place, as far as there is room. */
const load = (state: SchedulerState, now: number): Step => {
  const commands: Array<Command> = []
  const room = roomOf(state)
  let current = state
  let wakeAt = state.queue.nextDeadline
  const candidates: Array<Candidate> = []
  state.queue.turns.forEach((model, turn) => {
    const stalled = stalledOf(state, model, now)
    if (stalled !== undefined) wakeAt = Math.min(wakeAt, stalled.until)
    const urgency = stalled?.room === room ? undefined : Queue.urgency(state.queue, model, now)
    if (urgency !== undefined) candidates.push({ model, rank: urgency.rank, tenant: urgency.caller.tenant, turn })
  })
  const counter = ({ tenant }: Candidate) => FairShare.counter(current.loadShares, tenant)
  const order = () => candidates.sort((a, b) => a.rank - b.rank || counter(a) - counter(b) || a.turn - b.turn)
  order()
  for (let first = candidates.shift(); first !== undefined; first = candidates.shift()) {
    const attempted = loadFor(current, first.model, room, now)
    current = attempted.state
    wakeAt = Math.min(wakeAt, attempted.until)
    if (attempted.commands.length === 0) continue
    commands.push(...attempted.commands)
    order()
  }
  return { state: { ...current, wakeAt }, commands }
}

/** A load for those who wait for the model; without one, when time alone may change that. */
const loadFor = (
  state: SchedulerState,
  model: ModelId,
  room: number,
  now: number
): Step & { readonly until: number } => {
  const spec = FleetView.model(state.view, model)
  let until = Number.POSITIVE_INFINITY
  if (spec === undefined) return { state, commands: [], until }
  const lane = Queue.lane(state.queue, model)
  let current = state
  for (const waiting of lane) {
    const query = queryOf(current, spec, waiting)
    const decision = Decide.attempt(current.view, query, now, current.options)
    const moves = Moving.seek(current, query, decision, now)
    current = moves.state
    until = Math.min(until, moves.until)
    if (moves.makesRoom) return { state: current, commands: moves.commands, until }
    if (decision._tag === "Load") {
      const { commands, state: started } = startLoad(current, spec, decision, "request", now)
      const millis = Demand.loadMillis(FleetView.demandFor(current.view, model), spec, decision.kind)
      const loadShares = FairShare.charge(current.loadShares, waiting.caller, millis, now)
      return { state: { ...started, loadShares, queue: Queue.turned(started.queue, model) }, commands, until }
    }
    if (decision._tag === "Wait") until = Math.min(until, decision.until)
    if (!isParticular(waiting)) break
  }
  const head = lane[0]?.ticket
  // who is particular, or may be told that loading failed, is looked at each time
  const lasts = FleetView.failuresOf(state.view, model).size === 0 && !lane.some(isParticular)
  const stalled =
    head !== undefined && lasts ? HashMap.set(current.stalled, model, { head, room, until }) : current.stalled
  return { state: { ...current, stalled }, commands: [], until }
}

const timeout = (state: SchedulerState, waiting: Queue.Waiting, now: number): QueueTimeout => {
  const spec = FleetView.model(state.view, waiting.model)
  const decision = spec && Decide.decide(state.view, queryOf(state, spec, waiting), now, state.options)
  const reasons = decision !== undefined && "reasons" in decision ? decision.reasons : []
  return new QueueTimeout({
    model: waiting.model,
    waitedMillis: now - waiting.since,
    retryAfterSeconds: retryAfterSeconds(state, waiting.model, now),
    reasons: [...new Set(reasons.map(reasonText))]
  })
}
