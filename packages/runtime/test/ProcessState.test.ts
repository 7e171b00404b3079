import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { describe, expect, it } from "vitest"
import * as ProcessState from "../src/ProcessState.ts"

const linux = fs.existsSync("/proc/self/stat")

describe("a line of /proc/<pid>/stat", () => {
  const line = (state: string, name = "(node)") =>
    `42 ${name} ${state} 1 42 42 0 -1 4194304 103 0 0 0 30 12 0 0 20 0 11 0 108493 2998272 377 18446744073709551615`

  it("tells processor time and start, whatever the program's name", () => {
    const expected = { stopped: false, busy: false, cpuTicks: 42, startTicks: 108_493 }
    expect(ProcessState.parse(line("S"))).toEqual(expected)
    expect(ProcessState.parse(line("S", "(a) R (b)"))).toEqual(expected)
  })

  it.each([
    ["R", { stopped: false, busy: true }],
    ["D", { stopped: false, busy: true }],
    ["T", { stopped: true, busy: false }],
    ["t", { stopped: true, busy: false }]
  ])("in state %s", (state, expected) => {
    expect(ProcessState.parse(line(state))).toMatchObject(expected)
  })

  it("of a zombie, or no line at all, tells nothing", () => {
    expect(ProcessState.parse(line("Z"))).toBeUndefined()
    expect(ProcessState.parse("")).toBeUndefined()
  })
})

describe.skipIf(!linux)("a real process", () => {
  it("is told apart by its start, seen when it is stopped, and not there when it is gone", async () => {
    const child = spawn("sleep", ["60"])
    const pid = child.pid ?? 0
    const state = await until(pid, (now) => now !== undefined)
    expect(state?.startTicks).toBeGreaterThan(ProcessState.read(process.pid)?.startTicks ?? 0)
    child.kill("SIGSTOP")
    expect((await until(pid, (now) => now?.stopped === true))?.stopped).toBe(true)
    child.kill("SIGKILL")
    expect(await until(pid, (now) => now === undefined)).toBeUndefined()
  })
})

const until = async (pid: number, holds: (state: ProcessState.ProcessState | undefined) => boolean) => {
  for (let tries = 0; tries < 2_000 && !holds(ProcessState.read(pid)); tries++) await new Promise(setImmediate)
  return ProcessState.read(pid)
}
