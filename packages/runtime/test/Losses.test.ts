import { FastCheck as fc } from "effect"
import { describe, expect, it } from "vitest"
import * as Losses from "../src/Losses.ts"

const limits = { attempts: 4, millis: 1_000, totalMillis: 10_000 }

/** Loses attempts, each after so many tokens in all, until it is over. */
const lose = (reached: ReadonlyArray<number>, millisBetween = 0) => {
  let losses = Losses.none
  for (const [index, tokens] of reached.entries()) {
    losses = Losses.lost(losses, tokens, false, index * millisBetween, null)
    if (Losses.isOver(losses, limits, index * millisBetween)) return `over after ${index + 1}`
  }
  return "goes on"
}

describe("a request that loses its workers", () => {
  it("is over after so many attempts that get no further", () => {
    expect(lose([5, 5, 5, 5, 5])).toBe("over after 4")
    expect(lose([0, 0, 0, 0])).toBe("over after 4")
  })

  it("goes on as long as each attempt gets further", () => {
    expect(lose(Array.from({ length: 100 }, (_, n) => n))).toBe("goes on")
    expect(lose([1, 1, 1, 2, 2, 2, 3, 3, 3])).toBe("goes on")
  })

  it("is over when it got no further for too long, however few the attempts", () => {
    expect(lose([5, 5, 5], 500)).toBe("over after 3")
    expect(lose([5, 6, 7], 500)).toBe("goes on")
  })

  it("has its losses behind it when it is preempted: the pause that follows counts for none of them", () => {
    const once = Losses.lost(Losses.none, 5, true, 1_000, null)
    const preempted = Losses.over(once, 1_300)
    expect(preempted).toMatchObject({ inVain: 0, crashes: 1, spent: 300 })
    // lost again an hour later
    const again = Losses.lost(preempted, 9, false, 3_600_000, null)
    expect(again).toMatchObject({ inVain: 1, since: 3_600_000, spent: 300 })
    expect(Losses.isOver(again, limits, 3_600_000)).toBe(false)
    expect(Losses.over(Losses.none, null)).toBe(Losses.none)
  })

  it("ends, whatever happens, when it has no more tokens to gain", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 100, maxLength: 100 }), (steps) => {
        let tokens = 0
        const reached = steps.map((step) => {
          tokens = Math.min(20, tokens + (step % 3 === 0 ? 1 : 0))
          return tokens
        })
        expect(lose(reached)).toMatch(/^over/)
      })
    )
  })

  it("is over when all that it waited together is too much, and what it computed in between does not count", () => {
    let losses = Losses.none
    let now = 0
    const lose = (computed: number, waited: number) => {
      now += computed
      losses = Losses.lost(losses, losses.reached + 1, false, now, now - computed)
      now += waited
      return Losses.isOver(losses, limits, now)
    }
    for (let n = 0; n < 11; n++) expect(lose(3_600_000, 900)).toBe(false)
    expect(lose(3_600_000, 900)).toBe(true)
  })

  it("pauses longer and longer, and not for ever", () => {
    const pauses = Array.from({ length: 10 }, (_, n) => Losses.pause({ ...Losses.none, inVain: n + 1 }))
    expect(pauses).toEqual([25, 50, 100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000])
  })
})

describe("a suspect", () => {
  it("is whoever was there at two crashes, whatever it gained in between", () => {
    const once = Losses.lost(Losses.none, 3, true, 0, null)
    expect(Losses.isSuspect(once)).toBe(false)
    expect(Losses.isSuspect(Losses.lost(once, 9, true, 1, null))).toBe(true)
  })

  it("is nobody whose workers were killed from outside", () => {
    let losses = Losses.none
    for (let n = 0; n < 50; n++) losses = Losses.lost(losses, n, false, n, null)
    expect(Losses.isSuspect(losses)).toBe(false)
  })

  it("that got further alone is none until the next crash", () => {
    const cleared = Losses.cleared(7, Losses.none)
    expect(Losses.isSuspect(cleared)).toBe(false)
    expect(Losses.isSuspect(Losses.lost(cleared, 8, true, 0, null))).toBe(true)
  })
})
