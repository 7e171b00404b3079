/** What the system knows of a process that may not answer any more: from `/proc`, where there is one (Linux). */
import * as fs from "node:fs"

export interface ProcessState {
  /** Stopped by a signal (SIGSTOP, SIGTSTP) or a debugger: it does nothing until somebody lets it go on. */
  readonly stopped: boolean
  /** It computes, wants to, or waits for a disk: it will go on by itself. */
  readonly busy: boolean
  /** Processor time that it has used, in ticks of the system's clock (10 ms). */
  readonly cpuTicks: number
  /** When it was started, in ticks since the system's start. With the pid it names a process for good: pids are used again. */
  readonly startTicks: number
}

/** Undefined where the process is not there, is a zombie, or the system does not tell. */
export const read = (pid: number): ProcessState | undefined => {
  try {
    return parse(fs.readFileSync(`/proc/${pid}/stat`, "latin1"))
  } catch {
    return undefined
  }
}

/** A line of `/proc/<pid>/stat`, see proc(5). The second field is the program's name in parentheses and may hold anything. */
export const parse = (stat: string): ProcessState | undefined => {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  const [state = ""] = fields
  const [user, system, startTicks] = [fields[11], fields[12], fields[19]].map(Number)
  if (user === undefined || system === undefined || startTicks === undefined || Number.isNaN(startTicks))
    return undefined
  if (state === "Z" || state === "X") return undefined
  return {
    stopped: state === "T" || state === "t",
    busy: state === "R" || state === "D",
    cpuTicks: user + system,
    startTicks
  }
}

/** How many processes the system has killed since its start for want of memory; 0 where it does not tell. */
export const memoryKills = (): number => {
  try {
    const line = /^oom_kill (\d+)$/m.exec(fs.readFileSync("/proc/vmstat", "latin1"))
    return Number(line?.[1] ?? 0)
  } catch {
    return 0
  }
}
