/**
 * What this machine has of processors and memory, as far as this process may use it: the kernel's figures below `/proc`, and the
 * limits of the control groups it is in, of version 1 or 2. Where there are none of these files, what Node.js says.
 *
 * Sources: proc(5); https://docs.kernel.org/admin-guide/cgroup-v2.html; https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

export interface Machine {
  readonly cpus: number
  /** Bytes of memory: the machine's, or the control group's limit where that is less. */
  readonly memory: number
}

/** Bytes of memory. */
export interface Memory {
  readonly total: number
  /** What could be taken now without swapping: caches that the kernel would give back are available. */
  readonly available: number
}

/** Bytes of memory of a process. */
export interface ProcessMemory {
  /** What it would not give back: neither its program nor the files that it has mapped. */
  readonly owned: number
  /** The most that was resident since it started, mapped files too. */
  readonly peak: number
}

const read = (file: string): string | null => {
  try {
    return fs.readFileSync(file, "utf8")
  } catch {
    // not there, or not ours to read
    return null
  }
}

/** `Name:   123 kB` of the files below `/proc`, in bytes. */
const kilobytes = (text: string, name: string): number | null => {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)
  return found === null ? null : Number(found[1]) * 1024
}

/** A number of a control group's file; null for `max` and for none. */
const limit = (text: string | null): number | null => {
  const value = Number.parseInt(text ?? "", 10)
  // version 1 says "none" with the largest number of pages
  return Number.isNaN(value) || value < 0 || value >= 2 ** 62 ? null : value
}

const statistic = (text: string | null, name: string): number =>
  Number(new RegExp(`^${name} (\\d+)`, "m").exec(text ?? "")?.[1] ?? 0)

/** The folders of the groups that the process is in for a controller, its own first; those of a container begin at the mount. */
const groups = (
  root: string,
  controller: string
): ReadonlyArray<{ readonly version: 1 | 2; readonly folder: string }> => {
  for (const line of (read(path.join(root, "proc/self/cgroup")) ?? "").split("\n")) {
    const [id, controllers = "", ...rest] = line.split(":")
    const version = id === "0" && controllers === "" ? 2 : 1
    if (version === 1 && !controllers.split(",").includes(controller)) continue
    const mounts = version === 1 ? [`sys/fs/cgroup/${controller}`, `sys/fs/cgroup/${controllers}`] : ["sys/fs/cgroup"]
    const mount = mounts.map((name) => path.join(root, name)).find((folder) => fs.existsSync(folder))
    const known = version === 1 ? "memory.limit_in_bytes" : "cgroup.controllers"
    if (mount === undefined || (version === 2 && !fs.existsSync(path.join(mount, known)))) continue
    const folders: Array<string> = []
    for (let below = rest.join(":"); ; below = path.dirname(below)) {
      folders.push(path.join(mount, below))
      if (below === "/" || below === "." || below === "") break
    }
    return folders.filter((folder) => fs.existsSync(folder)).map((folder) => ({ version, folder }))
  }
  return []
}

/** The machine's memory, within the tightest limit of all groups. `root` is `/` but for tests. */
export const memory = (root = "/"): Memory => {
  const info = read(path.join(root, "proc/meminfo"))
  let total = (info === null ? null : kilobytes(info, "MemTotal")) ?? os.totalmem()
  let available = (info === null ? null : kilobytes(info, "MemAvailable")) ?? os.freemem()
  for (const { version, folder } of groups(root, "memory")) {
    const file = (name: string) => read(path.join(folder, name))
    const most = limit(file(version === 2 ? "memory.max" : "memory.limit_in_bytes"))
    if (most === null || most >= total) continue
    const used = limit(file(version === 2 ? "memory.current" : "memory.usage_in_bytes")) ?? 0
    const reclaimable = statistic(file("memory.stat"), version === 2 ? "inactive_file" : "total_inactive_file")
    total = most
    available = Math.min(available, Math.max(0, most - used + reclaimable))
  }
  return { total, available: Math.min(available, total) }
}

/** Processors that may be used at once: those this process may run on, or the time that its groups are given, rounded up. */
export const cpus = (root = "/", machine = os.availableParallelism()): number => {
  let most = machine
  for (const { version, folder } of groups(root, "cpu")) {
    const file = (name: string) => read(path.join(folder, name))
    const [quota, period] =
      version === 2
        ? (file("cpu.max") ?? "").split(" ").map(limit)
        : [limit(file("cpu.cfs_quota_us")), limit(file("cpu.cfs_period_us"))]
    if (quota && period) most = Math.min(most, Math.max(1, Math.ceil(quota / period)))
  }
  return most
}

export const machine = (root = "/"): Machine => ({ cpus: cpus(root), memory: memory(root).total })

/** The group of a process; null for one that is gone. */
const groupOf = (pid: number | string, root: string): number | null => {
  const text = read(path.join(root, `proc/${pid}/stat`))
  // the program's name, in parentheses, may have any character; behind it come the state, the parent and the group
  const group = text?.slice(text.lastIndexOf(")") + 2).split(" ")[2]
  return group === undefined ? null : Number(group)
}

/** Each of these processes with those of the group that it leads; alone where it leads none. */
export const processGroups = (pids: ReadonlyArray<number>, root = "/"): ReadonlyMap<number, ReadonlyArray<number>> => {
  const groups = new Map(pids.map((pid) => [pid, [pid]]))
  const leaders = new Set(pids.filter((pid) => groupOf(pid, root) === pid))
  if (leaders.size === 0) return groups
  for (const entry of fs.readdirSync(path.join(root, "proc"))) {
    if (!/^\d+$/.test(entry)) continue
    const leader = groupOf(entry, root)
    if (leader !== null && leaders.has(leader) && Number(entry) !== leader) groups.get(leader)?.push(Number(entry))
  }
  return groups
}

/**
 * What a process and those of the group that it leads have together. The peak of several is not known, as they need not have had theirs at
 * one time: then it is what they have now. Null for a process that is gone.
 */
export const groupMemory = (pids: ReadonlyArray<number>, root = "/"): ProcessMemory | null => {
  const taken = pids.flatMap((pid) => processMemory(pid, root) ?? [])
  const [first] = taken
  if (first === undefined || taken.length === 1) return first ?? null
  const owned = taken.reduce((sum, { owned }) => sum + owned, 0)
  return { owned, peak: Math.max(first.peak, owned) }
}

/** Null for a process that is gone, and where the kernel has no `/proc`. */
export const processMemory = (pid: number, root = "/"): ProcessMemory | null => {
  const text = read(path.join(root, `proc/${pid}/status`))
  const anonymous = text === null ? null : kilobytes(text, "RssAnon")
  if (text === null || anonymous === null) return null
  const owned = anonymous + (kilobytes(text, "RssShmem") ?? 0)
  return { owned, peak: kilobytes(text, "VmHWM") ?? owned }
}
