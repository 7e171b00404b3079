import { ChildId } from "@helixflow/schema/Ids"
import { RestartType, Strategy } from "@helixflow/schema/Supervisor"
import { FastCheck as fc } from "effect"
import { describe, expect, it } from "vitest"
import { admits, afterExit, findChild, open, step } from "../src/Supervision.ts"
import type { ChildPlan, Event, ExitReason, State, Step, SupervisionPolicy } from "../src/SupervisionState.ts"

const [a, b, c] = [ChildId.make("a"), ChildId.make("b"), ChildId.make("c")]

const reasons = {
  normal: { _tag: "Normal" },
  shutdown: { _tag: "Shutdown" },
  failure: { _tag: "Failure", message: "boom" }
} satisfies Record<string, ExitReason>

const policyOf = (strategy: Strategy, change: Partial<SupervisionPolicy> = {}): SupervisionPolicy => ({
  strategy,
  intensity: 3,
  periodMillis: 1_000,
  backoff: { minMillis: 100, factor: 2, maxMillis: 500 },
  quietMillis: 10_000,
  ...change
})

const plansOf = (restart: Partial<Record<"a" | "b" | "c", RestartType>> = {}): ReadonlyArray<ChildPlan> => [
  { id: a, restart: restart.a ?? "permanent" },
  { id: b, restart: restart.b ?? "permanent" },
  { id: c, restart: restart.c ?? "permanent" }
]

/** A world in which every child starts and stops at once when told to, and time passes only in backoffs. */
const obedientWorld = (policy: SupervisionPolicy, plans: ReadonlyArray<ChildPlan>) => {
  let now = 0
  let state: State
  let log: Array<string> = []
  const take = (next: Step) => {
    state = next.state
    const replies: Array<Event> = []
    for (const action of next.actions) {
      if (action._tag !== "Confirm")
        log.push("id" in action ? `${action._tag.toLowerCase()} ${action.id}` : action._tag.toLowerCase())
      if (action._tag === "Start") replies.push({ _tag: "ChildStarted", id: action.id })
      if (action._tag === "Stop") replies.push({ _tag: "ChildExited", id: action.id, reason: reasons.shutdown })
      if (action._tag === "Backoff") {
        now += action.delay
        replies.push({ _tag: "TimerFired", id: action.id })
      }
    }
    for (const reply of replies) send(reply)
  }
  const send = (event: Event) => take(step(state, event, now))
  const opened = open(policy, plans, now)
  state = opened.state
  take(opened)
  return {
    /** Sends an event; gives what was done because of it. */
    trace: (event: Event): string => {
      log = []
      send(event)
      return log.join(", ")
    },
    started: log.join(", "),
    pass: (millis: number) => {
      now += millis
    },
    state: () => state,
    ids: () => state.children.map(({ plan }) => plan.id).join(" ")
  }
}

/** Rows of `cell | cell | …`, a header first. */
const table = (text: string): Array<Array<string>> =>
  text
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.split("|").map((cell) => cell.trim()))

const exitOf = (id: ChildId, reason: string): Event => ({
  _tag: "ChildExited",
  id,
  reason: reason === "normal" || reason === "shutdown" ? reasons[reason] : reasons.failure
})

describe("what an exit means", () => {
  it.each(
    table(`
      restart   | normal  | shutdown | failure
      permanent | restart | restart  | restart
      transient | done    | done     | restart
      temporary | forget  | forget   | forget
    `)
  )("a %s child: normal %s, shutdown %s, failure %s", (restart, normal, shutdown, failure) => {
    const type = RestartType.literals.find((literal) => literal === restart) ?? expect.fail()
    expect(Object.values(reasons).map((reason) => afterExit(type, reason))).toEqual([normal, shutdown, failure])
  })

  it.each(
    table(`
      strategy     | b is      | and ends with | what is done
      one_for_one  | permanent | normal        | backoff b, start b
      one_for_one  | permanent | shutdown      | backoff b, start b
      one_for_one  | permanent | failure       | backoff b, start b
      one_for_one  | transient | normal        |
      one_for_one  | transient | shutdown      |
      one_for_one  | transient | failure       | backoff b, start b
      one_for_one  | temporary | normal        | forget b
      one_for_one  | temporary | shutdown      | forget b
      one_for_one  | temporary | failure       | forget b
      rest_for_one | permanent | normal        | backoff b, stop c, start b, start c
      rest_for_one | permanent | shutdown      | backoff b, stop c, start b, start c
      rest_for_one | permanent | failure       | backoff b, stop c, start b, start c
      rest_for_one | transient | normal        |
      rest_for_one | transient | shutdown      |
      rest_for_one | transient | failure       | backoff b, stop c, start b, start c
      rest_for_one | temporary | normal        | forget b
      rest_for_one | temporary | shutdown      | forget b
      rest_for_one | temporary | failure       | forget b
      one_for_all  | permanent | normal        | backoff b, stop c, stop a, start a, start b, start c
      one_for_all  | permanent | shutdown      | backoff b, stop c, stop a, start a, start b, start c
      one_for_all  | permanent | failure       | backoff b, stop c, stop a, start a, start b, start c
      one_for_all  | transient | normal        |
      one_for_all  | transient | shutdown      |
      one_for_all  | transient | failure       | backoff b, stop c, stop a, start a, start b, start c
      one_for_all  | temporary | normal        | forget b
      one_for_all  | temporary | shutdown      | forget b
      one_for_all  | temporary | failure       | forget b
    `)
  )("%s, a %s child ends with %s: %s", (strategy, restart, reason, expected) => {
    const world = obedientWorld(policyOf(Strategy.literals.find((literal) => literal === strategy) ?? expect.fail()), [
      ...plansOf({ b: RestartType.literals.find((literal) => literal === restart) ?? expect.fail() })
    ])
    expect(world.started).toBe("start a, start b, start c")
    expect(world.trace(exitOf(b, reason ?? ""))).toBe(expected)
  })
})

describe("whom a failure takes along", () => {
  it.each(
    table(`
      strategy     | fails | what is done
      one_for_one  | a     | backoff a, start a
      one_for_one  | b     | backoff b, start b
      one_for_one  | c     | backoff c, start c
      rest_for_one | a     | backoff a, stop c, stop b, start a, start b, start c
      rest_for_one | b     | backoff b, stop c, start b, start c
      rest_for_one | c     | backoff c, start c
      one_for_all  | a     | backoff a, stop c, stop b, start a, start b, start c
      one_for_all  | b     | backoff b, stop c, stop a, start a, start b, start c
      one_for_all  | c     | backoff c, stop b, stop a, start a, start b, start c
    `)
  )("%s, %s fails: %s", (strategy, failing, expected) => {
    const world = obedientWorld(
      policyOf(Strategy.literals.find((literal) => literal === strategy) ?? expect.fail()),
      plansOf()
    )
    expect(world.trace(exitOf(ChildId.make(failing ?? ""), "failure"))).toBe(expected)
  })

  it.each(
    table(`
      sibling b is          | what is done when a fails
      permanent and running | backoff a, stop c, stop b, start a, start b, start c
      transient and running | backoff a, stop c, stop b, start a, start b, start c
      transient and done    | backoff a, stop c, start a, start b, start c
      temporary and running | backoff a, stop c, stop b, forget b, start a, start c
      temporary and done    | backoff a, stop c, start a, start c
    `)
  )("one_for_all with a sibling that is %s: %s", (sibling = "", expected) => {
    const restart = RestartType.literals.find((literal) => sibling.startsWith(literal)) ?? expect.fail()
    const world = obedientWorld(policyOf("one_for_all"), plansOf({ b: restart }))
    if (sibling.endsWith("done")) world.trace(exitOf(b, "normal"))
    expect(world.trace(exitOf(a, "failure"))).toBe(expected)
  })

  it("waits for all that stop before the first start, and for each start before the next", () => {
    const policy = policyOf("one_for_all", { backoff: { minMillis: 0, factor: 1, maxMillis: 0 } })
    let state = obedientWorld(policy, plansOf()).state()
    const send = (event: Event) => {
      const next = step(state, event, 0)
      state = next.state
      return next.actions.map((action) => ("id" in action ? `${action._tag} ${action.id}` : action._tag))
    }
    expect(send(exitOf(b, "failure"))).toEqual(["Backoff b", "Stop c"])
    expect(send({ _tag: "TimerFired", id: b })).toEqual([])
    expect(send(exitOf(c, "shutdown"))).toEqual(["Stop a"])
    expect(send(exitOf(a, "shutdown"))).toEqual(["Start a"])
    expect(send({ _tag: "ChildStarted", id: a })).toEqual(["Start b"])
    expect(send({ _tag: "ChildStarted", id: a })).toEqual([])
    expect(send({ _tag: "ChildStarted", id: b })).toEqual(["Start c"])
  })
})

describe("a child that somebody outside has ended", () => {
  const killed: Event = { _tag: "ChildExited", id: a, reason: { _tag: "Failure", message: "killed", blameless: true } }

  it("is started again at once, however often", () => {
    const world = obedientWorld(policyOf("one_for_one"), plansOf())
    for (let times = 0; times < 20; times++) expect(world.trace(killed)).toBe("backoff a, start a")
    expect(world.state().restarts).toEqual([])
  })

  it("costs none of the restarts that failures have", () => {
    const world = obedientWorld(policyOf("one_for_one"), plansOf())
    for (let times = 0; times < 3; times++) {
      expect(world.trace(killed)).toBe("backoff a, start a")
      expect(world.trace(exitOf(a, "failure"))).toBe("backoff a, start a")
    }
    expect(world.trace(exitOf(a, "failure"))).toContain("escalate")
  })

  it("counts where it had not come to run", () => {
    const { state } = open(policyOf("one_for_one", { intensity: 0 }), plansOf(), 0)
    expect(step(state, killed, 0).state.phase._tag).toBe("Escalated")
  })
})

describe("backoff", () => {
  const failing = (policy: SupervisionPolicy) => {
    const world = obedientWorld(policy, plansOf())
    return {
      ...world,
      fail: () => {
        const before = step(world.state(), exitOf(a, "failure"), 0).actions
        world.trace(exitOf(a, "failure"))
        return before.flatMap((action) => (action._tag === "Backoff" ? [action.delay] : []))
      }
    }
  }

  it("doubles up to the cap, per child", () => {
    const { fail } = failing(policyOf("one_for_one", { intensity: 100 }))
    expect([fail(), fail(), fail(), fail(), fail()].flat()).toEqual([100, 200, 400, 500, 500])
  })

  it("starts over after a quiet time, and not a millisecond before", () => {
    const policy = policyOf("one_for_one", { intensity: 100 })
    const opened = obedientWorld(policy, plansOf())
    opened.trace(exitOf(a, "failure"))
    const since = findChild(opened.state(), a)?.since ?? expect.fail()
    const delayAfter = (ran: number) =>
      step(opened.state(), exitOf(a, "failure"), since + ran).actions.flatMap((action) =>
        action._tag === "Backoff" ? [action.delay] : []
      )
    expect(delayAfter(9_999)).toEqual([200])
    expect(delayAfter(10_000)).toEqual([100])
  })

  it("ignores a timer that fires too early or for a child that no longer waits", () => {
    const { state } = step(obedientWorld(policyOf("one_for_one"), plansOf()).state(), exitOf(a, "failure"), 0)
    const timer: Event = { _tag: "TimerFired", id: a }
    expect(step(state, timer, 99)).toEqual({ state, actions: [] })
    const started = step(state, timer, 100)
    expect(started.actions).toEqual([{ _tag: "Start", id: a }])
    expect(step(started.state, timer, 100)).toEqual({ state: started.state, actions: [] })
  })
})

describe("intensity", () => {
  const policy = policyOf("one_for_one", { intensity: 2, backoff: { minMillis: 0, factor: 1, maxMillis: 0 } })

  it("escalates on the restart after `intensity` within `period`: the last started stops first, then the end", () => {
    const world = obedientWorld(policy, plansOf())
    world.trace(exitOf(a, "failure"))
    world.trace(exitOf(b, "failure"))
    expect(world.trace(exitOf(a, "failure"))).toBe("forget a, stop c, forget c, stop b, forget b, escalate")
    const reason = "a failed (boom) after 2 restarts within 1000 ms"
    expect(world.state().phase).toEqual({ _tag: "Escalated", reason })
    expect(admits(world.state(), a)).toBe("GivenUp")
  })

  it("counts a restart exactly a period ago, and none older", () => {
    const actionsAfter = (millis: number) => {
      const world = obedientWorld(policy, plansOf())
      world.trace(exitOf(a, "failure"))
      world.trace(exitOf(a, "failure"))
      world.pass(millis)
      return world.trace(exitOf(a, "failure"))
    }
    expect(actionsAfter(1_000)).toContain("escalate")
    expect(actionsAfter(1_001)).toBe("backoff a, start a")
  })

  it("says which child failed, why, and how often", () => {
    const { state } = open({ ...policy, intensity: 0 }, plansOf().slice(0, 1), 0)
    expect(step(state, { _tag: "StartFailed", id: a, message: "no device" }, 0).actions).toContainEqual({
      _tag: "Escalate",
      reason: "a failed (no device) after 0 restarts within 1000 ms"
    })
  })

  it("counts what failed to start, and not what was asked for", () => {
    const world = obedientWorld(policy, plansOf())
    for (let i = 0; i < 5; i++) {
      expect(world.trace({ _tag: "RestartAsked", id: a })).toBe("stop a, start a")
    }
  })
})

describe("children by message", () => {
  const dynamic = (restart: RestartType): Event => ({ _tag: "StartAsked", plan: { id: c, restart } })
  const two = plansOf().slice(0, 2)

  it("forgets a dynamic child when it is done, and one whose first start fails", () => {
    const world = obedientWorld(policyOf("one_for_one"), two)
    expect(world.trace(dynamic("transient"))).toBe("start c")
    expect(world.trace(exitOf(c, "normal"))).toBe("forget c")
    const starting = step(world.state(), dynamic("permanent"), 0).state
    expect(step(starting, { _tag: "StartFailed", id: c, message: "no" }, 0).actions).toEqual([
      { _tag: "Forget", id: c, failure: null }
    ])
  })

  it("forgets a dynamic child whose first start ends in any other way", () => {
    const starting = step(obedientWorld(policyOf("one_for_one"), two).state(), dynamic("permanent"), 0).state
    expect(step(starting, exitOf(c, "failure"), 0).actions).toEqual([{ _tag: "Forget", id: c, failure: null }])
  })

  it("confirms a child's first start only, and none that was told to stop meanwhile", () => {
    const starting = step(obedientWorld(policyOf("one_for_one"), two).state(), dynamic("permanent"), 0).state
    const started: Event = { _tag: "ChildStarted", id: c }
    expect(step(starting, started, 0).actions).toEqual([{ _tag: "Confirm", id: c }])
    const stopping = step(starting, { _tag: "RestartAsked", id: c }, 0).state
    expect(step(stopping, started, 0)).toEqual({ state: stopping, actions: [] })
    const again = step(stopping, exitOf(c, "shutdown"), 0)
    expect(again.actions).toEqual([{ _tag: "Start", id: c }])
    const running = step(again.state, started, 0)
    expect(running.actions).toEqual([{ _tag: "Confirm", id: c }])
    const failed = step(step(running.state, exitOf(c, "failure"), 0).state, { _tag: "TimerFired", id: c }, 100).state
    expect(step(failed, started, 100).actions).toEqual([])
  })

  it("restarts a dynamic child that has run once, whether its run or a later start fails", () => {
    const world = obedientWorld(policyOf("one_for_one"), two)
    world.trace(dynamic("transient"))
    expect(world.trace(exitOf(c, "failure"))).toBe("backoff c, start c")
    const waiting = step(world.state(), exitOf(c, "failure"), 0).state
    const starting = step(waiting, { _tag: "TimerFired", id: c }, 1_000).state
    const { actions } = step(starting, { _tag: "StartFailed", id: c, message: "no" }, 1_000)
    expect(actions).toMatchObject([{ _tag: "Backoff", id: c, delay: 400, count: 3, failure: "no" }])
  })

  it("takes no child of a name that is there, unless that one is done, and none while draining", () => {
    const world = obedientWorld(policyOf("one_for_one"), plansOf({ c: "transient" }))
    expect(admits(world.state(), c)).toBe("AlreadyPresent")
    expect(world.trace(dynamic("permanent"))).toBe("")
    world.trace(exitOf(c, "normal"))
    expect(admits(world.state(), c)).toBe("Admitted")
    const draining = step(world.state(), { _tag: "DrainAsked" }, 0).state
    expect(admits(draining, c)).toBe("ShuttingDown")
    expect(step(draining, dynamic("permanent"), 0).state).toBe(draining)
  })

  it.each(
    table(`
      strategy     | restart of b asked
      one_for_one  | stop b, start b
      rest_for_one | stop c, stop b, start b, start c
      one_for_all  | stop c, stop b, stop a, start a, start b, start c
    `)
  )("%s, a restart is asked: %s", (strategy, expected) => {
    const world = obedientWorld(
      policyOf(Strategy.literals.find((literal) => literal === strategy) ?? expect.fail()),
      plansOf()
    )
    expect(world.trace({ _tag: "RestartAsked", id: b })).toBe(expected)
  })

  it("starts a child at once that backs off, or is done, when a restart is asked", () => {
    const world = obedientWorld(policyOf("one_for_one"), plansOf({ b: "transient" }))
    const waiting = step(world.state(), exitOf(a, "failure"), 0).state
    expect(step(waiting, { _tag: "RestartAsked", id: a }, 0).actions).toEqual([{ _tag: "Start", id: a }])
    world.trace(exitOf(b, "normal"))
    expect(world.trace({ _tag: "RestartAsked", id: b })).toBe("start b")
  })

  it("terminates one child alone, under every strategy, with or without an instance", () => {
    for (const strategy of Strategy.literals) {
      const world = obedientWorld(policyOf(strategy), plansOf())
      expect(world.trace({ _tag: "TerminateAsked", id: b })).toBe("stop b, forget b")
      const waiting = step(world.state(), exitOf(c, "failure"), 0).state
      expect(step(waiting, { _tag: "TerminateAsked", id: c }, 0).actions).toContainEqual({
        _tag: "Forget",
        id: c,
        failure: null
      })
    }
  })

  it("turns a stop for a restart into a stop for good", () => {
    const world = obedientWorld(policyOf("one_for_one"), two)
    const stopping = step(world.state(), { _tag: "RestartAsked", id: a }, 0).state
    const { actions, state } = step(stopping, { _tag: "TerminateAsked", id: a }, 0)
    expect(actions).toEqual([])
    expect(step(state, exitOf(a, "shutdown"), 0).actions).toEqual([{ _tag: "Forget", id: a, failure: null }])
  })

  it("drains in reverse start order, one after the other", () => {
    for (const strategy of Strategy.literals) {
      const world = obedientWorld(policyOf(strategy), plansOf())
      expect(world.trace({ _tag: "DrainAsked" })).toBe("stop c, forget c, stop b, forget b, stop a, forget a, end")
      expect(world.ids()).toBe("")
    }
  })

  it("ends at once when there is nobody to stop", () => {
    expect(obedientWorld(policyOf("one_for_one"), []).trace({ _tag: "DrainAsked" })).toBe("end")
  })

  it("does not hold up one_for_one children by a sibling that starts, stops or backs off", () => {
    const world = obedientWorld(policyOf("one_for_one"), two)
    const starting = step(world.state(), dynamic("permanent"), 0).state
    const fourth = ChildId.make("d")
    const asked: Event = { _tag: "StartAsked", plan: { id: fourth, restart: "permanent" } }
    expect(step(starting, asked, 0).actions).toEqual([{ _tag: "Start", id: fourth }])
    const stopping = step(starting, { _tag: "TerminateAsked", id: c }, 0).state
    expect(step(stopping, { _tag: "TerminateAsked", id: a }, 0).actions).toEqual([{ _tag: "Stop", id: a }])
  })
})

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
