import { ChildId } from "@helixflow/schema/Ids"
import { Strategy } from "@helixflow/schema/Supervisor"
import { FastCheck as fc } from "effect"
import { describe, expect, it } from "vitest"
import { admits, findChild, open, step } from "../src/Supervision.ts"
import type { Event } from "../src/SupervisionState.ts"
import { a, b, exitOf, policyOf, reasons } from "./supervisedWorld.ts"

describe("invariants over random histories", () => {
  /**
   * A world that answers late and in any order: each number picks the next thing that can happen (an instance starts, fails, ends,
   * stops; a timer fires; someone asks for something) and lets some time pass.
   */
  const runHistory = (strategy: Strategy, choices: ReadonlyArray<readonly [number, number]>) => {
    const policy = policyOf(strategy)
    const types = ["permanent", "transient", "temporary"] as const
    const plans = ["a", "b", "c", "d"].map((id, i) => ({ id: ChildId.make(id), restart: types[i % 3] ?? "permanent" }))
    let now = 0
    let next = open(policy, plans, now)
    const instances = new Map<ChildId, "starting" | "running">()
    const told = new Set<ChildId>()
    const timers = new Map<ChildId, number>()
    const restarts: Array<number> = []
    const order: Array<ChildId> = plans.map(({ id }) => id)
    let escalated = false

    const check = () => {
      for (const action of next.actions) {
        switch (action._tag) {
          case "Start":
            expect(instances.has(action.id), `two instances of ${action.id}`).toBe(false)
            expect(escalated).toBe(false)
            if (strategy !== "one_for_one") {
              const earlier = order.slice(0, order.indexOf(action.id))
              const startsLater = [...instances.keys()].filter((id) => !earlier.includes(id))
              expect([...told], `${action.id} starts while another stops`).toEqual([])
              const lives = earlier.map((id) => findChild(next.state, id)?.life._tag)
              expect(lives.every((life) => life === "Running" || life === "Stopped" || life === undefined)).toBe(true)
              for (const id of startsLater) expect(instances.get(id), `${id} starts out of order`).not.toBe("starting")
            }
            instances.set(action.id, "starting")
            break
          case "Stop":
            expect(instances.has(action.id), `nothing of ${action.id} to stop`).toBe(true)
            if (strategy !== "one_for_one") {
              for (const id of told) expect(order.indexOf(action.id)).toBeGreaterThan(order.indexOf(id))
            }
            expect(told.has(action.id), `${action.id} is stopped twice`).toBe(false)
            told.add(action.id)
            break
          case "Backoff":
            restarts.push(now)
            timers.set(action.id, now + action.delay)
            break
          case "Forget":
            expect(instances.has(action.id), `${action.id} is forgotten alive`).toBe(false)
            order.splice(order.indexOf(action.id), 1)
            break
          case "Escalate":
            escalated = true
            break
          case "End":
            expect(instances.size).toBe(0)
        }
      }
      const within = restarts.filter((at) => at >= now - policy.periodMillis).length
      expect(within).toBeLessThanOrEqual(policy.intensity)
    }

    const possible = (): Array<Event> => {
      const events: Array<Event> = [
        { _tag: "TerminateAsked", id: a },
        { _tag: "RestartAsked", id: b }
      ]
      for (const [id, life] of instances) {
        if (life === "starting") events.push({ _tag: "ChildStarted", id }, { _tag: "StartFailed", id, message: "no" })
        if (told.has(id)) events.push({ _tag: "ChildExited", id, reason: reasons.shutdown })
        else if (life === "running") events.push(exitOf(id, "failure"), exitOf(id, "normal"))
      }
      for (const [id, at] of timers) if (at <= now) events.push({ _tag: "TimerFired", id })
      if (!next.state.children.some(({ plan }) => plan.id === a)) {
        events.push({ _tag: "StartAsked", plan: { id: a, restart: "permanent" } })
      }
      return events
    }

    check()
    for (const [choice, delay] of choices) {
      now += delay
      const events = possible()
      const event = events[choice % events.length] ?? expect.fail()
      if (event._tag === "ChildStarted") instances.set(event.id, "running")
      if (event._tag === "StartFailed" || event._tag === "ChildExited") {
        instances.delete(event.id)
        told.delete(event.id)
      }
      if (event._tag === "TimerFired") timers.delete(event.id)
      if (event._tag === "StartAsked" && admits(next.state, event.plan.id) === "Admitted") order.push(event.plan.id)
      next = step(next.state, event, now)
      check()
    }
    return { next, instances, escalated }
  }

  const history = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 200 })), { minLength: 1, maxLength: 120 })

  it.each(Strategy.literals)(
    "%s: one instance a child, ordered starts, restarts within the intensity unless it escalates",
    (strategy) => {
      fc.assert(
        fc.property(history, (choices) => {
          runHistory(strategy, choices)
        }),
        { seed: 7, numRuns: 500 }
      )
    }
  )

  it.each(Strategy.literals)("%s: whatever happened, a drain whose stops are answered ends", (strategy) => {
    fc.assert(
      fc.property(history, (choices) => {
        const { escalated, instances, next } = runHistory(strategy, choices)
        let state = step(next.state, { _tag: "DrainAsked" }, 1e6).state
        for (const id of [...instances.keys()].toReversed()) {
          state = step(state, { _tag: "ChildExited", id, reason: reasons.shutdown }, 1e6).state
        }
        expect(state.phase._tag).toBe(next.state.phase._tag.startsWith("Escalat") ? "Escalated" : "Drained")
        expect(state.children).toEqual([])
        expect(escalated && instances.size > 0).toBe(false)
      }),
      { seed: 7, numRuns: 200 }
    )
  })
})
