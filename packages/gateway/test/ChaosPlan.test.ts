import { describe, expect, it } from "vitest"
import { blows, questions } from "../src/ChaosPlan.ts"

describe("the plan of a chaos", () => {
  it("follows from its seed", () => {
    expect(blows(7, 60_000, 500)).toEqual(blows(7, 60_000, 500))
    expect(blows(7, 60_000, 500)).not.toEqual(blows(8, 60_000, 500))
    expect(questions(7, 20, 64)).toEqual(questions(7, 20, 64))
    expect(questions(7, 20, 64)).not.toEqual(questions(8, 20, 64))
  })

  it("harms at its rate until its end, in every way", () => {
    const plan = blows(1, 60_000, 1_000)
    expect(plan.map(({ at }) => at)).toEqual(Array.from({ length: 60 }, (_, n) => (n + 1) * 1_000))
    expect(new Set(plan.map(({ harm }) => harm))).toEqual(new Set(["kill", "freeze", "starve"]))
    for (const { pick } of plan) expect(pick).toBeGreaterThanOrEqual(0)
    for (const { pick } of plan) expect(pick).toBeLessThan(1)
  })

  it("asks different things, greedy and sampled, of different lengths", () => {
    const asked = questions(1, 64, 100)
    expect(new Set(asked.map(({ messages }) => messages[0]?.content)).size).toBe(64)
    expect(asked.filter(({ temperature }) => temperature === 0)).toHaveLength(32)
    for (const { maxTokens } of asked) expect(maxTokens).toBeGreaterThanOrEqual(50)
    for (const { maxTokens } of asked) expect(maxTokens).toBeLessThanOrEqual(100)
    expect(new Set(asked.map(({ maxTokens }) => maxTokens)).size).toBeGreaterThan(20)
  })
})
