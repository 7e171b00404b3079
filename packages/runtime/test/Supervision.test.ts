import { ChildId } from "@helixflow/schema/Ids"
import { RestartType, Strategy } from "@helixflow/schema/Supervisor"
import { describe, expect, it } from "vitest"
import { admits, afterExit, findChild, open, step } from "../src/Supervision.ts"
import type { Event, SupervisionPolicy } from "../src/SupervisionState.ts"
import { a, b, c, exitOf, obedientWorld, plansOf, policyOf, reasons, table } from "./supervisedWorld.ts"

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
