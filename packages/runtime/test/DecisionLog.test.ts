import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Fleet } from "@helixflow/scheduler/Fleet"
import * as MemoryFleet from "@helixflow/scheduler/MemoryFleet"
import { LogLine } from "@helixflow/scheduler/Replay"
import * as Scheduler from "@helixflow/scheduler/SchedulerActor"
import { ChildId, RequestId, ReservationId } from "@helixflow/schema/Ids"
import { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import { Effect, Exit, Schedule, Schema, TestClock } from "effect"
import * as DecisionLog from "../src/DecisionLog.ts"
import * as InProcess from "../src/InProcess.ts"
import * as Supervisor from "../src/Supervisor.ts"
import { device, spec } from "./smallModel.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

/** A scheduler whose decisions are written while so many requests are placed and completed, one after the other. */
const serve = Effect.fnUntraced(function* (folder: string, fileBytes: number, requests: number) {
  const memory = MemoryFleet.make([device], [spec])
  const scheduler = yield* InProcess.host(
    SchedulerActor,
    Scheduler.handlers.pipe(Effect.provideService(Fleet, memory.fleet)),
    { name: "scheduler" }
  )
  yield* scheduler.Observe(memory.news())
  const log = DecisionLog.make({ folder, fileBytes, quantum: 1000 })
  yield* log.follow(scheduler)
  yield* Effect.forkScoped(log.write)
  const current = path.join(folder, "decisions.jsonl")
  const written = (wanted: string) => Effect.sync(() => fs.existsSync(current) && filesOf(folder).includes(wanted))
  const until = (wanted: string) =>
    Effect.repeat(written(wanted), { until: (there) => there, schedule: Schedule.spaced("5 millis") })
  yield* until("FleetKnown")
  for (let n = 0; n < requests; n++) {
    const request = RequestId.make(`request-${n}`)
    yield* scheduler.Place({ request, model: spec.id, not: [], timeoutMillis: 5000 })
    yield* scheduler.Complete({ reservation: ReservationId.make(request), served: { input: 3, output: 4 } })
    // a watcher that falls behind loses the oldest
    if (n % 10 === 9) yield* until(`"reservation":"${request}","served"`)
  }
  yield* until(`"reservation":"request-${requests - 1}","served"`)
})

const names = (folder: string) => fs.readdirSync(folder).sort()
const filesOf = (folder: string) =>
  names(folder)
    .map((name) => fs.readFileSync(path.join(folder, name), "utf8"))
    .join("")

const entries = (file: string) =>
  fs
    .readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => Schema.decodeUnknownSync(LogLine)(line))

describe("The decision log", () => {
  const folder = temporaryFolder()

  it.scopedLive("has the fleet and every decision, for its owner's eyes only", () =>
    Effect.gen(function* () {
      const own = path.join(folder, "whole")
      yield* serve(own, 2 ** 20, 2)
      const file = path.join(own, "decisions.jsonl")
      assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600)
      assert.strictEqual(fs.statSync(own).mode & 0o777, 0o700)
      assert.deepStrictEqual(
        entries(file).map(({ _tag }) => _tag),
        [
          ...["FleetKnown", "Arrived", "Queued", "LoadStarted", "LoadEnded", "Placed", "Completed"],
          ...["Arrived", "Placed", "Completed"]
        ]
      )
    })
  )

  it.scopedLive("is cut into files that can each be read alone, of which a few are kept", () =>
    Effect.gen(function* () {
      const own = path.join(folder, "cut")
      yield* serve(own, 2000, 100)
      assert.deepStrictEqual(names(own), [
        "decisions.1.jsonl",
        "decisions.2.jsonl",
        "decisions.3.jsonl",
        "decisions.4.jsonl",
        "decisions.jsonl"
      ])
      for (const name of names(own)) {
        const all = entries(path.join(own, name))
        assert.strictEqual(all[0]?._tag, "FleetKnown")
        assert.strictEqual(fs.statSync(path.join(own, name)).mode & 0o777, 0o600)
      }
    })
  )

  const hosted = Effect.suspend(() => {
    const memory = MemoryFleet.make([device], [spec])
    return InProcess.host(SchedulerActor, Scheduler.handlers.pipe(Effect.provideService(Fleet, memory.fleet)), {
      name: "scheduler"
    })
  })

  it.scoped("that can't be written fails as a service does, and goes on with what it was told meanwhile", () =>
    Effect.gen(function* () {
      const own = path.join(folder, "blocked")
      fs.writeFileSync(own, "")
      const log = DecisionLog.make({
        folder: path.join(own, "below"),
        fileBytes: 2 ** 20,
        quantum: 1000
      })
      const scheduler = yield* hosted
      yield* log.follow(scheduler)
      const services = yield* Supervisor.make({
        name: "services",
        strategy: "one_for_one",
        children: [{ id: ChildId.make("decision-log"), restart: "permanent", start: Effect.succeed(log.write) }]
      })
      const state = Effect.map(services.children, ([child]) => child)
      const failed = yield* Effect.repeat(Effect.zipRight(Effect.yieldNow(), state), {
        until: (child) => child?.state === "backing-off"
      })
      assert.include(failed?.lastFailure ?? "", "ENOTDIR")
      yield* Effect.flip(scheduler.Place({ request: RequestId.make("r"), model: spec.id, not: [], timeoutMillis: 0 }))
      fs.rmSync(own)
      yield* TestClock.adjust("100 millis")
      yield* Effect.repeat(Effect.yieldNow(), {
        until: () => fs.existsSync(own) && filesOf(path.join(own, "below")).includes("Rejected")
      })
      assert.deepStrictEqual(
        entries(path.join(own, "below", "decisions.jsonl")).map(({ _tag }) => _tag),
        ["FleetKnown", "Arrived", "Queued", "Rejected"]
      )
    })
  )

  it.scoped("does not push out its older files where there is no room for a new one", () =>
    Effect.gen(function* () {
      const own = path.join(folder, "full")
      fs.mkdirSync(own, { recursive: true })
      fs.writeFileSync(path.join(own, "decisions.jsonl"), "before\n")
      const log = DecisionLog.make({ folder: own, fileBytes: 2 ** 20, quantum: 1000 })
      yield* log.follow({ ...(yield* hosted), View: () => Effect.die("nothing can be written") })
      for (let attempt = 0; attempt < 8; attempt++) assert.isTrue(Exit.isFailure(yield* Effect.exit(log.write)))
      assert.strictEqual(fs.readFileSync(path.join(own, "decisions.1.jsonl"), "utf8"), "before\n")
    })
  )
})
