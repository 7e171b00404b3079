/** The behaviour of a device: the pure ledger of `@helixflow/scheduler` behind the messages of `@helixflow/schema/GpuActor`. */

import * as Ledger from "@helixflow/scheduler/Ledger"
import { type Device, DeviceReading } from "@helixflow/schema/Device"
import { ReservationNotFound } from "@helixflow/schema/Errors"
import { GpuActor } from "@helixflow/schema/GpuActor"
import { Bytes, Millis, type ReservationId } from "@helixflow/schema/Ids"
import { Clock, type Duration, Effect, Schedule, Stream } from "effect"
import { type DeviceMeter, type Measurement, unread } from "./DeviceMeter.ts"
import * as Latest from "./Latest.ts"
import { deviceGauges } from "./Telemetry.ts"

export interface GpuOptions {
  readonly meter: DeviceMeter
  /** How often the device is read. It is read besides whenever memory is claimed of it or given back. */
  readonly period: Duration.DurationInput
  /** Is told the most that the process of a resident claim has had; `fresh` the first time, when it has just been loaded. */
  readonly onPeak?: (owner: string, peak: number, fresh: boolean) => Effect.Effect<void>
}

/** How often claims that nobody asks about are looked at. A due claim never counts in an answer, whatever this is. */
const sweepInterval = "1 second"

interface Occupant {
  readonly pid: number
  readonly devices: number
}

/**
 * What of a device's used memory is whose, where it can't tell processes apart: all beyond what was used before anything of ours ran
 * (`before`) is shared out over our claims, none of which is given more than it claimed.
 */
export const attribute = (
  claims: ReadonlyArray<{ readonly reservation: ReservationId; readonly bytes: number }>,
  used: number,
  before: number
): ReadonlyMap<ReservationId, number> => {
  const claimed = claims.reduce((sum, { bytes }) => sum + bytes, 0)
  const share = claimed === 0 ? 0 : Math.min(1, Math.max(0, used - before) / claimed)
  return new Map(claims.map(({ reservation, bytes }) => [reservation, Math.floor(bytes * share)]))
}

export const make = Effect.fnUntraced(function* (
  device: Device,
  { meter, onPeak, period }: GpuOptions = { meter: unread, period: sweepInterval }
) {
  // versions go on from those of an earlier life, so that news of it is known to be old
  const state = yield* Latest.make(Ledger.empty(device, yield* Clock.currentTimeMillis))
  const gauges = deviceGauges(device)
  /** The processes that fill the claims, and over how many devices each is spread. */
  const occupants = new Map<ReservationId, Occupant>()
  /** Processes whose claims are resident, and the most that they were seen to have. */
  const peaks = new Map<number, number>()
  let reading: DeviceReading | null = null
  let usedBefore: number | null = null
  let failure: string | null = null

  const advance = (ledger: Ledger.Ledger) => {
    if (ledger !== state.get()) {
      state.set(ledger)
      meter.promised(ledger.pending)
      gauges.ledger(ledger)
    }
    return { free: ledger.free }
  }

  /** GPUs say what a process has of each; the memory of CPU devices is one, and nothing says which part of it is whose. */
  const shareOf = ({ devices }: Occupant, taken: number): number =>
    device.kind === "cpu" ? Math.ceil(taken / devices) : taken

  const observed = ({ processes, used }: Measurement): ReadonlyMap<ReservationId, number> => {
    const ledger = state.get()
    // the first look is before anything of ours can run
    usedBefore ??= used
    if (processes !== null) {
      return new Map(
        [...occupants].map(([reservation, occupant]) => [
          reservation,
          shareOf(occupant, processes.get(occupant.pid) ?? 0)
        ])
      )
    }
    const claims = [...occupants.keys()].flatMap((reservation) => Ledger.claim(ledger, reservation) ?? [])
    return attribute(claims, used, usedBefore)
  }

  const pids = () => Array.from(occupants.values(), ({ pid }) => pid)

  const tellPeaks = Effect.fnUntraced(function* (measured: Measurement) {
    if (onPeak === undefined) return
    for (const [reservation, { pid }] of occupants) {
      const claim = Ledger.claim(state.get(), reservation)
      const peak = measured.peaks?.get(pid) ?? measured.processes?.get(pid)
      if (claim?.state !== "resident" || peak === undefined || peak === 0) continue
      const known = peaks.get(pid)
      if (known !== undefined && known >= peak) continue
      peaks.set(pid, peak)
      yield* onPeak(claim.owner, peak, known === undefined)
    }
    const living = new Set(pids())
    for (const pid of peaks.keys()) if (!living.has(pid)) peaks.delete(pid)
  })

  /** Reads the device. What it can't say now is believed to be as it was. */
  const look = Effect.gen(function* () {
    const measured = yield* meter.read(pids())
    const at = Millis.make(yield* Clock.currentTimeMillis)
    const free = Bytes.make(measured.figures.free, { disableValidation: true })
    reading = new DeviceReading({ ...measured.figures, at, free }, { disableValidation: true })
    gauges.reading(reading)
    if (failure !== null) yield* Effect.logInfo(`${device.id} can be read again`)
    failure = null
    advance(Ledger.observe(state.get(), { free, observed: observed(measured) }))
    yield* tellPeaks(measured)
  }).pipe(
    Effect.catchTag("MeterFailed", ({ reason }) => {
      const known = failure === reason
      failure = reason
      return known ? Effect.void : Effect.logWarning(`${device.id} can't be read: ${reason}`)
    })
  )
  const isRead = meter !== unread
  const lookAgain = isRead ? look : Effect.void

  if (isRead) {
    yield* look
    yield* look.pipe(Effect.delay(period), Effect.forever, Effect.forkScoped)
  }
  yield* Effect.addFinalizer(() => Effect.sync(() => meter.promised(0)))

  yield* Clock.currentTimeMillis.pipe(
    Effect.map((now) => advance(Ledger.expire(state.get(), now))),
    Effect.repeat(Schedule.spaced(sweepInterval)),
    Effect.forkScoped
  )

  return GpuActor.of({
    Reserve: Effect.fn("GpuActor.Reserve")(function* (claim) {
      // only what is claimed of the device itself depends on what strangers take
      if (claim.within === null) yield* lookAgain
      const result = Ledger.reserve(state.get(), claim, yield* Clock.currentTimeMillis)
      return result._tag === "Ok" ? advance(result.ledger) : yield* result
    }),
    Commit: Effect.fn("GpuActor.Commit")(function* (step) {
      const result = Ledger.commit(state.get(), step, yield* Clock.currentTimeMillis)
      if (result._tag !== "Ok") return yield* result
      advance(result.ledger)
      // before requests take of it
      if (step.state === "resident" && occupants.has(step.reservation)) yield* lookAgain
    }),
    Occupy: Effect.fn("GpuActor.Occupy")(function* ({ devices, pid, reservation }) {
      if (Ledger.claim(state.get(), reservation) === undefined) return yield* new ReservationNotFound({ reservation })
      occupants.set(reservation, { pid, devices })
      yield* lookAgain
    }),
    Release: Effect.fn("GpuActor.Release")(function* ({ reservation }) {
      const now = yield* Clock.currentTimeMillis
      const before = Ledger.claim(state.get(), reservation)
      occupants.delete(reservation)
      advance(Ledger.release(Ledger.expire(state.get(), now), reservation))
      // its process is gone: until the device is read, it would still count as a stranger's
      if (before !== undefined && before.within === null) yield* lookAgain
      return { free: state.get().free }
    }),
    Status: Effect.fn("GpuActor.Status")(function* () {
      advance(Ledger.expire(state.get(), yield* Clock.currentTimeMillis))
      return Ledger.status(state.get(), reading)
    }),
    Watch: () => Stream.map(state.changes, (ledger) => Ledger.status(ledger, reading))
  })
})
