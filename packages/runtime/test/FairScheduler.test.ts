import { assert, describe, it } from "@effect/vitest"
import { Effect, Queue } from "effect"
import * as FastCheck from "effect/FastCheck"
import { FairScheduler } from "../src/FairScheduler.ts"

/** Two fibers that have nothing to wait for but each other, and how often the event loop turned meanwhile. */
const turnsBesides = Effect.gen(function* () {
  const there = yield* Queue.unbounded<number>()
  const back = yield* Queue.unbounded<number>()
  let turns = 0
  let ended = false
  const turn = () => {
    turns++
    if (!ended) setImmediate(turn)
  }
  setImmediate(turn)
  yield* Effect.fork(Effect.forever(Effect.flatMap(there.take, (n) => back.offer(n))))
  yield* Effect.repeatN(Effect.zipRight(there.offer(1), back.take), 10_000)
  ended = true
  return turns
})

describe("Fibers that never have to wait for the world", () => {
  it.live("leave sockets and timers their turns", () =>
    Effect.gen(function* () {
      // told from what this is for: without it, the loop does not turn
      assert.strictEqual(yield* turnsBesides, 0)
      assert.isAbove(yield* Effect.withScheduler(turnsBesides, new FairScheduler()), 3)
    })
  )
})

describe("Tasks", () => {
  it.effect("are all run, in the order they came within a priority, also those that tasks add", () =>
    Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          FastCheck.array(
            FastCheck.record({ priority: FastCheck.integer({ min: 0, max: 2 }), adds: FastCheck.nat(3) }),
            { maxLength: 60 }
          ),
          async (tasks) => {
            const scheduler = new FairScheduler()
            const ran: Array<readonly [priority: number, nth: number]> = []
            let scheduled = 0
            const ended = new Promise<void>((resolve) => {
              const add = (priority: number, adds: number) => {
                const nth = scheduled++
                scheduler.scheduleTask(() => {
                  ran.push([priority, nth])
                  for (let n = 0; n < adds; n++) add(priority, 0)
                  if (ran.length === scheduled) resolve()
                }, priority)
              }
              if (tasks.length === 0) resolve()
              for (const { adds, priority } of tasks) add(priority, adds)
            })
            await ended
            assert.strictEqual(ran.length, scheduled)
            for (const priority of [0, 1, 2]) {
              const order = ran.filter(([one]) => one === priority).map(([, nth]) => nth)
              assert.deepStrictEqual(
                order,
                [...order].sort((a, b) => a - b)
              )
            }
          }
        )
      )
    )
  )
})
