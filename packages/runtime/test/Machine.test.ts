import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Machine from "../src/Machine.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const parent = temporaryFolder()
let machines = 0

/** A machine whose kernel says these things. */
const machine = (files: Record<string, string>): string => {
  const root = path.join(parent, String(++machines))
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true })
    fs.writeFileSync(path.join(root, name), text)
  }
  return root
}

const meminfo = "MemTotal:       8000 kB\nMemFree:        1000 kB\nMemAvailable:   5000 kB\n"
const kB = 1024
const v2 = "0::/pod/worker\n"
const v1 = "4:memory:/pod\n3:cpu,cpuacct:/pod\n0::/\n"

describe("memory", () => {
  it("is the machine's where no group limits it", () => {
    assert.deepStrictEqual(Machine.memory(machine({ "proc/meminfo": meminfo })), {
      total: 8000 * kB,
      available: 5000 * kB
    })
  })

  it("is the tightest limit on the way up the groups of version 2; caches count as available", () => {
    const root = machine({
      "proc/meminfo": meminfo,
      "proc/self/cgroup": v2,
      "sys/fs/cgroup/cgroup.controllers": "memory cpu",
      "sys/fs/cgroup/pod/memory.max": String(3000 * kB),
      "sys/fs/cgroup/pod/memory.current": String(2500 * kB),
      "sys/fs/cgroup/pod/memory.stat": `anon 1\ninactive_file ${700 * kB}\n`,
      "sys/fs/cgroup/pod/worker/memory.max": "max"
    })
    assert.deepStrictEqual(Machine.memory(root), { total: 3000 * kB, available: 1200 * kB })
  })

  it("is limited by groups of version 1, seen from within a container too", () => {
    const root = machine({
      "proc/meminfo": meminfo,
      "proc/self/cgroup": v1,
      "sys/fs/cgroup/memory/memory.limit_in_bytes": String(2000 * kB),
      "sys/fs/cgroup/memory/memory.usage_in_bytes": String(500 * kB),
      "sys/fs/cgroup/memory/memory.stat": `inactive_file 5\ntotal_inactive_file ${100 * kB}\n`
    })
    assert.deepStrictEqual(Machine.memory(root), { total: 2000 * kB, available: 1600 * kB })
  })

  it("has no limit where the kernel says so with its largest number", () => {
    const root = machine({
      "proc/meminfo": meminfo,
      "proc/self/cgroup": v1,
      "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"
    })
    assert.strictEqual(Machine.memory(root).total, 8000 * kB)
  })

  it("is what Node.js says where there is no such file", () => {
    assert.isAbove(Machine.memory(machine({})).total, 0)
  })
})

describe("processors", () => {
  it("are as many as the time that the group is given, rounded up", () => {
    const limited = (max: string) =>
      machine({ "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cgroup.controllers": "cpu", "sys/fs/cgroup/cpu.max": max })
    assert.strictEqual(Machine.cpus(limited("150000 100000\n"), 8), 2)
    assert.strictEqual(Machine.cpus(limited("max 100000\n"), 8), 8)
  })

  it("are limited by groups of version 1", () => {
    const root = machine({
      "proc/self/cgroup": v1,
      "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000",
      "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000"
    })
    assert.strictEqual(Machine.cpus(root, 8), 3)
  })
})

describe("a process's memory", () => {
  it("is what it would not give back, and the most it had", () => {
    const status =
      "Name:\tnode\nVmHWM:\t     900 kB\nRssAnon:\t     300 kB\nRssFile:\t     400 kB\nRssShmem:\t       5 kB\n"
    assert.deepStrictEqual(Machine.processMemory(7, machine({ "proc/7/status": status })), {
      owned: 305 * kB,
      peak: 900 * kB
    })
  })

  it("is that of all it has started, where it leads a group", () => {
    const stat = (pid: number, group: number) => `${pid} (a (b) c) S 1 ${group} 1 0`
    const status = (peak: number, owned: number) => `VmHWM: ${peak} kB\nRssAnon: ${owned} kB\n`
    const root = machine({
      "proc/7/stat": stat(7, 7),
      "proc/7/status": status(500, 300),
      "proc/8/stat": stat(8, 7),
      "proc/8/status": status(90, 40),
      "proc/9/stat": stat(9, 3),
      "proc/10/stat": stat(10, 9)
    })
    const groups = Machine.processGroups([7, 9, 11], root)
    assert.deepStrictEqual(
      [...groups],
      [
        [7, [7, 8]],
        [9, [9]],
        [11, [11]]
      ]
    )
    assert.deepStrictEqual(Machine.groupMemory([7, 8], root), { owned: 340 * kB, peak: 500 * kB })
    assert.isNull(Machine.groupMemory([11], root))
  })

  it("is unknown of one that is gone", () => assert.isNull(Machine.processMemory(7, machine({}))))

  it.skipIf(process.platform !== "linux")("is read of this very process", () => {
    const own = Machine.processMemory(process.pid)
    assert.isAbove(own?.owned ?? 0, 2 ** 20)
    assert.isAtLeast(own?.peak ?? 0, own?.owned ?? 0)
  })
})
