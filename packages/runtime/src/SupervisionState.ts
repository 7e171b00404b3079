/**
 * What a supervisor knows, what can happen to it, and what it can decide to do: the data of `Supervision.ts`. All times are
 * milliseconds on one clock.
 *
 * The life of a child, from which it can be terminated anywhere:
 *
 *   Waiting ----its turn----> Starting ---started---> Running ----done----> Stopped
 *    ^  ^  ^                     |                       |                     |
 *    |  |  |                     +--------failed---------+                     |
 *    |  |  |                                 |                                 |
 *    |  |  +--TimerFired-- BackingOff <------+ (or the supervisor escalates)   |
 *    |  |                      |                                               |
 *    |  +-----RestartAsked-----+-----------------------------------------------+
 *    |
 *    +--exited-- Stopping <--its turn-- Ending <--a sibling failed, or RestartAsked-- Starting, Running
 */
import type { ChildId } from "@helixflow/schema/Ids"
import type { RestartType, Strategy } from "@helixflow/schema/Supervisor"
import type { RestartPolicy } from "./RestartPolicy.ts"

export interface SupervisionPolicy extends RestartPolicy {
  readonly strategy: Strategy
}

/** What the core must know of a child. */
export interface ChildPlan {
  readonly id: ChildId
  readonly restart: RestartType
  /** How long it waits before restarts, where that differs from its siblings. */
  readonly pace?: Pick<RestartPolicy, "backoff" | "quietMillis">
}

/** Why an instance is gone. `Shutdown` is an end that was asked for; only `Failure` brings a transient child back. */
export type ExitReason =
  | { readonly _tag: "Normal" }
  | { readonly _tag: "Shutdown" }
  /** `blameless`: somebody outside has ended it (`kill`), which says nothing of whether it can run. */
  | { readonly _tag: "Failure"; readonly message: string; readonly blameless?: boolean }

/** What becomes of a child once its instance has stopped. */
export type Afterwards = "restart" | "forget"

export type Life =
  /** To be started when its turn comes. */
  | { readonly _tag: "Waiting" }
  | { readonly _tag: "Starting" }
  | { readonly _tag: "Running" }
  | { readonly _tag: "BackingOff"; readonly until: number }
  /** To be stopped when its turn comes; its instance still runs. */
  | { readonly _tag: "Ending"; readonly afterwards: Afterwards }
  | { readonly _tag: "Stopping"; readonly afterwards: Afterwards }
  /** Done, and kept: a transient child of the supervisor's own list. */
  | { readonly _tag: "Stopped" }

export interface Child {
  readonly plan: ChildPlan
  /** `static`: in the list that the supervisor was made with. `dynamic`: asked for later, and forgotten when done. */
  readonly origin: "static" | "dynamic"
  readonly life: Life
  /** When `life` was entered. */
  readonly since: number
  /** How often it was told to start, and how often it then ran. */
  readonly attempts: number
  readonly starts: number
  /** Restarts since it last ran quietly; the backoff's exponent. */
  readonly streak: number
  readonly lastFailure: string | null
}

/** Drained and escalated supervisors have no child left and take none. */
export type Phase =
  | { readonly _tag: "Serving" }
  | { readonly _tag: "Draining" }
  | { readonly _tag: "Drained" }
  | { readonly _tag: "Escalating"; readonly reason: string }
  | { readonly _tag: "Escalated"; readonly reason: string }

export interface State {
  readonly policy: SupervisionPolicy
  readonly phase: Phase
  /** In start order. */
  readonly children: ReadonlyArray<Child>
  /** When the restarts of the current period were decided, oldest first. */
  readonly restarts: ReadonlyArray<number>
}

export type Event =
  | { readonly _tag: "StartAsked"; readonly plan: ChildPlan }
  | { readonly _tag: "ChildStarted"; readonly id: ChildId }
  | { readonly _tag: "StartFailed"; readonly id: ChildId; readonly message: string }
  | { readonly _tag: "ChildExited"; readonly id: ChildId; readonly reason: ExitReason }
  | { readonly _tag: "TimerFired"; readonly id: ChildId }
  | { readonly _tag: "RestartAsked"; readonly id: ChildId }
  | { readonly _tag: "TerminateAsked"; readonly id: ChildId }
  | { readonly _tag: "DrainAsked" }

export type Action =
  | { readonly _tag: "Start"; readonly id: ChildId }
  | { readonly _tag: "Stop"; readonly id: ChildId }
  /** The child runs for the first time: whoever waits for it may go on. */
  | { readonly _tag: "Confirm"; readonly id: ChildId }
  /** A failed child will be started again: send `TimerFired` after `delay`. `count` is its restarts in a row, this included. */
  | {
      readonly _tag: "Backoff"
      readonly id: ChildId
      readonly delay: number
      readonly count: number
      readonly failure: string
    }
  /** The child is gone for good; `failure` is why, where nobody has asked for it and nobody else is told. */
  | { readonly _tag: "Forget"; readonly id: ChildId; readonly failure: string | null }
  /** The last two, after which nothing follows: the supervisor has ended by itself, or as asked. */
  | { readonly _tag: "Escalate"; readonly reason: string }
  | { readonly _tag: "End" }

export interface Step {
  readonly state: State
  readonly actions: ReadonlyArray<Action>
}
