import { FastCheck as fc } from "effect"
import { describe, expect, it } from "vitest"
import { initial, judge, look } from "../src/Liveness.ts"
import type { ProcessState } from "../src/ProcessState.ts"

const limits = { freezeMillis: 1_000, stepMillis: 5_000 }
const interval = 250

const asleep: ProcessState = { stopped: false, busy: false, cpuTicks: 7, startTicks: 1 }

/** What a worker that answers nothing is found to be, and after how long. */
const fate = (
  stateAt: (look: number) => ProcessState | undefined,
  answered: (look: number) => boolean = () => false
) => {
  let liveness = initial
  for (let n = 1; n <= 60; n++) {
    liveness = look(liveness, stateAt(n), answered(n), interval)
    const verdict = judge(liveness, limits)
    if (verdict !== null) return { after: n * interval, ...verdict }
  }
  return "lives"
}

describe("a worker that does not answer", () => {
  it("is given up soon when it is stopped, without blame", () => {
    expect(fate(() => ({ ...asleep, stopped: true }))).toEqual({
      after: 1_000,
      reason: "it was stopped by a signal for 1 s",
      crashed: false
    })
  })

  it("is given up soon when it is stopped even though it owes no answer", () => {
    expect(
      fate(
        () => ({ ...asleep, stopped: true }),
        () => true
      )
    ).toMatchObject({ after: 1_000, crashed: false })
  })

  it("is given up soon when it does nothing", () => {
    expect(fate(() => asleep)).toEqual({ after: 1_250, reason: "it hangs: no answer for 1.3 s", crashed: true })
  })

  it.each([
    ["it computes", (n: number) => ({ ...asleep, cpuTicks: n })],
    ["it wants to compute", () => ({ ...asleep, busy: true })],
    ["the system does not tell", () => undefined]
  ])("is given the time of a long step when %s", (_, stateAt) => {
    expect(fate(stateAt)).toEqual({ after: 5_000, reason: "no answer for 5 s", crashed: true })
  })

  it("is let live while it is stopped for moments only", () => {
    expect(
      fate(
        (n) => ({ ...asleep, stopped: n % 4 !== 0 }),
        (n) => n % 4 === 0
      )
    ).toBe("lives")
  })
})

it("lets whoever answers in time live, whatever the system says", () => {
  fc.assert(
    fc.property(fc.array(fc.record({ cpuTicks: fc.nat(), busy: fc.boolean() }), { minLength: 60 }), (states) => {
      const verdict = fate(
        (n) => ({ ...asleep, ...states[n - 1] }),
        (n) => n % 3 === 0
      )
      expect(verdict).toBe("lives")
    })
  )
})
