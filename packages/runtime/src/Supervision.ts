/**
 * A supervisor's decisions, as OTP takes them (erlang/otp `lib/stdlib/src/supervisor.erl`), as a pure function:
 * `step(state, event, now) -> { state, actions }`. `Supervisor.ts` is the shell that carries the actions out and reports back.
 *
 * Invariants:
 * - at most one instance of a child: `Start` is emitted only out of `Waiting`, where the previous instance is known to be gone;
 * - every `Start` is answered by one `ChildExited` or `StartFailed`; every `Stop` by a `ChildExited` of the instance it stops;
 * - start order is the order of `children`, stop order its reverse; under `rest_for_one` and `one_for_all` nothing starts while
 *   anything stops, and a child starts only when all before it run (or are done).
 *
 * The core reads no clock: `now` is milliseconds on whatever clock the shell has.
 */
import type { ChildId } from "@helixflow/schema/Ids"
import type { RestartType } from "@helixflow/schema/Supervisor"
import { delayOf, withinPeriod } from "./RestartPolicy.ts"
import type {
  Action,
  Child,
  ChildPlan,
  Event,
  ExitReason,
  Life,
  Phase,
  State,
  Step,
  SupervisionPolicy
} from "./SupervisionState.ts"

/** What an exit means for the child: `done` is kept when static and forgotten when dynamic. */
export const afterExit = (restart: RestartType, reason: ExitReason): "restart" | "done" | "forget" => {
  if (restart === "permanent") return "restart"
  if (restart === "temporary") return "forget"
  return reason._tag === "Failure" ? "restart" : "done"
}

/** A supervisor with its first children, and the start of the first of them. The ids must differ. */
export const open = (policy: SupervisionPolicy, plans: ReadonlyArray<ChildPlan>, now: number): Step =>
  settle({
    state: {
      policy,
      phase: { _tag: "Serving" },
      children: plans.map((plan) => newChild(plan, "static", now)),
      restarts: []
    },
    actions: [],
    now
  })

/** The one transition. An event that has been overtaken (a stale timer, an unknown child) changes nothing. */
export const step = (state: State, event: Event, now: number): Step => settle(apply({ state, actions: [], now }, event))

export const findChild = (state: State, id: ChildId): Child | undefined =>
  state.children.find((child) => child.plan.id === id)

/** Whether `StartAsked` for this id would be taken. A child that is done makes room for another of its name. */
export const admits = (state: State, id: ChildId): "Admitted" | "AlreadyPresent" | "ShuttingDown" | "GivenUp" => {
  switch (state.phase._tag) {
    case "Draining":
    case "Drained":
      return "ShuttingDown"
    case "Escalating":
    case "Escalated":
      return "GivenUp"
    case "Serving": {
      const present = findChild(state, id)
      return present === undefined || present.life._tag === "Stopped" ? "Admitted" : "AlreadyPresent"
    }
  }
}

/** A step in the making. */
interface Draft {
  readonly state: State
  readonly actions: ReadonlyArray<Action>
  readonly now: number
}

const newChild = (plan: ChildPlan, origin: Child["origin"], now: number): Child => ({
  plan,
  origin,
  life: { _tag: "Waiting" },
  since: now,
  attempts: 0,
  starts: 0,
  streak: 0,
  lastFailure: null
})

/** Whoever asked for a dynamic child is told that it could not start, and decides; it is not tried again. */
const isFirstStart = ({ origin, starts }: Child): boolean => origin === "dynamic" && starts === 0

const hasInstance = ({ life }: Child): boolean =>
  life._tag === "Starting" || life._tag === "Running" || life._tag === "Ending" || life._tag === "Stopping"

const emit = (draft: Draft, ...actions: ReadonlyArray<Action>): Draft => ({
  ...draft,
  actions: [...draft.actions, ...actions]
})

const replace = (draft: Draft, id: ChildId, change: Partial<Child>): Draft => ({
  ...draft,
  state: {
    ...draft.state,
    children: draft.state.children.map((child) => (child.plan.id === id ? { ...child, ...change } : child))
  }
})

const become = (draft: Draft, id: ChildId, life: Life, change: Partial<Child> = {}): Draft =>
  replace(draft, id, { ...change, life, since: draft.now })

const forget = (draft: Draft, id: ChildId, failure: string | null = null): Draft =>
  emit(
    {
      ...draft,
      state: { ...draft.state, children: draft.state.children.filter((child) => child.plan.id !== id) }
    },
    { _tag: "Forget", id, failure }
  )

const apply = (draft: Draft, event: Event): Draft => {
  if (event._tag === "DrainAsked") return drain(draft)
  if (event._tag === "StartAsked") return startAsked(draft, event.plan)
  const child = findChild(draft.state, event.id)
  if (child === undefined) return draft
  switch (event._tag) {
    case "ChildStarted":
      return started(draft, child)
    case "StartFailed":
      return isFirstStart(child) && hasInstance(child)
        ? forget(draft, event.id)
        : exited(draft, child, { _tag: "Failure", message: event.message })
    case "ChildExited":
      return exited(draft, child, event.reason)
    case "TimerFired":
      return child.life._tag === "BackingOff" && child.life.until <= draft.now
        ? become(draft, event.id, { _tag: "Waiting" })
        : draft
    case "RestartAsked":
      return draft.state.phase._tag === "Serving" ? restartAsked(draft, child) : draft
    case "TerminateAsked":
      return terminate(draft, child)
  }
}

const startAsked = (draft: Draft, plan: ChildPlan): Draft => {
  if (admits(draft.state, plan.id) !== "Admitted") return draft
  const others = draft.state.children.filter((child) => child.plan.id !== plan.id)
  return { ...draft, state: { ...draft.state, children: [...others, newChild(plan, "dynamic", draft.now)] } }
}

/** Counts only where it was awaited: one that has been told to stop meanwhile has not started. */
const started = (draft: Draft, { life, plan: { id }, starts }: Child): Draft => {
  if (life._tag !== "Starting") return draft
  const running = become(draft, id, { _tag: "Running" }, { starts: starts + 1 })
  return starts === 0 ? emit(running, { _tag: "Confirm", id }) : running
}

/** The instance of `child` is gone. */
const exited = (draft: Draft, child: Child, reason: ExitReason): Draft => {
  const { id } = child.plan
  const lastFailure = reason._tag === "Failure" ? reason.message : child.lastFailure
  switch (child.life._tag) {
    case "Ending":
    case "Stopping":
      return child.life.afterwards === "forget"
        ? forget(draft, id)
        : become(draft, id, { _tag: "Waiting" }, { lastFailure })
    case "Starting":
    case "Running": {
      if (child.life._tag === "Starting" && isFirstStart(child)) return forget(draft, id)
      const verdict = afterExit(child.plan.restart, reason)
      if (verdict === "restart") return restart(draft, { ...child, lastFailure }, reason)
      return verdict === "forget" || child.origin === "dynamic"
        ? forget(draft, id, reason._tag === "Failure" ? reason.message : null)
        : become(draft, id, { _tag: "Stopped" }, { lastFailure })
    }
    default:
      return draft
  }
}

/**
 * Counts a restart against the intensity, then backs off and takes along whom the strategy says. A child that ran and was ended by
 * somebody outside is started again at once and costs nothing: each of its runs has shown that it can.
 */
const restart = (draft: Draft, child: Child, reason: ExitReason): Draft => {
  const { now, state } = draft
  const { id } = child.plan
  const failure = reason._tag === "Failure" ? reason.message : "it ended"
  const blameless = reason._tag === "Failure" && reason.blameless === true && child.life._tag === "Running"
  const restarts = [...withinPeriod(state.policy, state.restarts, now), ...(blameless ? [] : [now])]
  const counted: Draft = { ...draft, state: { ...state, restarts } }
  if (!blameless && restarts.length > state.policy.intensity) {
    const { intensity, periodMillis } = state.policy
    const reason = `${id} failed (${failure}) after ${intensity} restarts within ${periodMillis} ms`
    return closeAll(forget(counted, id), { _tag: "Escalating", reason })
  }
  const { backoff, quietMillis } = child.plan.pace ?? state.policy
  const quiet = child.life._tag === "Running" && now - child.since >= quietMillis
  const streak = quiet ? 0 : child.streak
  const delay = blameless ? 0 : delayOf({ ...state.policy, backoff }, streak)
  const count = blameless ? streak : streak + 1
  const life: Life = { _tag: "BackingOff", until: now + delay }
  const backingOff = become(counted, id, life, { streak: count, lastFailure: child.lastFailure })
  return emit(bringDown(backingOff, id), { _tag: "Backoff", id, delay, count, failure })
}

/** Ends the siblings that share the fate of `id`. Temporary ones do not come back; done ones are done again (as in OTP). */
const bringDown = (draft: Draft, id: ChildId): Draft => {
  const { children, policy } = draft.state
  const at = children.findIndex((child) => child.plan.id === id)
  const affected = { one_for_one: [], rest_for_one: children.slice(at + 1), one_for_all: children }[policy.strategy]
  return affected
    .filter((child) => child.plan.id !== id)
    .reduce((current, { life, plan }) => {
      if (life._tag === "Stopped") return become(current, plan.id, { _tag: "Waiting" })
      if (life._tag !== "Starting" && life._tag !== "Running") return current
      const afterwards = plan.restart === "temporary" ? "forget" : "restart"
      return become(current, plan.id, { _tag: "Ending", afterwards })
    }, draft)
}

/** Not a failure: no backoff, nothing counted. Whoever shares the child's fate in a failure does so here too. */
const restartAsked = (draft: Draft, { life, plan }: Child): Draft => {
  switch (life._tag) {
    case "Starting":
    case "Running":
      return bringDown(become(draft, plan.id, { _tag: "Ending", afterwards: "restart" }, { streak: 0 }), plan.id)
    case "BackingOff":
    case "Stopped":
      return bringDown(become(draft, plan.id, { _tag: "Waiting" }, { streak: 0 }), plan.id)
    default:
      return draft
  }
}

const terminate = (draft: Draft, child: Child): Draft => {
  if (!hasInstance(child)) return forget(draft, child.plan.id)
  return child.life._tag === "Stopping"
    ? replace(draft, child.plan.id, { life: { _tag: "Stopping", afterwards: "forget" } })
    : become(draft, child.plan.id, { _tag: "Ending", afterwards: "forget" })
}

const drain = (draft: Draft): Draft =>
  draft.state.phase._tag === "Serving" ? closeAll(draft, { _tag: "Draining" }) : draft

const closeAll = (draft: Draft, phase: Phase): Draft =>
  draft.state.children.reduce(terminate, { ...draft, state: { ...draft.state, phase } })

/** Whether the order of children binds: one_for_one children are independent until the supervisor itself goes. */
const isOrdered = ({ phase, policy }: State): boolean => policy.strategy !== "one_for_one" || phase._tag !== "Serving"

/** Stops and starts everything whose turn has come. */
const settle = (draft: Draft): Step => {
  const { actions, state } = finish(startDue(stopDue(draft)))
  return { state, actions }
}

const stopDue = (draft: Draft): Draft => {
  let current = draft
  let laterIsGoing = false
  for (const { life, plan } of draft.state.children.toReversed()) {
    if (life._tag === "Ending" && !(laterIsGoing && isOrdered(draft.state))) {
      const stopping = become(current, plan.id, { _tag: "Stopping", afterwards: life.afterwards })
      current = emit(stopping, { _tag: "Stop", id: plan.id })
    }
    laterIsGoing ||= life._tag === "Ending" || life._tag === "Stopping"
  }
  return current
}

const startDue = (draft: Draft): Draft => {
  if (draft.state.phase._tag !== "Serving") return draft
  let current = draft
  for (const { attempts, life, plan } of draft.state.children) {
    if (life._tag === "Waiting" && isTurn(current.state, plan.id)) {
      const starting = become(current, plan.id, { _tag: "Starting" }, { attempts: attempts + 1 })
      current = emit(starting, { _tag: "Start", id: plan.id })
    }
  }
  return current
}

const isTurn = ({ children, policy }: State, id: ChildId): boolean => {
  const at = children.findIndex((child) => child.plan.id === id)
  const child = children[at]
  const before = children.slice(0, at)
  if (policy.strategy === "one_for_one") {
    // Only the first start of the static children is in sequence; afterwards nobody waits for anybody.
    const isFirst = child?.origin === "static" && child.attempts === 0
    return !isFirst || before.every(({ life }) => life._tag !== "Waiting" && life._tag !== "Starting")
  }
  return (
    children.every(({ life }) => life._tag !== "Ending" && life._tag !== "Stopping") &&
    before.every(({ life }) => life._tag === "Running" || life._tag === "Stopped")
  )
}

const finish = (draft: Draft): Draft => {
  const { children, phase } = draft.state
  if (children.length > 0) return draft
  const enter = (phase: Phase, action: Action) => emit({ ...draft, state: { ...draft.state, phase } }, action)
  switch (phase._tag) {
    case "Draining":
      return enter({ _tag: "Drained" }, { _tag: "End" })
    case "Escalating":
      return enter({ ...phase, _tag: "Escalated" }, { ...phase, _tag: "Escalate" })
    default:
      return draft
  }
}
