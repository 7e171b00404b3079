import {
  type LoadFailed,
  ModelNotFound,
  ModelReplaced,
  NoDeviceFits,
  QueueFull,
  ShuttingDown,
  TenantQueueFull
} from "@helixflow/schema/Errors"
import type { ModelId, RequestId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import { HashMap, Option } from "effect"
import * as Decide from "./Decide.ts"
import * as FairShare from "./FairShare.ts"
import * as FleetChange from "./FleetChange.ts"
import * as FleetView from "./FleetView.ts"
import { retryAfterSeconds } from "./Outlook.ts"
import * as Preload from "./Preload.ts"
import * as Queue from "./Queue.ts"
import { reasonText } from "./ReasonText.ts"
import {
  type Command,
  emit,
  type Grant,
  millis,
  type Refusal,
  type Refuse,
  type SchedulerState,
  type Step
} from "./SchedulerState.ts"
import { assign } from "./Slots.ts"

/** What became of an arrival: an answer at once, or a place in the queue. */
export type Arrived = Step & { readonly answer: Grant | Refuse | { readonly _tag: "Queued"; readonly ticket: number } }

const rejected = ({ request, model }: Queue.Arrival, error: Refusal, now: number): Command =>
  emit({ _tag: "Rejected", at: millis(now), request, model, reason: error.message })

export const refuse = (ticket: number, arrival: Queue.Arrival, error: Refusal, now: number): ReadonlyArray<Command> => [
  { _tag: "Refuse", ticket, error },
  rejected(arrival, error, now)
]

/** What a decision that ends the wait without a place says to the client. */
export const refusal = (
  decision: Decide.Decision,
  model: ModelId
): LoadFailed | ModelReplaced | NoDeviceFits | undefined => {
  switch (decision._tag) {
    case "Broken":
      return decision.error
    case "Replaced":
      return new ModelReplaced({ model })
    case "Rejected":
      return new NoDeviceFits({ model, reasons: [...new Set(decision.reasons.map(reasonText))] })
    default:
      return undefined
  }
}

export const queryOf = (
  state: SchedulerState,
  spec: ModelSpec,
  { affinity = null, deadline, not, prefer = null, revision = null, since }: Queue.Arrival
): Decide.Query => ({ spec, not, since, deadline, affinity, prefer, revision, wanted: Queue.isWanted(state.queue) })

/** Whether what is decided for it says nothing of who comes behind: it takes fewer replicas than others. */
export const isParticular = ({ not, revision = null }: Queue.Arrival): boolean => not.length > 0 || revision !== null

/** What a request is told that the queue has no room for. Computed for each that is refused, so it must cost next to nothing. */
const overloaded = (
  state: SchedulerState,
  { model }: Queue.Arrival,
  { limit, of }: { readonly limit: number; readonly of: "model" | "tenant" },
  now: number
): QueueFull | TenantQueueFull => {
  const seconds = retryAfterSeconds(state, model, now)
  return of === "model"
    ? new QueueFull({ model, limit, retryAfterSeconds: seconds })
    : new TenantQueueFull({ limit, retryAfterSeconds: seconds })
}

/**
 * A request asks for a place. It is answered at once when a replica is ready and nobody waits before it; otherwise it waits in its
 * model's lane, and the caller lets the scheduler `advance`.
 */
export const arrive = (state: SchedulerState, arrival: Queue.Arrival, now: number): Arrived => {
  const ticket = state.nextTicket
  const { affinity = null, caller, deadline, model, not, prefer = null, request, revision = null } = arrival
  const { preemptible = false, resumes = null } = arrival
  const timeoutMillis = Math.max(0, deadline - now)
  const arrived = emit({
    _tag: "Arrived",
    at: millis(now),
    request,
    model,
    caller,
    not,
    timeoutMillis,
    ...(affinity !== null && { affinity }),
    ...(revision !== null && { revision }),
    ...(prefer !== null && { prefer }),
    ...(preemptible && { preemptible }),
    ...(resumes !== null && { resumes })
  })
  // who goes on was counted when it came
  const isNew = resumes === null && FleetView.model(state.view, model) !== undefined
  const asked = isNew
    ? Preload.learn({ ...state, view: FleetChange.asked(state.view, model, now) }, arrival, now)
    : state
  const past = resumes === null ? null : pastOf(state, arrival, resumes, now)
  const paused = resumes === null ? state.paused : HashMap.remove(state.paused, resumes)
  const comes = resumes === null ? "new" : "returning"
  const joined = join({ ...asked, paused, nextTicket: ticket + 1 }, { ...arrival, past }, ticket, comes, now)
  return { ...joined, commands: [arrived, ...joined.commands] }
}

/** What is known of a request that was preempted. A scheduler that has begun since knows nothing, and has charged nothing for it. */
const pastOf = (state: SchedulerState, { caller, model }: Queue.Arrival, name: RequestId, now: number): Queue.Past =>
  Option.getOrElse(HashMap.get(state.paused, name), () => ({
    model,
    caller,
    times: 1,
    heldMillis: 0,
    charged: 0,
    cost: 0,
    at: now
  }))

/** The slot that was granted could not be had: its replica is passed over a while, the request has its old turn again. */
export const returnToQueue = (state: SchedulerState, arrival: Queue.Arrival, grant: Grant, now: number): Arrived => {
  const heldUntil = now + state.options.hold
  const view = FleetChange.updateReplica(state.view, grant.slot.replica, () => ({ heldUntil }))
  return join({ ...state, view }, { ...arrival, past: grant.slot.past }, grant.ticket, "returning", now)
}

const join = (
  state: SchedulerState,
  arrival: Omit<Queue.Waiting, "ticket">,
  ticket: number,
  comes: "new" | "returning",
  now: number
): Arrived => {
  const { request, model } = arrival
  const refused = (error: Refusal): Arrived => ({
    state,
    answer: { _tag: "Refuse", ticket, error },
    commands: [rejected(arrival, error, now)]
  })
  if (state.closed) return refused(new ShuttingDown())
  const spec = FleetView.model(state.view, model)
  if (spec === undefined) return refused(new ModelNotFound({ model }))
  if (Queue.lane(state.queue, model).length === 0) {
    const decision = Decide.attempt(state.view, queryOf(state, spec, arrival), now, state.options)
    if (decision._tag === "Placed") {
      const { charged, queue } = Queue.charge(state.queue, arrival, now)
      const { state: assigned, slot } = assign({ ...state, queue }, arrival, decision.replica, charged, now)
      return { state: assigned, answer: { _tag: "Grant", ticket, slot, cold: false }, commands: [] }
    }
    const error = refusal(decision, model)
    if (error !== undefined) return refused(error)
  }
  const waiting = { ...arrival, ticket }
  // what was decided for others says nothing of it
  const stalled = isParticular(arrival) ? HashMap.remove(state.stalled, model) : state.stalled
  const { caller } = arrival
  const newTenant = Queue.ofTenant(state.queue, caller.tenant) === 0
  const loadShares = newTenant
    ? FairShare.lift(state.loadShares, caller, HashMap.keys(state.queue.ofTenant))
    : state.loadShares
  const queued = (queue: Queue.Queue, position: number): Arrived => ({
    state: { ...state, queue, stalled, loadShares },
    answer: { _tag: "Queued", ticket },
    commands: [emit({ _tag: "Queued", at: millis(now), request, model, position })]
  })
  if (comes === "returning") {
    const restored = Queue.restore(state.queue, waiting)
    return queued(restored, Queue.position(restored, waiting, now))
  }
  const offered = Queue.offer(state.queue, waiting, now)
  if (offered._tag === "Full") return refused(overloaded(state, arrival, offered, now))
  const joined = queued(offered.queue, offered.position)
  const { displaced } = offered
  if (displaced === undefined) return joined
  const full = overloaded(state, displaced, { limit: state.queue.limits.limit, of: "model" }, now)
  return { ...joined, commands: [...refuse(displaced.ticket, displaced, full, now), ...joined.commands] }
}

/** The request gave up its wait. */
export const withdraw = (
  state: SchedulerState,
  { model, request }: Pick<Queue.Arrival, "model" | "request">,
  ticket: number,
  now: number
): Step => {
  const past = Queue.lane(state.queue, model).find((waiting) => waiting.ticket === ticket)?.past ?? null
  const queue = Queue.remove(state.queue, model, ticket)
  return {
    // it has cost what it has cost
    state: { ...state, queue: past === null ? queue : Queue.settlePast(queue, past) },
    commands: [emit({ _tag: "Withdrawn", at: millis(now), request })]
  }
}

/**
 * Fails those who wait for a model that has just failed to load, unless a replica is there or a device is left that may still take
 * it: for them the wait goes on.
 */
export const failExhausted = (state: SchedulerState, spec: ModelSpec, now: number): Step => {
  const commands: Array<Command> = []
  let { queue } = state
  for (const waiting of Queue.lane(queue, spec.id)) {
    const error = Decide.exhausted(state.view, queryOf(state, spec, waiting), now, state.options)
    if (error === undefined) continue
    queue = Queue.remove(queue, spec.id, waiting.ticket)
    commands.push(...refuse(waiting.ticket, waiting, error, now))
  }
  return { state: { ...state, queue }, commands }
}

/** The scheduler ends: nobody is placed any more. */
export const close = (state: SchedulerState, now: number): Step => ({
  state: { ...state, closed: true, queue: Queue.empty(state.queue.limits) },
  commands: Queue.all(state.queue).flatMap((waiting) => refuse(waiting.ticket, waiting, new ShuttingDown(), now))
})
