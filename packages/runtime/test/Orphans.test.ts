import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { afterAll } from "vitest"
import * as Orphans from "../src/Orphans.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const root = temporaryFolder()
const started: Array<ChildProcess> = []
afterAll(() => {
  for (const child of started) child.kill("SIGKILL")
})

const sleeper = () => {
  const child = spawn("sleep", ["100"])
  started.push(child)
  return child
}

/** A record as the server that runs this test writes it, changed as a test wants. */
const recordOf = (name: string, pid: number, change: (record: Record<string, unknown>) => Record<string, unknown>) =>
  Effect.gen(function* () {
    const folder = path.join(root, name)
    const sockets = path.join(root, `${name} sockets`)
    fs.mkdirSync(sockets)
    yield* Scope.extend(Orphans.record({ folder, sockets }, pid), yield* Scope.make())
    const file = path.join(folder, String(pid))
    fs.writeFileSync(file, JSON.stringify(change(JSON.parse(fs.readFileSync(file, "utf8")))))
    return { folder, sockets, file }
  })

const gone = { pid: 2 ** 22 + 1, startTicks: 1 }

describe.skipIf(!fs.existsSync("/proc/self/stat"))("a worker of a server that is gone", () => {
  it.live("is killed, even when it is frozen, and what its server left is removed", () =>
    Effect.gen(function* () {
      const child = sleeper()
      child.kill("SIGSTOP")
      const { file, folder, sockets } = yield* recordOf("frozen", child.pid ?? 0, (record) => ({
        ...record,
        server: gone
      }))
      expect(yield* Orphans.sweep(folder)).toEqual([child.pid])
      yield* Effect.promise(() => new Promise((ended) => child.once("exit", ended)))
      expect(child.signalCode).toBe("SIGKILL")
      expect([fs.existsSync(file), fs.existsSync(sockets)]).toEqual([false, false])
    })
  )

  it.effect("whose pid another process has now, or had before the system's start, is no reason to kill that", () =>
    Effect.gen(function* () {
      const child = sleeper()
      const other = yield* recordOf("reused", child.pid ?? 0, (record) => ({
        ...record,
        server: gone,
        worker: { pid: child.pid, startTicks: 1 }
      }))
      expect(yield* Orphans.sweep(other.folder)).toEqual([])
      const earlier = yield* recordOf("rebooted", child.pid ?? 0, (record) => ({
        ...record,
        server: gone,
        boot: "earlier"
      }))
      expect(yield* Orphans.sweep(earlier.folder)).toEqual([])
      expect(child.kill(0)).toBe(true)
      expect(fs.existsSync(earlier.file)).toBe(false)
    })
  )
})

describe.skipIf(!fs.existsSync("/proc/self/stat"))("a record", () => {
  it.effect("of a server that runs is left alone", () =>
    Effect.gen(function* () {
      const child = sleeper()
      const { file, folder } = yield* recordOf("living", child.pid ?? 0, (record) => record)
      expect(yield* Orphans.sweep(folder)).toEqual([])
      expect(fs.existsSync(file)).toBe(true)
    })
  )

  it.effect("that can't be read is removed; a folder that is not there has none", () =>
    Effect.gen(function* () {
      const folder = path.join(root, "broken")
      fs.mkdirSync(folder)
      fs.writeFileSync(path.join(folder, "1"), '{"worker":')
      expect(yield* Orphans.sweep(folder)).toEqual([])
      expect(fs.readdirSync(folder)).toEqual([])
      expect(yield* Orphans.sweep(path.join(root, "nowhere"))).toEqual([])
    })
  )

  it.effect("is for its owner alone, and goes with its worker", () =>
    Effect.gen(function* () {
      const folder = path.join(root, "mode")
      const scope = yield* Scope.make()
      const { pid = 0 } = sleeper()
      yield* Scope.extend(Orphans.record({ folder, sockets: root }, pid), scope)
      const file = path.join(folder, String(pid))
      expect(fs.statSync(file).mode & 0o777).toBe(0o600)
      yield* Scope.close(scope, Exit.void)
      expect(fs.existsSync(file)).toBe(false)
    })
  )
})
