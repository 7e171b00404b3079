import { assert, describe, it } from "@effect/vitest"
import { ChildId, NodeId } from "@helixflow/schema/Ids"
import { Deferred, Effect, Layer, Scope, TestClock } from "effect"
import * as Directory from "../src/Directory.ts"
import * as Services from "../src/Services.ts"
import * as SupervisionTree from "../src/SupervisionTree.ts"
import * as Supervisor from "../src/Supervisor.ts"

const place = "local/services"

/** A node that has services and nothing else. */
const node = Effect.gen(function* () {
  const services = yield* Services.Services
  const directory = Directory.make()
  const supervisor = yield* Supervisor.make({
    name: "node",
    strategy: "one_for_one",
    children: [Services.child(services, directory, place)]
  })
  yield* supervisor.started
  const tree = SupervisionTree.read({
    id: NodeId.make("local"),
    since: 0,
    directory,
    supervisor,
    isolation: { cells: Effect.succeed([]) }
  })
  const listed = Effect.map(tree, ({ children }) =>
    (children[0]?.children ?? []).map(({ id, kind, lastFailure, restarts, state }) => ({
      id,
      kind,
      state,
      restarts,
      lastFailure
    }))
  )
  return { supervisor, listed }
})

const fresh = Effect.provide(Layer.fresh(Services.Services.layer))

/** Counts its runs and dies at each of the first `deaths`. */
const mortal = (deaths: number) => {
  let runs = 0
  const run = Effect.suspend(() => (++runs <= deaths ? Effect.die(new Error(`death ${runs}`)) : Effect.never))
  return { run, runs: () => runs }
}

const soon = TestClock.adjust("1 millis")

describe("a service", () => {
  it.scoped("that dies of a defect is restarted, and the tree tells of it", () =>
    Effect.gen(function* () {
      const services = yield* Services.Services
      const { run, runs } = mortal(2)
      yield* services.add("writer", run)
      yield* services.add("sweep", Effect.never)
      const { listed } = yield* node
      const other = {
        id: `${place}/sweep`,
        kind: "service" as const,
        state: "running" as const,
        restarts: 0,
        lastFailure: null
      }
      yield* soon
      const writer = { id: `${place}/writer`, kind: "service" as const }
      assert.deepStrictEqual(yield* listed, [
        { ...writer, state: "backing-off", restarts: 0, lastFailure: "death 1" },
        other
      ])
      yield* TestClock.adjust("1 second")
      assert.strictEqual(runs(), 3)
      assert.deepStrictEqual(yield* listed, [
        { ...writer, state: "running", restarts: 2, lastFailure: "death 2" },
        other
      ])
    }).pipe(fresh)
  )

  it.scoped("is run again when it ends without a failure too", () =>
    Effect.gen(function* () {
      let runs = 0
      yield* (yield* Services.Services).add(
        "short",
        Effect.sync(() => {
          runs++
        })
      )
      yield* node
      yield* TestClock.adjust("1 second")
      assert.isAbove(runs, 2)
    }).pipe(fresh)
  )

  it.scoped("that never gets well is tried ever more seldom, and costs nobody else anything", () =>
    Effect.gen(function* () {
      const services = yield* Services.Services
      const { run, runs } = mortal(Number.POSITIVE_INFINITY)
      yield* services.add("hopeless", run)
      yield* services.add("well", Effect.never)
      const { listed, supervisor } = yield* node
      yield* TestClock.adjust("1 hour")
      assert.isBelow(runs(), 150)
      assert.isAbove(runs(), 100)
      assert.deepStrictEqual(
        (yield* listed).map(({ restarts, state }) => ({ restarts: restarts > 0, state })),
        [
          { restarts: true, state: "backing-off" },
          { restarts: false, state: "running" }
        ]
      )
      assert.deepStrictEqual(
        (yield* supervisor.children).map(({ state }) => state),
        ["running"]
      )
    }).pipe(fresh)
  )

  it.scoped("may be added before there is a node or after, and ends with its scope", () =>
    Effect.gen(function* () {
      const services = yield* Services.Services
      const ended = yield* Deferred.make<void>()
      const own = yield* Scope.make()
      const run = Effect.onInterrupt(Effect.never, () => Deferred.succeed(ended, undefined))
      yield* Scope.extend(services.add("early", run), own)
      const { listed } = yield* node
      yield* services.add("late", Effect.never)
      yield* soon
      assert.deepStrictEqual(
        (yield* listed).map(({ state }) => state),
        ["running", "running"]
      )
      yield* Scope.close(own, yield* Effect.exit(Effect.void))
      yield* Deferred.await(ended)
      assert.deepStrictEqual(
        (yield* listed).map(({ id }) => id),
        [`${place}/late`]
      )
    }).pipe(fresh)
  )

  it.scoped("is there again when the supervisor of services is restarted", () =>
    Effect.gen(function* () {
      const services = yield* Services.Services
      let runs = 0
      const counted = Effect.suspend(() => {
        runs++
        return Effect.never
      })
      yield* services.add("early", counted)
      const { listed, supervisor } = yield* node
      yield* services.add("late", counted)
      yield* soon
      yield* supervisor.restartChild(ChildId.make("services"))
      yield* soon
      assert.strictEqual(runs, 4)
      assert.deepStrictEqual(
        (yield* listed).map(({ state }) => state),
        ["running", "running"]
      )
    }).pipe(fresh)
  )

  it.scoped("has a name of its own", () =>
    Effect.gen(function* () {
      const services = yield* Services.Services
      yield* services.add("twin", Effect.never)
      const { message } = yield* Effect.flip(Effect.sandbox(services.add("twin", Effect.never))).pipe(
        Effect.map((cause) => ({ message: String(cause) }))
      )
      assert.include(message, "There is a service `twin` already")
    }).pipe(fresh)
  )
})
