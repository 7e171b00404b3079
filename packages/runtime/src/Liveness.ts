/**
 * Whether a silent worker is frozen or only slow. Pure: it counts looks at the process, not time, so that a server that was
 * itself held up (a laptop's sleep, a loaded machine) blames nobody for what it has slept through.
 *
 * | a worker that does not answer and | is given up after | because |
 * |---|---|---|
 * | is stopped by a signal | `freezeMillis` | nobody but its stopper can make it go on |
 * | uses no processor time and waits for none, nor for a disk | `freezeMillis` | it hangs |
 * | computes, or wants to | `stepMillis` | a step may be long, and blocks an engine's thread; a machine may be loaded |
 * | where the system does not tell | `stepMillis` | |
 *
 * Assumes that a worker answers between two steps, and that a device that computes without the processor's help does not
 * take `freezeMillis` for a step.
 */
import type { ProcessState } from "./ProcessState.ts"

export interface LivenessLimits {
  readonly freezeMillis: number
  readonly stepMillis: number
}

/** How long a worker was seen as what, one look after the other, in milliseconds. */
export interface Liveness {
  readonly stopped: number
  /** Without an answer. */
  readonly silent: number
  /** Without an answer or any sign of work. */
  readonly idle: number
  readonly cpuTicks: number
}

export const initial: Liveness = { stopped: 0, silent: 0, idle: 0, cpuTicks: 0 }

/** How a worker that is given up has ended, and whether by its own doing. */
export interface Verdict {
  readonly reason: string
  readonly crashed: boolean
  /** The system has killed it for want of memory. */
  readonly outOfMemory?: boolean
}

/** A look at the process, `interval` milliseconds after the one before. `answered`: it has answered since, or owes no answer. */
export const look = (
  before: Liveness,
  state: ProcessState | undefined,
  answered: boolean,
  interval: number
): Liveness => {
  const stopped = state?.stopped === true ? before.stopped + interval : 0
  const cpuTicks = state?.cpuTicks ?? before.cpuTicks
  if (answered) return { stopped, silent: 0, idle: 0, cpuTicks }
  const asleep = state !== undefined && !state.busy && cpuTicks === before.cpuTicks
  return { stopped, silent: before.silent + interval, idle: asleep ? before.idle + interval : 0, cpuTicks }
}

/** Null: it lives. */
export const judge = ({ idle, silent, stopped }: Liveness, limits: LivenessLimits): Verdict | null => {
  const seconds = (millis: number) => `${Math.round(millis / 100) / 10} s`
  if (stopped >= limits.freezeMillis) {
    return { reason: `it was stopped by a signal for ${seconds(stopped)}`, crashed: false }
  }
  if (idle >= limits.freezeMillis) return { reason: `it hangs: no answer for ${seconds(silent)}`, crashed: true }
  if (silent >= limits.stepMillis) return { reason: `no answer for ${seconds(silent)}`, crashed: true }
  return null
}
