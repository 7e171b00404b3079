import { expect, it } from "@effect/vitest"
import { ChildId, DeviceId, ModelId, makeReplicaId } from "@helixflow/schema/Ids"
import { Duration, Effect, TestClock } from "effect"
import { describe } from "vitest"
import * as DeviceGuard from "../src/DeviceGuard.ts"
import * as Supervisor from "../src/Supervisor.ts"

const replica = makeReplicaId(DeviceId.make("local/cpu:0"), ModelId.make("m"), 0)

/** A device's supervisor with what stands for its replicas. */
const device = Effect.gen(function* () {
  const guard = DeviceGuard.make(yield* DeviceGuard.DeviceGuardPolicy)
  const supervisor = yield* Supervisor.make({
    name: "device",
    strategy: "rest_for_one",
    children: [
      { id: ChildId.make("gpu"), restart: "permanent", start: Effect.succeed(Effect.never) },
      guard.over({ id: ChildId.make("replicas"), restart: "permanent", start: Effect.succeed(Effect.never) })
    ]
  })
  yield* supervisor.started
  const states = Effect.map(supervisor.children, (children) => children.map(({ state }) => state))
  /** Long enough for what is under way, too short for any backoff. */
  const settle = TestClock.adjust(Duration.millis(1))
  return { gaveUp: Effect.zipRight(guard.gaveUp(replica), settle), states, supervisor }
})

describe("a device whose replicas give up", () => {
  it.scoped("stays in service after the first, and leaves it after the second, alone and with the reason", () =>
    Effect.gen(function* () {
      const { gaveUp, states, supervisor } = yield* device
      yield* gaveUp
      expect(yield* states).toEqual(["running", "running"])
      yield* TestClock.adjust(Duration.minutes(9))
      yield* gaveUp
      expect(yield* states).toEqual(["running", "backing-off"])
      const [, replicas] = yield* supervisor.children
      expect(replicas?.lastFailure).toContain(`2 of its replicas kept failing, ${replica} last`)
    })
  )

  it.scoped("is forgiven what was long ago", () =>
    Effect.gen(function* () {
      const { gaveUp, states } = yield* device
      yield* gaveUp
      yield* TestClock.adjust(Duration.minutes(11))
      yield* gaveUp
      expect(yield* states).toEqual(["running", "running"])
    })
  )

  it.scoped("is tried again after ten seconds, and then after twice as long each time", () =>
    Effect.gen(function* () {
      const { gaveUp, states } = yield* device
      yield* gaveUp
      yield* gaveUp
      for (const seconds of [10, 20, 40]) {
        yield* TestClock.adjust(Duration.seconds(seconds - 1))
        expect(yield* states).toEqual(["running", "backing-off"])
        yield* TestClock.adjust(Duration.seconds(1))
        expect(yield* states).toEqual(["running", "running"])
        yield* gaveUp
      }
    })
  )
})
