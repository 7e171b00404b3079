/** How a supervisor ends, what it writes down and what it answers. */
import { RpcTest } from "@effect/rpc"
import { expect, it } from "@effect/vitest"
import { ChildId } from "@helixflow/schema/Ids"
import { MailboxLimit } from "@helixflow/schema/MailboxLimit"
import { Supervisor as Protocol } from "@helixflow/schema/Supervisor"
import {
  Chunk,
  Deferred,
  Effect,
  Exit,
  Fiber,
  HashMap,
  Layer,
  Logger,
  Option,
  Queue,
  Scope,
  Stream,
  TestClock
} from "effect"
import { describe } from "vitest"
import type { ChildSpec } from "../src/ChildInstance.ts"
import * as Supervisor from "../src/Supervisor.ts"
import { a, Broken, b, become, c, makeStage, makeTrio, restartPolicy, show } from "./stage.ts"

describe("stopping", () => {
  it.scoped("drains in reverse start order and takes no new children", () =>
    Effect.gen(function* () {
      const { child, look, supervisor } = yield* makeTrio("one_for_one")
      yield* supervisor.startChild(child(ChildId.make("d")))
      yield* supervisor.drain
      expect(yield* look).toBe("start d, stop d, stop c, stop b, stop a")
      yield* supervisor.awaitEnd
      expect(yield* Effect.flip(supervisor.startChild(child(a)))).toMatchObject({ _tag: "ShuttingDown" })
    })
  )

  it.effect("drains when its scope closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { look, supervisor } = yield* Scope.extend(makeTrio("one_for_one"), scope)
      yield* Scope.close(scope, Exit.void)
      expect(yield* look).toBe("stop c, stop b, stop a")
      yield* supervisor.awaitEnd
    })
  )

  it.effect("stops its children even when it was made where nothing can be interrupted", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { fail, look, supervisor } = yield* Effect.uninterruptible(Scope.extend(makeTrio("one_for_one"), scope))
      yield* fail(b)
      yield* become(supervisor, "a running, b backing-off, c running")
      yield* Scope.close(scope, Exit.void)
      expect(yield* look).toBe("stop b, stop c, stop a")
    })
  )

  it.scoped("ends the watches when its scope closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { supervisor } = yield* Scope.extend(makeTrio("one_for_one"), scope)
      const last = yield* Effect.fork(Stream.runLast(supervisor.watch))
      yield* Effect.yieldNow()
      yield* Scope.close(scope, Exit.void)
      expect(yield* Fiber.join(last)).toEqual(Option.some([]))
    })
  )

  it.scoped("gives up a child that refuses to stop after its `shutdownMillis`, and goes on without it", () =>
    Effect.gen(function* () {
      const { look, supervisor } = yield* makeTrio("one_for_one")
      const stubborn: ChildSpec<never> = {
        id: ChildId.make("d"),
        restart: "permanent",
        shutdownMillis: 3_000,
        start: Effect.succeed(Effect.uninterruptible(Effect.never))
      }
      yield* supervisor.startChild(stubborn)
      const drained = yield* Effect.fork(supervisor.drain)
      yield* become(supervisor, "a stopping, b stopping, c stopping, d stopping")
      yield* TestClock.adjust(2_999)
      expect(yield* look).toBe("")
      yield* TestClock.adjust(1)
      yield* Fiber.join(drained)
      expect(yield* look).toBe("stop c, stop b, stop a")
    })
  )

  it.scoped("does not wait for ever for resources that are not released, and ignores their late release", () =>
    Effect.gen(function* () {
      const stage = yield* makeStage
      const supervisor = yield* Supervisor.make({ name: "pool", strategy: "one_for_one", restartPolicy })
      const latch = yield* Deferred.make<void>()
      const { start } = stage.child(a)
      yield* supervisor.startChild({
        id: a,
        restart: "permanent",
        shutdownMillis: 1_000,
        start: Effect.zipRight(
          Effect.addFinalizer(() => Deferred.await(latch)),
          start
        )
      })
      yield* stage.fail(a)
      yield* TestClock.adjust(1_000)
      const [waiting] = yield* become(supervisor, "a backing-off")
      expect(waiting?.lastFailure).toBe("it did not stop within 1000 ms")
      yield* TestClock.adjust(100)
      yield* become(supervisor, "a running")
      yield* Deferred.succeed(latch, undefined)
      yield* Effect.yieldNow()
      expect(show(yield* supervisor.children)).toBe("a running")
    })
  )

  it.scoped("terminates a child while it backs off, and its timer starts nobody", () =>
    Effect.gen(function* () {
      const { fail, look, supervisor } = yield* makeTrio("one_for_one")
      yield* fail(b)
      yield* become(supervisor, "a running, b backing-off, c running")
      yield* supervisor.terminateChild(b)
      yield* TestClock.adjust(60_000)
      expect(show(yield* supervisor.children)).toBe("a running, c running")
      expect(yield* look).toBe("stop b")
      expect(yield* Effect.flip(supervisor.terminateChild(b))).toMatchObject({ _tag: "ChildNotFound", child: "b" })
    })
  )
})

describe("logs", () => {
  it.scoped("says each restart once: which child, why, after how long, how often", () =>
    Effect.gen(function* () {
      const lines: Array<Record<string, unknown>> = []
      const logger = Logger.make(({ annotations, logLevel, message }) => {
        lines.push({ level: logLevel.label, message, ...Object.fromEntries(HashMap.toEntries(annotations)) })
      })
      yield* Effect.gen(function* () {
        const { fail, supervisor } = yield* makeTrio("one_for_one")
        yield* fail(b)
        yield* become(supervisor, "a running, b backing-off, c running")
        yield* TestClock.adjust(100)
        yield* become(supervisor, "a running, b running, c running")
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      expect(lines).toEqual([
        {
          level: "WARN",
          message: ["Child failed and will be restarted"],
          supervisor: "trio",
          child: "b",
          reason: "broken: b",
          delayMillis: 100,
          count: 1
        }
      ])
    })
  )
})

describe("the protocol", () => {
  const passThrough = Layer.succeed(
    MailboxLimit,
    MailboxLimit.of(({ next }) => next)
  )

  const makeClient = (supervisor: Supervisor.SupervisorHandle) =>
    Layer.build(Layer.merge(Protocol.toLayer(supervisor.handlers), passThrough)).pipe(
      Effect.flatMap((context) => Effect.provide(RpcTest.makeClient(Protocol), context))
    )

  it.scoped("lists, restarts and terminates children by message", () =>
    Effect.gen(function* () {
      const { look, supervisor } = yield* makeTrio("one_for_one")
      const client = yield* makeClient(supervisor)
      yield* client.Started()
      expect(show(yield* client.Children())).toBe("a running, b running, c running")
      yield* client.Restart({ child: b })
      expect(yield* look).toBe("stop b, start b")
      expect((yield* client.Children())[1]).toMatchObject({ id: "b", state: "running", restarts: 1, lastFailure: null })
      yield* client.Terminate({ child: b })
      expect(show(yield* client.Children())).toBe("a running, c running")
      expect(yield* Effect.flip(client.Restart({ child: b }))).toMatchObject({ _tag: "ChildNotFound" })
      expect(yield* Effect.flip(client.Terminate({ child: b }))).toMatchObject({ _tag: "ChildNotFound" })
    })
  )

  it.scoped("a restart is answered even when the child cannot start again", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.make({ name: "pool", strategy: "one_for_one", restartPolicy })
      const client = yield* makeClient(supervisor)
      let attempts = 0
      yield* supervisor.startChild({
        id: a,
        restart: "permanent",
        start: Effect.suspend(() => (++attempts === 1 ? Effect.succeed(Effect.never) : new Broken({ what: "again" })))
      })
      yield* client.Restart({ child: a })
      expect(yield* client.Children()).toMatchObject([{ state: "backing-off", lastFailure: "broken: again" }])
    })
  )

  it.scoped("streams the children now and after every change", () =>
    Effect.gen(function* () {
      const { fail, supervisor } = yield* makeTrio("one_for_one")
      const client = yield* makeClient(supervisor)
      const seen = yield* Queue.unbounded<string>()
      yield* Effect.forkScoped(Stream.runForEach(client.Watch(), (children) => Queue.offer(seen, show(children))))
      expect(yield* Queue.take(seen)).toBe("a running, b running, c running")
      yield* fail(c)
      expect(yield* Queue.take(seen)).toBe("a running, b running, c backing-off")
      yield* TestClock.adjust(100)
      expect(Chunk.toReadonlyArray(yield* Queue.takeN(seen, 2))).toEqual([
        "a running, b running, c starting",
        "a running, b running, c running"
      ])
    })
  )

  it.scoped("drains by message", () =>
    Effect.gen(function* () {
      const { look, supervisor } = yield* makeTrio("one_for_all")
      const client = yield* makeClient(supervisor)
      yield* client.Drain()
      expect(yield* look).toBe("stop c, stop b, stop a")
      expect(yield* client.Children()).toEqual([])
    })
  )
})
