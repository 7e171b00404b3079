import { expect, it } from "@effect/vitest"
import { ChildId } from "@helixflow/schema/Ids"
import { Effect, Exit, Fiber, Queue, TestClock } from "effect"
import { describe } from "vitest"
import type { ChildSpec } from "../src/ChildInstance.ts"
import type { RestartPolicy } from "../src/RestartPolicy.ts"
import * as Supervisor from "../src/Supervisor.ts"
import { a, Broken, b, become, c, makeStage, makeTrio, restartPolicy, show } from "./stage.ts"

describe("strategies, with real fibers", () => {
  it.scoped("one_for_one restarts the child that failed, after the backoff and not before", () =>
    Effect.gen(function* () {
      const { fail, look, supervisor } = yield* makeTrio("one_for_one")
      yield* fail(b)
      const [, waiting] = yield* become(supervisor, "a running, b backing-off, c running")
      expect(waiting).toMatchObject({ nextStartAt: 100, lastFailure: "broken: b", restarts: 0 })
      yield* TestClock.adjust(99)
      expect(yield* look).toBe("stop b")
      yield* TestClock.adjust(1)
      const [, running] = yield* become(supervisor, "a running, b running, c running")
      expect(running).toMatchObject({ nextStartAt: null, lastFailure: "broken: b", restarts: 1, since: 100 })
      expect(yield* look).toBe("start b")
    })
  )

  it.scoped("rest_for_one stops those started later, last first, and starts them again in order", () =>
    Effect.gen(function* () {
      const { fail, look, supervisor } = yield* makeTrio("rest_for_one")
      yield* fail(a)
      yield* become(supervisor, "a backing-off, b starting, c starting")
      yield* TestClock.adjust(100)
      yield* become(supervisor, "a running, b running, c running")
      expect(yield* look).toBe("stop a, stop c, stop b, start a, start b, start c")
      yield* fail(c)
      yield* become(supervisor, "a running, b running, c backing-off")
      expect(yield* look).toBe("stop c")
    })
  )

  it.scoped("one_for_all restarts everybody", () =>
    Effect.gen(function* () {
      const { fail, look, supervisor } = yield* makeTrio("one_for_all")
      yield* fail(b)
      yield* become(supervisor, "a starting, b backing-off, c starting")
      yield* TestClock.adjust(100)
      yield* become(supervisor, "a running, b running, c running")
      expect(yield* look).toBe("stop b, stop c, stop a, start a, start b, start c")
    })
  )

  it.scoped("waits for the backoff of each failure in a row: 100, 200, 400 ms", () =>
    Effect.gen(function* () {
      const { fail, supervisor } = yield* makeTrio("one_for_one")
      for (const delay of [100, 200, 400]) {
        yield* fail(a)
        const [waiting] = yield* become(supervisor, "a backing-off, b running, c running")
        expect(Number(waiting?.nextStartAt) - Number(waiting?.since)).toBe(delay)
        yield* TestClock.adjust(delay)
        yield* become(supervisor, "a running, b running, c running")
      }
    })
  )
})

describe("restart types, with real fibers", () => {
  it.scoped("a transient child is restarted after a failure and left alone when done", () =>
    Effect.gen(function* () {
      const { fail, finish, supervisor } = yield* makeTrio("one_for_one", ["transient"])
      yield* fail(a)
      yield* become(supervisor, "a backing-off, b running, c running")
      yield* TestClock.adjust(100)
      yield* become(supervisor, "a running, b running, c running")
      yield* finish(a)
      yield* become(supervisor, "a stopped, b running, c running")
    })
  )

  it.scoped("a permanent child is restarted even when it ends normally, or dies", () =>
    Effect.gen(function* () {
      const { finish, supervisor } = yield* makeTrio("one_for_one")
      yield* finish(a)
      yield* become(supervisor, "a backing-off, b running, c running")
      const dying: ChildSpec<never> = {
        id: ChildId.make("d"),
        restart: "permanent",
        start: Effect.succeed(Effect.die("bug"))
      }
      yield* supervisor.startChild(dying)
      const children = yield* become(supervisor, "a backing-off, b running, c running, d backing-off")
      expect(children.at(-1)?.lastFailure).toBe("bug")
    })
  )

  it.scoped("a temporary child leaves, whatever its end", () =>
    Effect.gen(function* () {
      const { fail, finish, supervisor } = yield* makeTrio("one_for_one", ["temporary", "temporary"])
      yield* fail(a)
      yield* become(supervisor, "b running, c running")
      yield* finish(b)
      yield* become(supervisor, "c running")
    })
  )
})

describe("children added later", () => {
  it.scoped("succeeds when the child has started, and runs it in a scope of its own", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const supervisor = yield* Supervisor.make({ name: "pool", strategy: "one_for_one", restartPolicy })
      yield* supervisor.startChild(stage.child(a, "transient"))
      expect(show(yield* supervisor.children)).toBe("a running")
      yield* stage.finish(a)
      yield* become(supervisor, "")
      expect(yield* stage.look).toBe("start a, stop a")
    })
  )

  it.scoped("gives the caller the failure of the first start, releases what was acquired, and forgets the child", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const supervisor = yield* Supervisor.make({ name: "pool", strategy: "one_for_one", restartPolicy })
      const { start } = stage.child(a)
      const broken = Effect.zipRight(start, new Broken({ what: "no memory" }))
      const failure = yield* Effect.flip(supervisor.startChild({ id: a, restart: "permanent", start: broken }))
      expect(failure).toEqual(new Broken({ what: "no memory" }))
      expect(yield* supervisor.children).toEqual([])
      expect(yield* stage.look).toBe("start a, stop a")
      yield* supervisor.startChild(stage.child(a))
    })
  )

  it.scoped("gives the caller the failure of the first start even when its resources are not released in time", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make({ name: "pool", strategy: "one_for_one", restartPolicy })
      const start = Effect.zipRight(
        Effect.addFinalizer(() => Effect.never),
        new Broken({ what: "no memory" })
      )
      const failed = yield* Effect.fork(Effect.flip(supervisor.startChild({ id: a, restart: "permanent", start })))
      yield* become(supervisor, "a starting")
      yield* TestClock.adjust(5_000)
      expect(yield* Fiber.join(failed)).toEqual(new Broken({ what: "no memory" }))
      expect(yield* supervisor.children).toEqual([])
    })
  )

  it.scoped("refuses a second child of the same name and leaves the first alone", () =>
    Effect.gen(function* () {
      const { child, look, supervisor } = yield* makeTrio("one_for_one")
      const failure = yield* Effect.flip(supervisor.startChild(child(a)))
      expect(failure._tag).toBe("ChildAlreadyPresent")
      expect(yield* look).toBe("")
    })
  )

  it.scoped("tells who waits for a start that was stopped", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make({ name: "pool", strategy: "one_for_one", restartPolicy })
      const waiting = yield* Effect.fork(
        Effect.flip(supervisor.startChild({ id: a, restart: "permanent", start: Effect.never }))
      )
      yield* become(supervisor, "a starting")
      yield* supervisor.terminateChild(a)
      expect(yield* Fiber.join(waiting)).toMatchObject({ _tag: "ActorUnreachable", actor: "a" })
    })
  )

  it.scoped("starts many at once under one_for_one", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make({ name: "pool", strategy: "one_for_one", restartPolicy })
      const slow = (id: ChildId): ChildSpec<never> => ({
        id,
        restart: "temporary",
        start: Effect.as(Effect.sleep(1_000), Effect.never)
      })
      const all = yield* Effect.fork(
        Effect.forEach([a, b, c], (id) => supervisor.startChild(slow(id)), { concurrency: "unbounded" })
      )
      yield* become(supervisor, "a starting, b starting, c starting")
      yield* TestClock.adjust(1_000)
      yield* Fiber.join(all)
      expect(show(yield* supervisor.children)).toBe("a running, b running, c running")
    })
  )
})

describe("static children", () => {
  it.scoped("tries again when a first start fails, and starts those after it only then", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      let attempts = 0
      const { start } = stage.child(a)
      const flaky: ChildSpec<Broken> = {
        id: a,
        restart: "permanent",
        start: Effect.suspend(() => (++attempts === 1 ? new Broken({ what: "not yet" }) : start))
      }
      const supervisor = yield* Supervisor.make({
        name: "boot",
        strategy: "rest_for_one",
        restartPolicy,
        children: [flaky, stage.child(b)]
      })
      yield* become(supervisor, "a backing-off, b starting")
      const started = yield* Effect.fork(supervisor.started)
      yield* TestClock.adjust(100)
      yield* Fiber.join(started)
      expect(yield* stage.look).toBe("start a, start b")
    })
  )

  it.scoped("dies of two children with one id", () =>
    Effect.gen(function* () {
      const { child } = yield* makeStage
      const exit = yield* Effect.exit(
        Supervisor.make({ name: "twins", strategy: "one_for_one", children: [child(a), child(a)] })
      )
      expect(Exit.isFailure(exit)).toBe(true)
    })
  )
})

describe("escalation", () => {
  const exhaust = (supervisor: Supervisor.SupervisorHandle, fail: Effect.Effect<unknown>) =>
    Effect.forEach(
      [100, 200, 400],
      (delay) =>
        Effect.gen(function* () {
          yield* fail
          yield* become(supervisor, "a backing-off, b running, c running")
          yield* TestClock.adjust(delay)
          yield* become(supervisor, "a running, b running, c running")
        }),
      { discard: true }
    ).pipe(Effect.zipRight(fail))

  it.scoped("one restart too many stops everybody, last first, and ends the supervisor with a typed failure", () =>
    Effect.gen(function* () {
      const { child, fail, look, supervisor } = yield* makeTrio("one_for_one")
      yield* exhaust(supervisor, fail(a))
      const failure = yield* Effect.flip(supervisor.awaitEnd)
      expect(failure).toMatchObject({ _tag: "Escalated", supervisor: "trio" })
      expect(failure.reason).toBe("a failed (broken: a) after 3 restarts within 60000 ms")
      expect((yield* look).endsWith("stop a, stop c, stop b")).toBe(true)
      expect(yield* supervisor.children).toEqual([])
      expect(yield* Effect.flip(supervisor.startChild(child(a)))).toMatchObject({ _tag: "ActorUnreachable" })
      expect(yield* Effect.flip(supervisor.started)).toMatchObject({ _tag: "Escalated" })
    })
  )

  it.scoped("a supervisor that is a child has started when its own children have", () =>
    Effect.gen(function* () {
      const slow: ChildSpec<never> = {
        id: a,
        restart: "permanent",
        start: Effect.as(Effect.sleep(1_000), Effect.never)
      }
      const outer = yield* Supervisor.make({
        name: "outer",
        strategy: "one_for_one",
        children: [
          Supervisor.asChild({
            id: b,
            restart: "permanent",
            supervisor: Supervisor.make({ name: "inner", strategy: "one_for_one", children: [slow] })
          })
        ]
      })
      yield* TestClock.adjust(999)
      expect(show(yield* outer.children)).toBe("b starting")
      yield* TestClock.adjust(1)
      yield* become(outer, "b running")
    })
  )

  it.scoped("a supervisor that is a child is restarted whole by its parent, until the parent gives up too", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const inner = yield* Queue.unbounded<Supervisor.SupervisorHandle>()
      const strict: RestartPolicy = { ...restartPolicy, intensity: 0 }
      const outer = yield* Supervisor.make({
        name: "outer",
        strategy: "one_for_one",
        restartPolicy: { ...restartPolicy, intensity: 1 },
        children: [
          Supervisor.asChild({
            id: ChildId.make("inner"),
            restart: "permanent",
            supervisor: Supervisor.make({
              name: "inner",
              strategy: "one_for_one",
              restartPolicy: strict,
              children: [stage.child(a), stage.child(b)]
            }).pipe(Effect.tap((handle) => Queue.offer(inner, handle)))
          })
        ]
      })
      yield* outer.started
      const first = yield* Queue.take(inner)
      yield* stage.fail(a)
      expect(yield* Effect.flip(first.awaitEnd)).toMatchObject({ _tag: "Escalated", supervisor: "inner" })
      const [waiting] = yield* become(outer, "inner backing-off")
      expect(waiting?.lastFailure).toContain("The supervisor inner gave up: a failed (broken: a)")
      yield* TestClock.adjust(100)
      yield* become(outer, "inner running")
      const second = yield* Queue.take(inner)
      expect(show(yield* second.children)).toBe("a running, b running")
      expect(yield* stage.look).toBe("start a, start b, stop a, stop b, start a, start b")
      yield* stage.fail(b)
      expect(yield* Effect.flip(outer.awaitEnd)).toMatchObject({ _tag: "Escalated", supervisor: "outer" })
      expect(yield* stage.look).toBe("stop b, stop a")
    })
  )
})
