/** The replicas of a virtual fleet: the loads that make them, their workers, which die and come back, and their ends. */
import { LoadFailed } from "@helixflow/schema/Errors"
import type { ModelId, ReplicaId } from "@helixflow/schema/Ids"
import { partsOf, type ReplicaState, ReplicaStatus } from "@helixflow/schema/Model"
import * as FleetView from "./FleetView.ts"
import * as Loading from "./Loading.ts"
import * as Placing from "./Placing.ts"
import { type LoadPlan, millis, type Step } from "./SchedulerState.ts"
import { lastOrder, type VirtualCore } from "./VirtualCore.ts"
import type { VirtualDevices } from "./VirtualDevices.ts"
import type { Death, World } from "./World.ts"

/**
 * Where a load is: `waits` for those to finish who make room, `evicts` them, has its memory claimed (`claims`), `starts` its process, and
 * is to be `told` of.
 */
interface Load {
  readonly plan: LoadPlan
  phase: "waits" | "evicts" | "claims" | "starts" | "told"
  /** It is to end as soon as it may. */
  givenUp: boolean
}

type Parts = Parameters<typeof partsOf>[0]

export class VirtualReplicas {
  /** Loads under way. */
  readonly loads = new Map<ReplicaId, Load>()
  /** Replicas that have or had a worker, by their own word. */
  readonly workers = new Map<ReplicaId, ReplicaStatus>()
  /** Those whose processes are told to end. */
  readonly stopping = new Set<ReplicaId>()
  /** Those that end once nobody uses them: places are not handed over here. */
  readonly retiring = new Set<ReplicaId>()
  readonly begun = new Map<ModelId, number>()
  failed = 0
  evicted = 0
  private pids = 0

  constructor(
    private readonly world: World,
    private readonly core: VirtualCore,
    private readonly devices: VirtualDevices,
    private readonly tell: (status: ReplicaStatus) => void
  ) {}

  load(plan: LoadPlan): void {
    const load: Load = { plan, phase: "waits", givenUp: false }
    this.loads.set(plan.replica, load)
    if (plan.evict.length > 0) {
      this.core.at(this.core.now + this.world.options.drainTimeout, lastOrder, () => {
        if (this.isUnderWay(load) && load.phase === "waits") {
          this.abandon(load, "those who should make room did not finish in time", null)
        }
      })
    }
    this.makeRoom(load)
  }

  private isUnderWay(load: Load): boolean {
    return this.loads.get(load.plan.replica) === load
  }

  /** A slot was given back: loads go on whose room is made, and who leaves when nobody uses it leaves. */
  vacated(): void {
    for (const load of [...this.loads.values()]) this.makeRoom(load)
    for (const id of [...this.retiring]) {
      if (this.isBusy(id)) continue
      this.retiring.delete(id)
      this.end(id, () => undefined)
    }
  }

  private isBusy(id: ReplicaId): boolean {
    return (FleetView.replica(this.core.state.view, id)?.taken ?? 0) > 0
  }

  /** Goes on with a load as soon as nobody uses those who leave for it. */
  private makeRoom(load: Load): void {
    if (load.phase !== "waits" || load.plan.evict.some((id) => this.isBusy(id))) return
    load.phase = "evicts"
    let left = load.plan.evict.length
    if (left === 0) this.claim(load)
    for (const id of load.plan.evict) {
      this.evict(id, () => {
        left -= 1
        if (left === 0) this.claim(load)
      })
    }
  }

  evict(id: ReplicaId, then: () => void = () => undefined): void {
    this.evicted += 1
    this.end(id, then)
  }

  /** Ends its process; when that is gone its claim is released. */
  private end(id: ReplicaId, then: () => void): void {
    const entry = FleetView.replica(this.core.state.view, id)
    if (entry === undefined) {
      then()
      return
    }
    this.stopping.add(id)
    const ttlMillis = this.world.options.drainTimeout
    for (const { device, reservation } of partsOf(entry.status)) {
      this.devices.commit(device, { reservation, state: "draining", ttlMillis }, this.core.now)
    }
    this.core.after(this.world.trouble?.stopMillis() ?? 0, () => {
      this.stopping.delete(id)
      this.workers.delete(id)
      this.gone(id, entry.status)
      this.core.settle(Loading.stopped(this.core.state, id, this.core.now))
      then()
    })
  }

  /** Its process is gone, and what was claimed for it is free on all of its devices. */
  private gone(id: ReplicaId, replica: Parts): void {
    for (const { device, reservation } of partsOf(replica)) {
      this.devices.end(device, id)
      this.devices.release(device, reservation, this.core.now)
    }
  }

  private claim(load: Load): void {
    load.phase = "claims"
    this.core.after(this.world.trouble?.messageMillis() ?? 0, () => {
      if (load.givenUp) this.gaveWay(load)
      else if (this.isUnderWay(load)) this.start(load)
    })
  }

  private start(load: Load): void {
    const { kind, replica, spec } = load.plan
    const bytes = spec.claimOn(kind)
    const { loadTimeout, reservationTtl } = this.world.options
    const all = partsOf(load.plan)
    for (const { device, reservation } of all) {
      const request = {
        reservation,
        owner: replica,
        bytes,
        shareable: spec.kvBytesOn(kind),
        within: null,
        ttlMillis: reservationTtl
      }
      const reserved = this.devices.reserve(device, request, this.core.now)
      if (reserved._tag !== "Ok") {
        this.gone(replica, load.plan)
        this.abandon(load, reserved.message, reserved._tag === "OutOfMemory" ? reserved : null)
        return
      }
      this.core.state = Loading.memoryReserved(this.core.state, device, reserved.ledger.free)
    }
    for (const { device, reservation } of all) {
      const step = { reservation, state: "loading" as const, ttlMillis: loadTimeout + reservationTtl }
      this.devices.commit(device, step, this.core.now)
      this.devices.start(device, replica, reservation, bytes)
    }
    load.phase = "starts"
    const nth = this.begun.get(spec.id) ?? 0
    this.begun.set(spec.id, nth + 1)
    const { failure, millis, order = lastOrder - 2 } = this.world.loadOf(spec.id, nth)
    const hangs = millis > loadTimeout
    this.core.at(this.core.now + Math.min(millis, loadTimeout), order, () => {
      if (this.isUnderWay(load)) this.started(load, hangs ? `it was not ready after ${loadTimeout} ms` : failure)
    })
  }

  /** Its process has said how it went. */
  private started(load: Load, failure: string | null): void {
    if (failure !== null) {
      this.fail(load, failure)
      return
    }
    const { device, parts, replica, reservation, spec } = load.plan
    load.phase = "told"
    const status = this.become(
      {
        replica,
        device,
        model: spec.id,
        reservation,
        parts,
        active: 0,
        slots: spec.slots,
        revision: spec.revision,
        rss: null,
        lastFailure: null,
        url: null
      },
      "ready"
    )
    this.core.after(this.world.trouble?.messageMillis() ?? 0, () => {
      if (!this.isUnderWay(load)) return
      const lost = partsOf(load.plan).flatMap(({ device, reservation }) => {
        const step = { reservation, state: "resident" as const, ttlMillis: null }
        const committed = this.devices.commit(device, step, this.core.now)
        return committed._tag === "Ok" ? [] : [committed.message]
      })
      if (lost[0] !== undefined) this.fail(load, lost[0])
      else this.over(load, Loading.loaded(this.core.state, load.plan, status, this.core.now))
    })
  }

  private fail(load: Load, reason: string): void {
    this.failed += 1
    this.kill(load)
    const { spec } = load.plan
    const error = new LoadFailed({ model: spec.id, reason, file: null })
    const failed = Loading.loadFailed(this.core.state, load.plan, error, this.core.now)
    const refused = Placing.failExhausted(failed.state, spec, this.core.now)
    this.over(load, { state: refused.state, commands: [...failed.commands, ...refused.commands] })
  }

  /** Somebody needs its place: at once, or as soon as those are gone who had begun to leave. */
  giveUp(plan: LoadPlan): void {
    const load = this.loads.get(plan.replica)
    if (load === undefined) return
    load.givenUp = true
    if (load.phase !== "evicts" && load.phase !== "claims") this.gaveWay(load)
  }

  private gaveWay(load: Load): void {
    this.kill(load)
    this.abandon(load, "it gave way to a request", null)
  }

  private abandon(load: Load, reason: string, short: Parameters<typeof Loading.loadAbandoned>[3]): void {
    this.over(load, Loading.loadAbandoned(this.core.state, load.plan, reason, short, this.core.now))
  }

  /** What a load had begun is gone. */
  private kill({ plan }: Load): void {
    this.workers.delete(plan.replica)
    this.gone(plan.replica, plan)
  }

  private over(load: Load, step: Step): void {
    this.loads.delete(load.plan.replica)
    this.core.settle(step)
  }

  /** The worker of a replica, which has another process if it is ready. It may die some day. */
  private become(
    status: Omit<ConstructorParameters<typeof ReplicaStatus>[0], "state" | "since" | "pid">,
    state: ReplicaState
  ): ReplicaStatus {
    const since = millis(this.core.now)
    const pid = state === "ready" ? ++this.pids : null
    const worker = new ReplicaStatus({ ...status, state, since, pid }, { disableValidation: true })
    if (state === "absent") this.workers.delete(worker.replica)
    else this.workers.set(worker.replica, worker)
    const death = state === "ready" && this.core.isAwaited() ? this.world.trouble?.deathOf(worker.replica) : undefined
    if (death !== undefined) this.core.after(death.after, () => this.dies(worker, death.backAfter))
    return worker
  }

  private dies(worker: ReplicaStatus, backAfter: number | null): void {
    if (this.workers.get(worker.replica) !== worker) return
    for (const { device } of partsOf(worker)) this.devices.end(device, worker.replica)
    if (backAfter === null) {
      this.gone(worker.replica, worker)
      this.tell(this.become(worker, "absent"))
      return
    }
    const failed = this.become({ ...worker, lastFailure: "killed" }, "failed")
    this.tell(failed)
    if (!Number.isFinite(backAfter)) return
    this.core.after(backAfter, () => {
      if (this.workers.get(worker.replica) !== failed) return
      for (const { device, reservation } of partsOf(worker)) {
        this.devices.start(device, worker.replica, reservation, this.devices.claimed(device, reservation))
      }
      this.tell(this.become(failed, "ready"))
    })
  }

  /** The worker of a replica dies, if there is one. */
  lose(replica: ReplicaId, { backAfter }: Death): void {
    const worker = this.workers.get(replica)
    if (worker !== undefined) this.dies(worker, backAfter)
  }

  /** Its replicas end once nobody uses them, and take no more requests. */
  retire(replica: ReplicaId): void {
    const draining = Loading.draining(this.core.state, replica, true)
    if (draining === undefined) return
    this.core.state = draining
    this.retiring.add(replica)
    this.vacated()
  }

  /** Every worker dies, and none comes back. */
  killAll(): void {
    for (const worker of [...this.workers.values()]) this.dies(worker, null)
  }
}
