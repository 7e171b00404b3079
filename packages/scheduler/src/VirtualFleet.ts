/**
 * The scheduler's pure core in a fleet and a time that are not there: arrivals in, decisions out, as fast as they can be computed and the
 * same every time. For trying a fleet out before it is bought, for replaying what was recorded, for measuring policies, and with `Trouble`
 * for looking for what goes wrong with the core when everything else does.
 *
 * What is idealised: models stay as they are, places are not handed over, and who was preempted goes on at no cost. Without trouble messages
 * take no time and nothing dies.
 */
import type { Served } from "@helixflow/schema/Caller"
import { DeviceKind } from "@helixflow/schema/Device"
import { Bytes, type DeviceId, type ReservationId } from "@helixflow/schema/Ids"
import type { ModelSpec, ReplicaStatus } from "@helixflow/schema/Model"
import { Placement, type SchedulerEvent } from "@helixflow/schema/Scheduling"
import { HashMap } from "effect"
import * as FleetView from "./FleetView.ts"
import * as News from "./News.ts"
import * as Placing from "./Placing.ts"
import * as Preempting from "./Preempting.ts"
import type * as Queue from "./Queue.ts"
import * as State from "./SchedulerState.ts"
import * as Slots from "./Slots.ts"
import { lastOrder, VirtualCore } from "./VirtualCore.ts"
import { VirtualDevices } from "./VirtualDevices.ts"
import { VirtualReplicas } from "./VirtualReplicas.ts"
import type { Arrival, Course, Incident, Outcome, World } from "./World.ts"

/** How long a device that has changed waits for more to tell, milliseconds. */
const gathering = 5

/** A request that waits, or has a place. */
interface Open {
  readonly arrival: Arrival
  asked: Queue.Arrival
  ticket: number
  /** A device is being asked for its place. */
  binding: State.Grant | undefined
  placed: Placement | undefined
  placedAt: number
  waitedMillis: number | undefined
  preempted: number
  pausedMillis: number
  /** What is left of what it is to keep places for, and of what they are used for. */
  holdMillis: number
  served: Served | undefined
}

export class VirtualFleet {
  /** What happened, and how requests ended, since somebody took it away. */
  events: Array<SchedulerEvent> = []
  outcomes: Array<Outcome> = []
  /** Who waits or has a place, by ticket. */
  readonly open = new Map<number, Open>()
  readonly devices: VirtualDevices
  readonly core: VirtualCore
  readonly replicas: VirtualReplicas
  /** The tickets of those who have a place, by its claim. */
  private readonly tickets = new Map<ReservationId, number>()
  /** Devices that have changed and not told so. */
  private readonly untold = new Set<DeviceId>()
  private models: ReadonlyArray<ModelSpec>
  /** Requests that are still to come. */
  private coming = 0

  constructor(private readonly world: World) {
    const first = world.arrivals.reduce((least, { at }) => Math.min(least, at), Number.POSITIVE_INFINITY)
    const now = Number.isFinite(first) ? first : 0
    this.models = world.models
    this.devices = new VirtualDevices(world.devices, now, (id) => this.changed(id))
    this.core = new VirtualCore(
      world.options,
      world.models,
      now,
      (command) => this.perform(command),
      () => this.isAwaited
    )
    this.replicas = new VirtualReplicas(world, this.core, this.devices, (status) => this.tell([], [status]))
    const devices = this.devices.ids.map((id) => this.devices.status(id))
    this.core.state = News.observe(this.core.state, { devices, replicas: [] }, now).state
    for (const arrival of world.arrivals) this.expect(arrival)
    for (const incident of world.incidents ?? []) this.core.at(incident.at, incident.order, () => this.meet(incident))
    for (const id of this.devices.ids) this.crowd(id)
  }

  get state(): State.SchedulerState {
    return this.core.state
  }

  /** Whether a request is still to come, waits, or has a place. */
  get isAwaited(): boolean {
    return this.coming > 0 || this.open.size > 0
  }

  /** Does the next of what is to happen. False: nothing is. */
  step(): boolean {
    return this.core.step()
  }

  private expect(arrival: Arrival): void {
    this.coming += 1
    this.core.at(arrival.at, arrival.order, () => this.arrives(arrival))
  }

  private meet(incident: Incident): void {
    const at = State.millis(this.core.now)
    switch (incident._tag) {
      case "WorkerLost":
        this.replicas.lose(incident.replica, incident)
        return
      case "EvictAsked": {
        const { model, timeoutMillis } = incident
        this.events.push({ _tag: "EvictAsked", at, model, timeoutMillis })
        for (const id of FleetView.replicasOf(this.state.view, model)) this.replicas.retire(id)
        return
      }
      case "Learned": {
        const { kind, model, weights } = incident
        this.events.push({ _tag: "Learned", at, model, kind, weights })
        const kinds: ReadonlyArray<DeviceKind> = kind === undefined ? DeviceKind.literals : [kind]
        this.models = this.models.map((spec) =>
          spec.id === model ? kinds.reduce((learned, kind) => learned.withWeightsOn(kind, weights), spec) : spec
        )
        this.core.state = State.withModels(this.state, this.models)
      }
    }
  }

  private arrives(arrival: Arrival): void {
    this.coming -= 1
    const { affinity = null, at, caller, model, not, prefer = null, request, timeoutMillis } = arrival
    const { holdMillis, preemptible = false, served } = arrival
    const own = { request, model, caller, not, affinity, prefer, preemptible }
    const asked = { ...own, since: at, deadline: at + timeoutMillis }
    const none = { binding: undefined, placed: undefined, placedAt: 0, waitedMillis: undefined }
    const open = { ...none, arrival, asked, ticket: -1, preempted: 0, pausedMillis: 0, holdMillis, served }
    if (Number.isFinite(arrival.leavesAfter)) {
      this.core.at(at + arrival.leavesAfter, lastOrder, () => this.leaves(open))
    }
    this.asks(open)
  }

  private asks(open: Open): void {
    open.ticket = this.state.nextTicket
    this.open.set(open.ticket, open)
    this.answered(Placing.arrive(this.state, open.asked, this.core.now))
  }

  private answered({ answer, commands, state }: Placing.Arrived): void {
    this.core.state = state
    for (const command of commands) this.perform(command)
    if (answer._tag === "Queued") {
      this.core.settle({ state: this.state, commands: [] })
      return
    }
    this.perform(answer)
    this.core.wakeInTime()
  }

  /** Its client is gone, unless it has a place by then: then its coming back is an end of that. */
  private leaves(open: Open): void {
    const { ticket } = open
    if (this.open.get(ticket) !== open || open.placed !== undefined) return
    this.end(ticket, { end: "left", refusal: undefined, retryAfterSeconds: undefined })
    if (open.binding !== undefined) this.giveBack(open.binding.slot.claim)
    else this.core.settle(Placing.withdraw(this.state, open.arrival, ticket, this.core.now))
  }

  private perform(command: State.Command): void {
    switch (command._tag) {
      case "Grant":
        this.grant(command)
        return
      case "Refuse":
        this.end(command.ticket, {
          end: "refused",
          refusal: command.error._tag,
          retryAfterSeconds: "retryAfterSeconds" in command.error ? command.error.retryAfterSeconds : undefined
        })
        return
      case "Load":
        this.replicas.load(command.plan)
        return
      case "Retire":
        this.replicas.retire(command.replica)
        return
      case "GiveUp":
        this.replicas.giveUp(command.plan)
        return
      case "Stop":
        this.replicas.evict(command.replica)
        return
      case "GiveBack":
        this.lose(command.slot)
        return
      case "Preempt":
        this.preempt(command.slot)
        return
      case "PhaseOut":
        return
      case "Emit":
        this.events.push(command.event)
    }
  }

  private end(ticket: number, how: Pick<Outcome, "end" | "refusal" | "retryAfterSeconds">): void {
    const open = this.open.get(ticket)
    if (open === undefined) return
    this.open.delete(ticket)
    const { arrival, pausedMillis, placed, preempted, waitedMillis = this.core.now - arrival.at } = open
    const outcome = { arrival, placed, waitedMillis, preempted, pausedMillis, ...how }
    this.outcomes.push(outcome)
    const next = this.world.next?.(outcome, this.core.now)
    if (next !== undefined) this.expect(next)
  }

  /** The device is asked for the slot. */
  private grant(grant: State.Grant): void {
    const open = this.open.get(grant.ticket)
    if (open === undefined) return
    open.binding = grant
    this.core.after(this.world.trouble?.messageMillis() ?? 0, () => {
      if (open.binding !== grant) return
      open.binding = undefined
      // who has left has given it back
      if (this.open.get(grant.ticket) === open && !this.bind(grant, open)) this.passOver(grant, open)
    })
  }

  /** False: it can't be had, or its replica was lost meanwhile. */
  private bind({ cold, slot, ticket }: State.Grant, open: Open): boolean {
    const { claim, device, model, replica, request, within } = slot
    const bytes = FleetView.slotBytesOn(this.state.view, model, device)
    if (bytes === undefined) return false
    const ttlMillis = this.world.options.reservationTtl
    const asked = { reservation: claim, owner: request, bytes, shareable: noBytes, within, ttlMillis }
    if (this.devices.reserve(device, asked, this.core.now)._tag !== "Ok") return false
    this.devices.commit(device, { reservation: claim, state: "resident", ttlMillis: null }, this.core.now)
    const bound = Slots.bound(this.state, claim)
    if (bound === undefined) return false
    this.core.state = bound
    const queuedMillis = Math.max(0, slot.since - open.asked.since)
    const reservation = State.reservationOf(request)
    open.placed = new Placement(
      { request, model, replica, device, reservation, revision: "", cold, queuedMillis },
      { disableValidation: true }
    )
    open.placedAt = this.core.now
    if (open.waitedMillis === undefined) open.waitedMillis = queuedMillis
    else open.pausedMillis += queuedMillis
    this.tickets.set(claim, ticket)
    this.events.push({ _tag: "Placed", at: State.millis(this.core.now), placement: open.placed })
    const order = open.arrival.endOrder ?? lastOrder - 1
    this.core.at(this.core.now + open.holdMillis, order, () => this.complete(claim))
    return true
  }

  private passOver(grant: State.Grant, { asked }: Open): void {
    const { claim, device } = grant.slot
    if (State.slotOf(this.state, claim)?.phase === "binding") this.giveBack(claim)
    // lost while the device was asked: the release of then may have come before the claim
    else this.devices.release(device, claim, this.core.now)
    this.answered(Placing.returnToQueue(this.state, asked, grant, this.core.now))
  }

  private complete(claim: ReservationId): void {
    if (this.tickets.has(claim)) this.giveBack(claim, this.tickets.get(claim))
  }

  /** Whoever has the slot has lost its worker. One that is being asked for is found not to be had. */
  private lose({ claim }: State.Slot): void {
    const ticket = this.tickets.get(claim)
    this.tickets.delete(claim)
    if (ticket !== undefined) this.end(ticket, { end: "lost", refusal: undefined, retryAfterSeconds: undefined })
    this.giveBack(claim)
  }

  /** The slot is given back. `ticket`: of whoever is done with it. */
  private giveBack(claim: ReservationId, ticket?: number): void {
    const slot = this.releasing(claim)
    if (slot === undefined) return
    const served = ticket === undefined ? undefined : this.open.get(ticket)?.served
    if (ticket !== undefined) this.end(ticket, { end: "completed", refusal: undefined, retryAfterSeconds: undefined })
    this.release(slot, served)
  }

  /** As it was, if it is not given back yet. */
  private releasing(claim: ReservationId): State.Slot | undefined {
    const ending = Slots.releasing(this.state, claim)
    if (ending === undefined) return undefined
    this.core.state = ending.state
    this.tickets.delete(claim)
    return ending.slot
  }

  /** Its device is told that the slot is free; when it was, somebody else may have it. */
  private release(slot: State.Slot, served: Served | undefined): void {
    this.core.after(this.world.trouble?.messageMillis() ?? 0, () => {
      this.devices.release(slot.device, slot.claim, this.core.now)
      this.core.settle(Slots.freed(this.state, slot, served, this.core.now))
      this.replicas.vacated()
    })
  }

  /** A request is to give its place up, and does unless it keeps it or has ended meanwhile; then it asks to go on. */
  private preempt({ claim }: State.Slot): void {
    this.core.after(this.world.trouble?.messageMillis() ?? 0, () => {
      const open = this.open.get(this.tickets.get(claim) ?? Number.NaN)
      if (open === undefined) return
      if (this.world.trouble?.keeps() === true) this.core.settle(Preempting.kept(this.state, claim, this.core.now))
      else this.yield(open, claim)
    })
  }

  private yield(open: Open, claim: ReservationId): void {
    const slot = this.releasing(claim)
    if (slot === undefined) return
    const { asked, holdMillis, placedAt, served } = open
    const ran = Math.min(holdMillis, this.core.now - placedAt)
    const output = served === undefined ? 0 : Math.floor((served.output * ran) / holdMillis)
    this.open.delete(open.ticket)
    open.placed = undefined
    open.preempted += 1
    open.holdMillis = holdMillis - ran
    open.served = served && { input: 0, output: served.output - output }
    const since = this.core.now
    open.asked = { ...asked, since, deadline: since + Preempting.asLongAsItTakes, resumes: asked.request }
    this.release(slot, served && { input: served.input, output })
    this.asks(open)
  }

  private changed(id: DeviceId): void {
    if (this.world.trouble === undefined || this.untold.has(id)) return
    this.untold.add(id)
    this.core.after(gathering, () => {
      this.untold.delete(id)
      this.tell([id], [])
    })
  }

  /** As they are now; it arrives whenever it does, as often as it does. */
  private tell(ids: ReadonlyArray<DeviceId>, replicas: ReadonlyArray<ReplicaStatus>): void {
    const news = { devices: ids.map((id) => this.devices.status(id)), replicas }
    for (const late of this.world.trouble?.newsMillis() ?? [0]) {
      this.core.after(late, () => this.core.settle(News.observe(this.state, news, this.core.now)))
    }
  }

  private crowd(id: DeviceId): void {
    const next = this.world.trouble?.strangersOn(this.devices.ledger(id).device)
    if (next === undefined) return
    this.core.after(next.after, () => {
      if (!this.isAwaited) return
      this.devices.crowd(id, next.bytes, this.core.now)
      this.crowd(id)
    })
  }

  /** The scheduler ends, strangers leave, every worker ends, and all of it is told. */
  close(): void {
    this.core.settle(Placing.close(this.state, this.core.now))
    while (this.step());
    for (const id of this.devices.ids) this.devices.crowd(id, 0, this.core.now)
    this.replicas.killAll()
    while (this.step());
  }
}

const noBytes = Bytes.make(0)

/** Lets all of it happen. */
export const run = (world: World): Course => {
  const fleet = new VirtualFleet(world)
  const started = fleet.core.now
  while (fleet.step());
  if (!HashMap.isEmpty(fleet.state.slots) || fleet.state.queue.size > 0) {
    throw new Error("a virtual fleet came to rest while somebody waited or held a place")
  }
  const ended = fleet.outcomes.reduce((last, { arrival, pausedMillis, placed, waitedMillis }) => {
    return Math.max(last, arrival.at + waitedMillis + (placed === undefined ? 0 : pausedMillis + arrival.holdMillis))
  }, started)
  const { begun, evicted, failed } = fleet.replicas
  return {
    outcomes: fleet.outcomes,
    events: fleet.events,
    loads: [...begun.values()].reduce((sum, loads) => sum + loads, 0),
    failedLoads: failed,
    evictions: evicted,
    millis: ended - started,
    memory: fleet.devices.shares(fleet.core.now)
  }
}
