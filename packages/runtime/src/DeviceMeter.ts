/** How a device is read: what is free by its own word, what our processes take of it, how it is. One implementation per source. */
import * as os from "node:os"
import type { DeviceReading } from "@helixflow/schema/Device"
import { Data, Effect } from "effect"
import * as Machine from "./Machine.ts"

/** The device could not be read this time. */
export class MeterFailed extends Data.TaggedError("MeterFailed")<{ readonly reason: string }> {
  override get message() {
    return this.reason
  }
}

/** A reading without its time, which its reader adds. */
export type Figures = Omit<typeof DeviceReading.Encoded, "at">

export interface Measurement {
  readonly figures: Figures
  /** Bytes that processes have of the whole device, ours and strangers'. */
  readonly used: number
  /** Bytes that each process takes; null where the device can't tell one process from another. */
  readonly processes: ReadonlyMap<number, number> | null
  /** The most that each process has had, where that is known better than from what it has at each reading. */
  readonly peaks?: ReadonlyMap<number, number>
}

export interface DeviceMeter {
  /** Reads the device now; `pids` are the processes that are asked about, each with the group that it leads. */
  readonly read: (pids: ReadonlyArray<number>) => Effect.Effect<Measurement, MeterFailed>
  /** What of the device's claims no process has taken yet: others that share its memory leave it alone. */
  readonly promised: (bytes: number) => void
}

/** What each of these processes takes with the group that it leads, from what single ones take; those of which none takes anything are left out. */
export const ofGroups = (
  pids: ReadonlyArray<number>,
  processes: ReadonlyMap<number, number>
): ReadonlyMap<number, number> =>
  new Map(
    [...Machine.processGroups(pids)].flatMap(([pid, group]) => {
      const taken = group.flatMap((member) => processes.get(member) ?? [])
      return taken.length === 0 ? [] : [[pid, taken.reduce((sum, bytes) => sum + bytes, 0)] as const]
    })
  )

/** For devices that nothing tells anything of: the ledger counts alone. */
export const unread: DeviceMeter = {
  read: () => new MeterFailed({ reason: "it has no meter" }),
  promised: () => {}
}

/** Processor time since the machine started. */
const times = () => {
  let busy = 0
  let all = 0
  for (const { times } of os.cpus()) {
    const sum = times.user + times.nice + times.sys + times.idle + times.irq
    all += sum
    busy += sum - times.idle
  }
  return { busy, all }
}

/** The meters of the machine's CPU devices. They share its memory: what is promised on one is not free on another. */
export const forCpus = (names: ReadonlyArray<string>, root = "/"): ReadonlyMap<string, DeviceMeter> => {
  const promises = new Map<string, number>()
  let last = times()
  let utilization: number | null = null
  const lately = () => {
    const now = times()
    // two readings within a tick of the kernel's clock say nothing
    if (now.all - last.all >= 100) {
      utilization = (now.busy - last.busy) / (now.all - last.all)
      last = now
    }
    return utilization
  }
  const meter = (name: string): DeviceMeter => ({
    read: (pids) =>
      Effect.sync(() => {
        const { available, total } = Machine.memory(root)
        let free = available
        for (const [other, bytes] of promises) if (other !== name) free -= bytes
        const processes = new Map<number, number>()
        const peaks = new Map<number, number>()
        for (const [pid, group] of Machine.processGroups(pids, root)) {
          const taken = Machine.groupMemory(group, root)
          if (taken === null) continue
          processes.set(pid, taken.owned)
          peaks.set(pid, taken.peak)
        }
        const figures = {
          free: Math.max(0, free),
          utilization: lately(),
          temperature: null,
          power: null,
          eccErrors: null
        }
        return { figures, used: total - available, processes, peaks }
      }),
    promised: (bytes) => void promises.set(name, bytes)
  })
  return new Map(names.map((name) => [name, meter(name)]))
}
