/** Three children, and what they do when they are told to. */
import { ChildId } from "@helixflow/schema/Ids"
import type { RestartType, Strategy } from "@helixflow/schema/Supervisor"
import { open, step } from "../src/Supervision.ts"
import type { ChildPlan, Event, ExitReason, State, Step, SupervisionPolicy } from "../src/SupervisionState.ts"

export const [a, b, c] = [ChildId.make("a"), ChildId.make("b"), ChildId.make("c")]

export const reasons = {
  normal: { _tag: "Normal" },
  shutdown: { _tag: "Shutdown" },
  failure: { _tag: "Failure", message: "boom" }
} satisfies Record<string, ExitReason>

export const policyOf = (strategy: Strategy, change: Partial<SupervisionPolicy> = {}): SupervisionPolicy => ({
  strategy,
  intensity: 3,
  periodMillis: 1_000,
  backoff: { minMillis: 100, factor: 2, maxMillis: 500 },
  quietMillis: 10_000,
  ...change
})

export const plansOf = (restart: Partial<Record<"a" | "b" | "c", RestartType>> = {}): ReadonlyArray<ChildPlan> => [
  { id: a, restart: restart.a ?? "permanent" },
  { id: b, restart: restart.b ?? "permanent" },
  { id: c, restart: restart.c ?? "permanent" }
]

/** A world in which every child starts and stops at once when told to, and time passes only in backoffs. */
export const obedientWorld = (policy: SupervisionPolicy, plans: ReadonlyArray<ChildPlan>) => {
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
export const table = (text: string): Array<Array<string>> =>
  text
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.split("|").map((cell) => cell.trim()))

export const exitOf = (id: ChildId, reason: string): Event => ({
  _tag: "ChildExited",
  id,
  reason: reason === "normal" || reason === "shutdown" ? reasons[reason] : reasons.failure
})
