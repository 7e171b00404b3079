/**
 * The scheduler's pure core in a fleet and a time that are not there: arrivals in, decisions out, as fast as they can be computed and the
 * same every time. For trying a fleet out before it is bought, for replaying what was recorded, and for measuring policies.
 *
 * What is idealised: messages take no time, slots are always to be had, nothing dies unless `loadOf` says so, and models stay as they are.
 */
import type { Caller, Served } from "@helixflow/schema/Caller"
import type { Device } from "@helixflow/schema/Device"
import { LoadFailed } from "@helixflow/schema/Errors"
import type { DeviceId, ModelId, ReplicaId, RequestId, ReservationId } from "@helixflow/schema/Ids"
import { type ModelSpec, ReplicaStatus } from "@helixflow/schema/Model"
import { Placement, type SchedulerEvent } from "@helixflow/schema/Scheduling"
import { HashMap } from "effect"
import * as Advance from "./Advance.ts"
import { Agenda } from "./Agenda.ts"
import * as FleetView from "./FleetView.ts"
import * as Ledger from "./Ledger.ts"
import * as Loading from "./Loading.ts"
import * as News from "./News.ts"
import * as Placing from "./Placing.ts"
import type { SchedulerOptions } from "./SchedulerOptions.ts"
import * as State from "./SchedulerState.ts"
import * as Slots from "./Slots.ts"

/** A request to come. All times are milliseconds; `at` on the clock of the run, the others from then on. */
export interface Arrival {
  readonly at: number
  /** Of several events at one instant, those with the lower number are first: its coming, and the end of its place. */
  readonly order: number
  readonly endOrder?: number
  readonly request: RequestId
  readonly model: ModelId
  readonly caller: Caller
  readonly not: ReadonlyArray<ReplicaId>
  readonly affinity?: string | undefined
  readonly timeoutMillis: number
  /** How long it keeps its place once it has one. */
  readonly holdMillis: number
  readonly served: Served | undefined
  /** When its client leaves if it still waits; `Infinity`: never. */
  readonly leavesAfter: number
}

/** What becomes of a load, once there is room for it. */
export interface LoadCourse {
  readonly millis: number
  /** Why it fails, if it does. */
  readonly failure: string | null
  /** As that of an arrival. */
  readonly order?: number
}

export interface World {
  readonly devices: ReadonlyArray<Device>
  readonly models: ReadonlyArray<ModelSpec>
  readonly options: SchedulerOptions
  readonly arrivals: ReadonlyArray<Arrival>
  /** The course of the `nth` load of a model, counted from 0. */
  readonly loadOf: (model: ModelId, nth: number) => LoadCourse
  /** What a client asks for next, once a request of its has ended. */
  readonly next?: (outcome: Outcome, now: number) => Arrival | undefined
}

/** What became of a request. */
export interface Outcome {
  readonly arrival: Arrival
  readonly end: "completed" | "refused" | "left"
  readonly placed: Placement | undefined
  /** Until it had a place, was refused, or its client left. */
  readonly waitedMillis: number
  /** The tag of the error it was refused with. */
  readonly refusal: State.Refusal["_tag"] | undefined
  /** When it was told to come again, if it was. */
  readonly retryAfterSeconds: number | undefined
}

export interface Course {
  /** In the order in which the requests ended. */
  readonly outcomes: ReadonlyArray<Outcome>
  readonly events: ReadonlyArray<SchedulerEvent>
  readonly loads: number
  readonly failedLoads: number
  readonly evictions: number
  /** From the first arrival to the last end. */
  readonly millis: number
  /** The greatest share of each device's memory that was ever claimed, and the mean over time. */
  readonly memory: ReadonlyMap<DeviceId, { readonly peak: number; readonly mean: number }>
}

type Happening =
  | { readonly _tag: "Arrives"; readonly arrival: Arrival }
  | { readonly _tag: "Leaves"; readonly ticket: number }
  | { readonly _tag: "Completes"; readonly claim: ReservationId; readonly ticket: number }
  | { readonly _tag: "LoadEnds"; readonly plan: State.LoadPlan; readonly failure: string | null }
  | { readonly _tag: "DrainTimeout"; readonly plan: State.LoadPlan }
  | { readonly _tag: "Wakes" }

/** After everything of the same instant that was recorded or asked for. */
const lastOrder = Number.MAX_SAFE_INTEGER

class Run {
  private readonly agenda = new Agenda<Happening>()
  private readonly events: Array<SchedulerEvent> = []
  private readonly outcomes: Array<Outcome> = []
  private readonly ledgers = new Map<DeviceId, Ledger.Ledger>()
  private readonly memory = new Map<DeviceId, { peak: number; area: number; since: number }>()
  /** Who waits or runs, by ticket. */
  private readonly open = new Map<number, Arrival>()
  private readonly placements = new Map<number, Placement>()
  /** Loads that wait for those who make room. */
  private readonly makingRoom = new Set<State.LoadPlan>()
  private readonly loadsOf = new Map<ModelId, number>()
  private state: State.SchedulerState
  private now: number
  private wakesAt = Number.POSITIVE_INFINITY
  private pids = 0
  private failedLoads = 0
  /** Requests that are still to come. */
  private coming = 0
  /** Replaced, but somebody uses them: places are not handed over here, they are held to their end. */
  private readonly retiring = new Set<ReplicaId>()
  private readonly ended = new Set<State.LoadPlan>()
  private evictions = 0

  constructor(private readonly world: World) {
    this.now = world.arrivals.reduce((first, { at }) => Math.min(first, at), Number.POSITIVE_INFINITY)
    if (!Number.isFinite(this.now)) this.now = 0
    const empty = State.withModels(State.empty(world.options, this.now), world.models)
    const ledgers = world.devices.map((device) => Ledger.empty(device))
    for (const ledger of ledgers) this.ledgers.set(ledger.device.id, ledger)
    for (const { id } of world.devices) this.memory.set(id, { peak: 0, area: 0, since: this.now })
    this.state = News.observe(
      empty,
      { devices: ledgers.map((ledger) => Ledger.status(ledger)), replicas: [] },
      this.now
    ).state
    for (const arrival of world.arrivals) this.expect(arrival)
  }

  course(): Course {
    const started = this.now
    for (let next = this.agenda.next(); next !== undefined; next = this.agenda.next()) {
      this.now = next.at
      this.happen(next.happening)
    }
    const ended = this.outcomes.reduce((last, { arrival, waitedMillis, placed }) => {
      return Math.max(last, arrival.at + waitedMillis + (placed === undefined ? 0 : arrival.holdMillis))
    }, started)
    const millis = ended - started
    return {
      outcomes: this.outcomes,
      events: this.events,
      loads: [...this.loadsOf.values()].reduce((sum, loads) => sum + loads, 0),
      failedLoads: this.failedLoads,
      evictions: this.evictions,
      millis,
      memory: new Map(
        [...this.ledgers].map(([id, ledger]) => {
          this.account(id, ledger)
          const { area, peak } = this.memory.get(id) ?? { area: 0, peak: 0 }
          return [id, { peak, mean: millis === 0 ? 0 : area / Math.max(1, this.now - started) }]
        })
      )
    }
  }

  private happen(happening: Happening): void {
    switch (happening._tag) {
      case "Arrives":
        this.arrives(happening.arrival)
        return
      case "Leaves": {
        const arrival = this.open.get(happening.ticket)
        if (arrival === undefined || this.placements.has(happening.ticket)) return
        this.end(happening.ticket, { end: "left", refusal: undefined, retryAfterSeconds: undefined })
        const { commands, state } = Placing.withdraw(this.state, arrival, happening.ticket, this.now)
        this.settle({ state, commands })
        return
      }
      case "Completes":
        this.giveBack(happening.claim, happening.ticket)
        return
      case "LoadEnds":
        this.loadEnds(happening.plan, happening.failure)
        return
      case "DrainTimeout": {
        if (!this.makingRoom.delete(happening.plan)) return
        this.abandon(happening.plan, "those who should make room did not finish in time", null)
        return
      }
      case "Wakes":
        if (this.now < this.wakesAt) return
        this.wakesAt = Number.POSITIVE_INFINITY
        this.settle({ state: this.state, commands: [] })
        return
    }
  }

  private expect(arrival: Arrival): void {
    this.coming += 1
    this.agenda.add({ at: arrival.at, order: arrival.order, happening: { _tag: "Arrives", arrival } })
  }

  private record(event: SchedulerEvent): void {
    this.events.push(event)
  }

  private arrives(arrival: Arrival): void {
    this.coming -= 1
    const { affinity = null, at, caller, model, not, request, timeoutMillis } = arrival
    const asked = { request, model, caller, not, affinity, since: at, deadline: at + timeoutMillis }
    const ticket = this.state.nextTicket
    this.open.set(ticket, arrival)
    const { answer, commands, state } = Placing.arrive(this.state, asked, this.now)
    this.state = state
    for (const command of commands) this.perform(command)
    if (answer._tag !== "Queued") {
      this.perform(answer)
      this.wakeInTime()
      return
    }
    if (Number.isFinite(arrival.leavesAfter)) {
      const leaves: Happening = { _tag: "Leaves", ticket }
      this.agenda.add({ at: at + arrival.leavesAfter, order: lastOrder, happening: leaves })
    }
    this.settle({ state, commands: [] })
  }

  private settle(step: State.Step): void {
    const advanced = Advance.advance(step.state, this.now)
    this.state = advanced.state
    for (const command of step.commands) this.perform(command)
    for (const command of advanced.commands) this.perform(command)
    this.wakeInTime()
  }

  private wakeInTime(): void {
    // with nobody left, what may be asked for is of no use
    if (this.state.wakeAt >= this.wakesAt || (this.coming === 0 && this.open.size === 0)) return
    this.wakesAt = Math.max(this.now + 1, Math.ceil(this.state.wakeAt))
    this.agenda.add({ at: this.wakesAt, order: lastOrder, happening: { _tag: "Wakes" } })
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
        this.load(command.plan)
        return
      case "Retire":
        this.state = Loading.draining(this.state, command.replica, true) ?? this.state
        this.retiring.add(command.replica)
        this.retire()
        return
      case "GiveUp":
        this.giveUp(command.plan)
        return
      case "Stop":
        this.evict(command.replica)
        return
      case "GiveBack":
      case "PhaseOut":
        return
      case "Emit":
        this.record(command.event)
        return
    }
  }

  private end(ticket: number, how: Pick<Outcome, "end" | "refusal" | "retryAfterSeconds">): void {
    const arrival = this.open.get(ticket)
    if (arrival === undefined) return
    this.open.delete(ticket)
    const placed = this.placements.get(ticket)
    this.placements.delete(ticket)
    const waitedMillis = placed?.queuedMillis ?? this.now - arrival.at
    const outcome = { arrival, placed, waitedMillis, ...how }
    this.outcomes.push(outcome)
    const next = this.world.next?.(outcome, this.now)
    if (next !== undefined) this.expect(next)
  }

  private grant({ cold, slot, ticket }: State.Grant): void {
    const arrival = this.open.get(ticket)
    const bound = Slots.bound(this.state, slot.claim)
    if (arrival === undefined || bound === undefined) return
    this.state = bound
    const { device, model, replica, request } = slot
    const queuedMillis = Math.max(0, slot.since - arrival.at)
    const reservation = State.reservationOf(request)
    const placement = new Placement(
      { request, model, replica, device, reservation, cold, queuedMillis },
      { disableValidation: true }
    )
    this.placements.set(ticket, placement)
    this.record({ _tag: "Placed", at: State.millis(this.now), placement })
    this.agenda.add({
      at: this.now + arrival.holdMillis,
      order: arrival.endOrder ?? lastOrder - 1,
      happening: { _tag: "Completes", claim: slot.claim, ticket }
    })
  }

  private giveBack(claim: ReservationId, ticket: number): void {
    const ending = Slots.releasing(this.state, claim)
    if (ending === undefined) return
    const served = this.open.get(ticket)?.served
    this.end(ticket, { end: "completed", refusal: undefined, retryAfterSeconds: undefined })
    this.settle(Slots.freed(ending.state, ending.slot, served, this.now))
    for (const plan of [...this.makingRoom]) this.makeRoom(plan)
    this.retire()
  }

  /** Bytes claimed of the device, over time. */
  private account(id: DeviceId, next: Ledger.Ledger): void {
    const before = this.ledgers.get(id)
    const sums = this.memory.get(id)
    if (before === undefined || sums === undefined) return
    const share = ({ device, free }: Ledger.Ledger) => (device.total - free) / device.total
    sums.area += share(before) * (this.now - sums.since)
    sums.since = this.now
    sums.peak = Math.max(sums.peak, share(next))
    this.ledgers.set(id, next)
  }

  private load(plan: State.LoadPlan): void {
    this.makingRoom.add(plan)
    if (plan.evict.length > 0) {
      const timeout: Happening = { _tag: "DrainTimeout", plan }
      this.agenda.add({ at: this.now + this.world.options.drainTimeout, order: lastOrder, happening: timeout })
    }
    this.makeRoom(plan)
  }

  private stop(id: ReplicaId): void {
    const entry = FleetView.replica(this.state.view, id)
    const ledger = entry && this.ledgers.get(entry.status.device)
    if (entry === undefined || ledger === undefined) return
    this.account(entry.status.device, Ledger.release(ledger, entry.status.reservation))
    this.settle(Loading.stopped(this.state, id, this.now))
  }

  private evict(id: ReplicaId): void {
    this.evictions += 1
    this.stop(id)
  }

  /** Goes on with a load as soon as nobody uses those who leave for it. */
  private makeRoom(plan: State.LoadPlan): void {
    const busy = plan.evict.some((id) => (FleetView.replica(this.state.view, id)?.taken ?? 0) > 0)
    if (busy || !this.makingRoom.delete(plan)) return
    for (const id of plan.evict) this.evict(id)
    const { device, replica, reservation, spec } = plan
    const ledger = this.ledgers.get(device)
    if (ledger === undefined) return
    const reserved = Ledger.reserve(
      ledger,
      {
        reservation,
        owner: replica,
        bytes: spec.claim,
        shareable: spec.kvBytes,
        within: null,
        ttlMillis: this.world.options.reservationTtl
      },
      this.now
    )
    if (reserved._tag !== "Ok") {
      this.abandon(plan, reserved.message, reserved._tag === "OutOfMemory" ? reserved.free : null)
      return
    }
    const committed = Ledger.commit(reserved.ledger, { reservation, state: "resident", ttlMillis: null }, this.now)
    if (committed._tag !== "Ok") {
      this.abandon(plan, committed.message, null)
      return
    }
    this.account(device, committed.ledger)
    this.state = Loading.memoryReserved(this.state, plan, reserved.ledger.free)
    const nth = this.loadsOf.get(spec.id) ?? 0
    this.loadsOf.set(spec.id, nth + 1)
    const { failure, millis, order = lastOrder - 2 } = this.world.loadOf(spec.id, nth)
    this.agenda.add({
      at: this.now + millis,
      order,
      happening: { _tag: "LoadEnds", plan, failure }
    })
  }

  /** Stops those that have been replaced and that nobody uses any more. */
  private retire(): void {
    for (const id of [...this.retiring]) {
      const entry = FleetView.replica(this.state.view, id)
      if (entry !== undefined && entry.taken > 0) continue
      this.retiring.delete(id)
      if (entry !== undefined) this.stop(id)
    }
  }

  private giveUp(plan: State.LoadPlan): void {
    this.makingRoom.delete(plan)
    this.ended.add(plan)
    const ledger = this.ledgers.get(plan.device)
    if (ledger !== undefined) this.account(plan.device, Ledger.release(ledger, plan.reservation))
    this.abandon(plan, "it gave way to a request", null)
  }

  private abandon(plan: State.LoadPlan, reason: string, free: number | null): void {
    this.settle(Loading.loadAbandoned(this.state, plan, reason, free, this.now))
  }

  /** A load ends that was not given up. */
  private loadEnds(plan: State.LoadPlan, failure: string | null): void {
    if (this.ended.delete(plan)) return
    const { device, replica, reservation, spec } = plan
    if (failure !== null) {
      this.failedLoads += 1
      const ledger = this.ledgers.get(device)
      if (ledger !== undefined) this.account(device, Ledger.release(ledger, reservation))
      const error = new LoadFailed({ model: spec.id, reason: failure, file: null })
      const failed = Loading.loadFailed(this.state, plan, error, this.now)
      const refused = Placing.failExhausted(failed.state, spec, this.now)
      this.settle({ state: refused.state, commands: [...failed.commands, ...refused.commands] })
      return
    }
    this.pids += 1
    const status = new ReplicaStatus(
      {
        replica,
        device,
        model: spec.id,
        reservation,
        state: "ready",
        active: 0,
        slots: spec.slots,
        revision: spec.revision,
        pid: this.pids,
        rss: null,
        since: State.millis(this.now),
        lastFailure: null
      },
      { disableValidation: true }
    )
    this.settle(Loading.loaded(this.state, plan, status, this.now))
  }

  /** Nothing is held and nobody waits. */
  get idle(): boolean {
    return HashMap.isEmpty(this.state.slots) && this.state.queue.size === 0
  }
}

/** Lets all of it happen. */
export const run = (world: World): Course => {
  const run = new Run(world)
  const course = run.course()
  if (!run.idle) throw new Error("a virtual fleet came to rest while somebody waited or held a place")
  return course
}
