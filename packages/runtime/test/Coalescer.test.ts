import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import { TokenBatch } from "@helixflow/schema/Generation"
import { RequestId, TokenId } from "@helixflow/schema/Ids"
import * as FastCheck from "effect/FastCheck"
import { Coalescer, SPACING } from "../src/Coalescer.ts"
import type { StepResult } from "../src/Engine.ts"

const batch = (name: string, seq: number, { finish = null }: Partial<Pick<TokenBatch, "finish">> = {}) =>
  new TokenBatch({
    request: RequestId.make(name),
    epoch: 0,
    seq,
    tokens: [TokenId.make(seq)],
    text: `${seq} `,
    logprobs: null,
    finish
  })

/** A coalescer and what has come out of it: of each message, what it says. */
const open = (publish?: () => Promise<void>) => {
  const events: Array<ReadonlyArray<string>> = []
  const coalescer = new Coalescer({
    publish: async ({ batches, failures }) => {
      events.push([
        ...batches.map(({ finish, request, text }) => `${request}: ${text}${finish ?? ""}`.trim()),
        ...failures.map(({ request, reason }) => `${request} failed: ${reason}`)
      ])
      await publish?.()
    }
  })
  const take = (...batches: ReadonlyArray<TokenBatch>) => coalescer.take({ batches, failures: [] })
  return { coalescer, events, take }
}

describe("messages of steps that follow each other fast", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it("have a first token at once, and those that follow together", async () => {
    const { events, take } = open()
    await take(batch("a", 0))
    await take(batch("a", 1))
    await take(batch("a", 2), batch("b", 5))
    assert.deepStrictEqual(events, [["a: 0"]])
    vi.advanceTimersByTime(SPACING)
    await take(batch("a", 3))
    assert.deepStrictEqual(events, [["a: 0"], ["a: 1", "a: 2", "b: 5"]])
  })

  it("have an end and a failure at once, behind what was said before", async () => {
    const { coalescer, events, take } = open()
    await take(batch("a", 0))
    await take(batch("a", 1), batch("b", 7))
    await take(batch("a", 2, { finish: "stop" }))
    await take(batch("b", 8))
    await coalescer.take({ batches: [], failures: [{ request: RequestId.make("b"), epoch: 0, reason: "broken" }] })
    assert.deepStrictEqual(events, [["a: 0"], ["a: 1", "b: 7", "a: 2 stop"], ["b: 8", "b failed: broken"]])
  })

  it("go out though the next step takes long", async () => {
    const { events, take } = open()
    await take(batch("a", 0))
    await take(batch("a", 1))
    await vi.advanceTimersByTimeAsync(SPACING)
    assert.deepStrictEqual(events, [["a: 0"], ["a: 1"]])
  })

  it("are one for each step where steps take longer", async () => {
    const { events, take } = open()
    for (let seq = 0; seq < 3; seq++) {
      await take(batch("a", seq))
      vi.advanceTimersByTime(SPACING)
    }
    assert.deepStrictEqual(events, [["a: 0"], ["a: 1"], ["a: 2"]])
  })

  it("slow the steps down while nobody reads", async () => {
    const { take } = open(() => new Promise(() => {}))
    let isOver = false
    void take(batch("a", 0)).then(() => {
      isOver = true
    })
    await vi.advanceTimersByTimeAsync(10 * SPACING)
    assert.isFalse(isOver)
  })

  it("fail whoever gives the next, if they can't be published", async () => {
    const { take } = open(() => Promise.reject(new Error("closed")))
    await take(batch("a", 0)).then(
      () => assert.fail("it was taken"),
      (error) => assert.strictEqual(error.message, "closed")
    )
  })

  it("lose and repeat nothing and keep each sequence's order, however steps and time go on", async () => {
    const step = FastCheck.record({
      sequences: FastCheck.subarray(["a", "b", "c"]),
      millis: FastCheck.nat({ max: 2 * SPACING })
    })
    await FastCheck.assert(
      FastCheck.asyncProperty(FastCheck.array(step, { maxLength: 30 }), async (steps) => {
        const said: Record<string, Array<number>> = { a: [], b: [], c: [] }
        const heard: Record<string, Array<number>> = { a: [], b: [], c: [] }
        const publish = async ({ batches }: StepResult) => {
          for (const { request, seq, tokens } of batches) {
            assert.strictEqual(seq, heard[request]?.length)
            heard[request]?.push(...tokens)
          }
        }
        const coalescer = new Coalescer({ publish })
        for (const { millis, sequences } of steps) {
          const batches = sequences.map((name) => batch(name, said[name]?.length ?? 0))
          for (const { request, tokens } of batches) said[request]?.push(...tokens)
          await coalescer.take({ batches, failures: [] })
          await vi.advanceTimersByTimeAsync(millis)
        }
        await vi.advanceTimersByTimeAsync(SPACING)
        assert.deepStrictEqual(heard, said)
      })
    )
  })
})
