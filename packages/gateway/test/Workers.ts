/** The processes that a server has started. */
import { execFileSync } from "node:child_process"
import * as ProcessState from "@helixflow/runtime/ProcessState"

export const workersOf = (server: number): ReadonlyArray<number> =>
  execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" })
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([child, parent]) => (child !== undefined && parent === server ? [child] : []))

/** A process that has ended and that the system's first process has not yet taken note of is dead, too. */
export const isAlive = (pid: number) => ProcessState.read(pid) !== undefined

/** How many there were. */
export const killWorkers = (server: number): number => {
  const workers = workersOf(server).filter(isAlive)
  for (const pid of workers) process.kill(pid, "SIGKILL")
  return workers.length
}
