/**
 * The devices of a virtual fleet as they really are: what their ledgers say, which processes have their memory, and what strangers took of
 * it. A device is read before memory is claimed of it and whenever strangers change what they have, as the runtime reads it.
 */
import type { Device, DeviceStatus } from "@helixflow/schema/Device"
import type { DeviceId, ReplicaId, ReservationId } from "@helixflow/schema/Ids"
import * as Ledger from "./Ledger.ts"

interface Process {
  readonly reservation: ReservationId
  readonly bytes: number
}

interface VirtualDevice {
  ledger: Ledger.Ledger
  /** By the replica that they are of. */
  readonly processes: Map<ReplicaId, Process>
  /** Bytes that others have. */
  strangers: number
  /** The greatest share that was ever claimed; the share times milliseconds, up to then. */
  peak: number
  area: number
  since: number
}

export class VirtualDevices {
  private readonly devices: ReadonlyMap<DeviceId, VirtualDevice>

  constructor(
    devices: ReadonlyArray<Device>,
    private readonly started: number,
    /** A device has something to tell. */
    private readonly changed: (device: DeviceId) => void
  ) {
    this.devices = new Map(
      devices.map((device) => [
        device.id,
        { ledger: Ledger.empty(device), processes: new Map(), strangers: 0, peak: 0, area: 0, since: started }
      ])
    )
  }

  get ids(): ReadonlyArray<DeviceId> {
    return [...this.devices.keys()]
  }

  private of(id: DeviceId): VirtualDevice {
    const device = this.devices.get(id)
    if (device === undefined) throw new Error(`no device ${id}`)
    return device
  }

  ledger(id: DeviceId): Ledger.Ledger {
    return this.of(id).ledger
  }

  /** Who has memory of the device by way of a process, and how much. */
  processes(id: DeviceId): ReadonlyMap<ReplicaId, Process> {
    return this.of(id).processes
  }

  status(id: DeviceId): DeviceStatus {
    return Ledger.status(this.of(id).ledger)
  }

  private write(id: DeviceId, ledger: Ledger.Ledger, now: number): void {
    const device = this.of(id)
    const share = ({ charged, device: { total } }: Ledger.Ledger) => charged / total
    device.area += share(device.ledger) * (now - device.since)
    device.since = now
    device.peak = Math.max(device.peak, share(ledger))
    device.ledger = ledger
    this.changed(id)
  }

  /** Without strangers a device's own word is what its ledger says. */
  private read(id: DeviceId, now: number): void {
    const { ledger, processes, strangers } = this.of(id)
    const taken = [...processes.values()].reduce((sum, { bytes }) => sum + bytes, 0)
    const free = Math.max(0, ledger.device.total - strangers - taken)
    const observed = new Map(Array.from(processes.values(), ({ bytes, reservation }) => [reservation, bytes]))
    this.write(id, Ledger.observe(ledger, { free, observed }), now)
  }

  /** Bytes that a claim has claimed; 0 when it is gone. */
  claimed(id: DeviceId, reservation: ReservationId): number {
    return Ledger.claim(this.of(id).ledger, reservation)?.bytes ?? 0
  }

  reserve(id: DeviceId, claim: Ledger.ClaimRequest, now: number): Ledger.Reserved {
    if (claim.within === null && this.isShared(id)) this.read(id, now)
    const reserved = Ledger.reserve(this.of(id).ledger, claim, now)
    if (reserved._tag === "Ok") this.write(id, reserved.ledger, now)
    return reserved
  }

  /** Whether it was ever not ours alone: what nobody else touches need not be read. */
  private isShared(id: DeviceId): boolean {
    return this.of(id).ledger.reported < Number.POSITIVE_INFINITY
  }

  commit(id: DeviceId, step: Parameters<typeof Ledger.commit>[1], now: number): Ledger.Committed {
    const committed = Ledger.commit(this.of(id).ledger, step, now)
    if (committed._tag === "Ok") this.write(id, committed.ledger, now)
    return committed
  }

  release(id: DeviceId, reservation: ReservationId, now: number): void {
    this.write(id, Ledger.release(this.of(id).ledger, reservation), now)
    if (this.isShared(id)) this.read(id, now)
  }

  /** A process takes its memory. */
  start(id: DeviceId, replica: ReplicaId, reservation: ReservationId, bytes: number): void {
    this.of(id).processes.set(replica, { reservation, bytes })
  }

  /** The process is gone, and its memory free. */
  end(id: DeviceId, replica: ReplicaId): void {
    this.of(id).processes.delete(replica)
  }

  /** Strangers have so many bytes of the device from now on, of what nobody has. */
  crowd(id: DeviceId, bytes: number, now: number): void {
    const device = this.of(id)
    const taken = [...device.processes.values()].reduce((sum, process) => sum + process.bytes, 0)
    device.strangers = Math.max(0, Math.min(bytes, device.ledger.device.total - taken))
    this.read(id, now)
  }

  /** What was claimed of each device: the greatest share, and the mean over time. */
  shares(now: number): ReadonlyMap<DeviceId, { readonly peak: number; readonly mean: number }> {
    return new Map(
      [...this.devices].map(([id, device]) => {
        this.write(id, device.ledger, now)
        return [id, { peak: device.peak, mean: device.area / Math.max(1, now - this.started) }]
      })
    )
  }
}
