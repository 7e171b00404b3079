import { setImmediate } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as FastCheck from "effect/FastCheck"
import { mostInTurn, turn } from "../src/Turns.ts"

/** Requests that come at once, some of which leave at once: which of them begin, and in which turn of the event loop. */
const begin = (leaves: ReadonlyArray<boolean>) =>
  Effect.gen(function* () {
    // what was begun before is no concern of this turn's
    yield* Effect.promise(() => setImmediate())
    yield* Effect.promise(() => setImmediate())
    let now = 0
    let isCounting = true
    const count = async () => {
      while (isCounting) {
        await setImmediate()
        now++
      }
    }
    void count()
    const begun: Array<{ readonly request: number; readonly turn: number }> = []
    const requests = yield* Effect.forEach(leaves, (_, request) =>
      Effect.fork(Effect.map(turn, () => void begun.push({ request, turn: now })))
    )
    yield* Effect.yieldNow()
    yield* Effect.forEach(requests, (fiber, request) => (leaves[request] ? Fiber.interrupt(fiber) : Effect.void))
    yield* Effect.forEach(requests, Fiber.await)
    isCounting = false
    return begun
  })

describe("Requests that come at once", () => {
  it.effect("begin a few in a turn of the event loop, in their order, whoever leaves meanwhile", () =>
    Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(FastCheck.array(FastCheck.boolean(), { maxLength: 40 }), async (leaves) => {
          const begun = await Effect.runPromise(begin(leaves))
          const requests = begun.map(({ request }) => request)
          assert.deepStrictEqual(
            requests,
            [...requests].sort((a, b) => a - b)
          )
          const stay = [...leaves.keys()].filter((request) => leaves[request] === false)
          assert.includeMembers(requests, stay)
          for (const { turn } of begun) {
            assert.isAtMost(begun.filter((other) => other.turn === turn).length, mostInTurn)
          }
        })
      )
    )
  )
})
