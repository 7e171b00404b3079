/**
 * Who makes way. Where a request waits for a slot of a model and another tenant holds more of its slots, one of that tenant's requests
 * is preempted: it gives its slot up, waits in the same lane, and goes on where it was.
 *
 * Slots are shared as evenly as they can be by the tenants' weights (max-min fairness): one moves only from a tenant that has no less
 * than the other after it, so nobody makes way for an equal, a tenant that is alone for nobody, and no slot moves back and forth. Of the
 * tenant that has most, the request goes whose slot is cheapest to come back to: the one that was preempted least, then the latest, which has least to
 * compute again.
 *
 * A request that was given a slot keeps it for `quantum`, and is preempted `preemptions` times at most. Nobody makes way for a less urgent
 * tier, nor for a tenant that was served more, by more than one request, as the counters of `FairShare` say.
 *
 * Whoever somebody makes way for is next (`promised`), before the rest of its tier. It is looked for in the order of service, and among those of
 * the most urgent tier for whom nothing can be done: others would go before them.
 */
import { anonymous, type Caller } from "@helixflow/schema/Caller"
import type { ModelId, ReservationId } from "@helixflow/schema/Ids"
import { HashMap, Option } from "effect"
import * as FairShare from "./FairShare.ts"
import * as FleetView from "./FleetView.ts"
import * as Queue from "./Queue.ts"
import {
  type Command,
  emit,
  millis,
  type SchedulerState,
  type Slot,
  type Step,
  slotOf,
  slotsOf
} from "./SchedulerState.ts"

/** Milliseconds that who was preempted waits: its turn comes, and to end it would be to fail what has begun. Some days. */
export const asLongAsItTakes = 2 ** 31 - 1

/** Asks requests to give their slots up for those who still wait. */
export const preempt = (state: SchedulerState, now: number): Step => {
  if (state.options.quantum === Number.POSITIVE_INFINITY) return { state, commands: [] }
  const commands: Array<Command> = []
  let { content, queue, slots, wakeAt } = state
  for (const model of state.queue.turns) {
    const lane = Queue.lane(queue, model)
    let known = Option.getOrUndefined(HashMap.get(content, model))
    if (known === undefined || known.lane !== lane || known.until <= now) {
      const { chosen, until } = choose(state, model, lane, now)
      for (const { by, slot } of chosen) {
        slots = HashMap.set(slots, slot.claim, { ...slot, phase: "yielding" })
        const { replica, request } = slot
        commands.push(emit({ _tag: "Preempted", at: millis(now), request, replica, by: by.request }))
        commands.push({ _tag: "Preempt", slot })
      }
      if (chosen.length > 0) queue = Queue.promise(queue, model, new Set(chosen.map(({ by }) => by.ticket)))
      known = { lane: Queue.lane(queue, model), until }
      content = HashMap.set(content, model, known)
    }
    wakeAt = Math.min(wakeAt, known.until)
  }
  return { state: { ...state, content, queue, slots, wakeAt }, commands }
}

/** A request that was asked to give its slot up has not, or could not be asked. The caller lets the scheduler `advance`. */
export const kept = (state: SchedulerState, claim: ReservationId, now: number): Step => {
  const slot = slotOf(state, claim)
  if (slot?.phase !== "yielding") return { state, commands: [] }
  const yieldsAt = now + state.options.quantum
  return {
    state: {
      ...state,
      slots: HashMap.set(state.slots, claim, { ...slot, phase: "held", yieldsAt }),
      content: HashMap.remove(state.content, slot.model)
    },
    commands: []
  }
}

interface Choice {
  readonly slot: Slot
  readonly by: Queue.Waiting
}

/** What each tenant has of a model's slots, as far as they are not being given up. */
interface Holdings {
  readonly staying: Set<Slot>
  readonly held: Map<string, number>
  /** What they have probably cost by now beyond what was charged for them, in weighted tokens over the tenant's weight. */
  readonly unpaid: ReadonlyMap<string, number>
  /** Slots that are given up and will be had by whoever is next. */
  readonly coming: number
}

const isLeaving = ({ phase }: Slot): boolean => phase === "yielding" || phase === "releasing"

const add = (to: Map<string, number>, tenant: string, amount: number) => to.set(tenant, (to.get(tenant) ?? 0) + amount)

const holdings = (state: SchedulerState, model: ModelId, now: number): Holdings => {
  const all = slotsOf(state, model)
  const staying = all.filter((slot) => !isLeaving(slot))
  const coming = all.filter((slot) => isLeaving(slot) && isServing(state.view, slot)).length
  const held = new Map<string, number>()
  const unpaid = new Map<string, number>()
  const usualMillis = Option.getOrElse(HashMap.get(state.holdMillis, model), () => Number.POSITIVE_INFINITY)
  const perMilli = Queue.share(state.queue, model).usual / usualMillis
  for (const { caller, charged, past, since } of staying) {
    add(held, caller.tenant, 1)
    const cost = (past?.cost ?? 0) + perMilli * (now - since)
    add(unpaid, caller.tenant, Math.max(0, cost - charged) / caller.weight)
  }
  return { staying: new Set(staying), held, unpaid, coming }
}

/** A tenant that would have this share of the slots, over its weight, and for which it would be the turn at `tag`. */
interface Claimant {
  readonly tenant: string
  readonly share: number
  readonly rank: number
  readonly tag: number
}

/** Slots of tenants that would have no less without one of them, and were served as much, of no more urgent tiers. */
const owing = (
  shares: FairShare.FairShare,
  { held, staying, unpaid }: Holdings,
  { rank, share, tag, tenant }: Claimant
): Array<Slot> => {
  // no more than one request ahead of it
  const servedOf = ({ tenant, weight }: Caller) =>
    FairShare.counter(shares, tenant) + (unpaid.get(tenant) ?? 0) + FairShare.estimate(shares, tenant) / weight
  return Array.from(staying).filter(
    ({ caller, yieldsAt }) =>
      yieldsAt < Number.POSITIVE_INFINITY &&
      caller.tenant !== tenant &&
      ((held.get(caller.tenant) ?? 0) - 1) / caller.weight >= share &&
      Queue.ranks[caller.tier] >= rank &&
      tag <= servedOf(caller)
  )
}

const isRipe = ({ phase, yieldsAt }: Slot, now: number): boolean => phase === "held" && yieldsAt <= now

/** Who makes way for whom in a lane, and when time alone may change that. */
const choose = (
  state: SchedulerState,
  model: ModelId,
  lane: ReadonlyArray<Queue.Waiting>,
  now: number
): { readonly chosen: ReadonlyArray<Choice>; readonly until: number } => {
  const { options, queue, view } = state
  const chosen: Array<Choice> = []
  const had = holdings(state, model, now)
  const { coming, held, staying } = had
  const isOnly = ({ caller }: Queue.Waiting) => (held.get(caller.tenant) ?? 0) === staying.size
  let until = Number.POSITIVE_INFINITY
  if (lane.every(isOnly)) return { chosen, until }
  const shares = Queue.share(queue, model)
  const inVain = new Set<string>()
  let most = Number.POSITIVE_INFINITY
  for (const [turn, { rank, tag, waiting }] of Queue.order(queue, model, now).entries()) {
    const { tenant, weight } = waiting.caller
    if (rank > most) break
    if (inVain.has(tenant)) continue
    const has = held.get(tenant) ?? 0
    if (turn < coming) {
      // it gets what somebody gives up already
      held.set(tenant, has + 1)
      continue
    }
    const mayBeHad = owing(shares, had, { tenant, share: (has + 1) / weight, rank, tag })
    const shareOf = ({ caller }: Slot) => (held.get(caller.tenant) ?? 0) / caller.weight
    const slot = mayBeHad
      .filter((slot) => isRipe(slot, now))
      .sort((a, b) => shareOf(b) - shareOf(a) || byCost(a, b))
      .find((slot) => isServing(view, slot) && suits(view, slot, waiting))
    if (slot === undefined) {
      // who waits becomes more urgent, and what runs costs more
      until = Math.min(until, now + options.quantum, ...mayBeHad.flatMap(({ yieldsAt: at }) => (at > now ? [at] : [])))
      inVain.add(tenant)
      most = rank
      continue
    }
    held.set(tenant, has + 1)
    held.set(slot.caller.tenant, (held.get(slot.caller.tenant) ?? 0) - 1)
    staying.delete(slot)
    chosen.push({ slot, by: waiting })
  }
  return { chosen, until }
}

/** Whose slot is cheapest to come back to first. */
const byCost = (a: Slot, b: Slot): number =>
  (a.past?.times ?? 0) - (b.past?.times ?? 0) || b.since - a.since || (a.claim < b.claim ? -1 : 1)

/** How many of a model's slots would be given up now to a tenant of usual weight that has none. */
export const yielding = (state: SchedulerState, model: ModelId, now: number): number => {
  const { tenant, tier } = anonymous
  if (state.options.quantum === Number.POSITIVE_INFINITY) return 0
  const claimant = { tenant, share: 1, rank: Queue.ranks[tier], tag: 0 }
  const shares = Queue.share(state.queue, model)
  return owing(shares, holdings(state, model, now), claimant).filter((slot) => isRipe(slot, now)).length
}

/** Where it is, requests are served and have the files that there are: whoever gives such a slot up can go on. */
const isServing = (view: FleetView.FleetView, { replica }: Slot): boolean => {
  const entry = FleetView.replica(view, replica)
  return entry !== undefined && FleetView.stateOf(entry) === "ready" && !FleetView.isOutdated(view, entry)
}

const suits = (view: FleetView.FleetView, { replica }: Slot, { not, revision = null }: Queue.Waiting): boolean =>
  !not.includes(replica) && (revision === null || FleetView.replica(view, replica)?.status.revision === revision)
