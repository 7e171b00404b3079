import { describe, expect, it } from "vitest"
import { blows, kinds, questions } from "../src/ChaosPlan.ts"

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

  it("asks different things, of every kind alike, of different lengths", () => {
    const asked = questions(1, 64, 100)
    expect(
      new Set(asked.map(({ body }) => JSON.stringify(body["messages"] ?? body["prompt"] ?? body["input"]))).size
    ).toBe(64)
    for (const kind of kinds) expect(asked.filter((question) => question.kind === kind)).toHaveLength(8)
    const lengths = asked.flatMap(({ body }) => (typeof body["max_tokens"] === "number" ? [body["max_tokens"]] : []))
    for (const length of lengths) expect(length).toBeGreaterThanOrEqual(50)
    for (const length of lengths) expect(length).toBeLessThanOrEqual(100)
    expect(new Set(lengths).size).toBeGreaterThan(20)
  })

  it("has those who hang up do so well before the end", () => {
    const leaving = questions(1, 64, 100).filter(({ hangUpAfter }) => hangUpAfter !== null)
    expect(new Set(leaving.map(({ kind }) => kind))).toEqual(new Set(["hung up and resumed"]))
    for (const { body, hangUpAfter } of leaving) expect(hangUpAfter).toBeLessThan(Number(body["max_tokens"]) / 2)
  })
})
