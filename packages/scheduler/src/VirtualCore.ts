/** The scheduler's pure core in a time that is a number: what happens is done at its instant, one thing after the other. */
import type { ModelSpec } from "@helixflow/schema/Model"
import * as Advance from "./Advance.ts"
import { Agenda } from "./Agenda.ts"
import type { SchedulerOptions } from "./SchedulerOptions.ts"
import * as State from "./SchedulerState.ts"

/** Of what happens at one instant: after everything that was recorded or asked for. */
export const lastOrder = Number.MAX_SAFE_INTEGER

export class VirtualCore {
  private readonly agenda = new Agenda<() => void>()
  private wakesAt = Number.POSITIVE_INFINITY
  state: State.SchedulerState
  /** How often it was decided anew for those who wait. */
  settled = 0

  constructor(
    options: SchedulerOptions,
    models: ReadonlyArray<ModelSpec>,
    public now: number,
    private readonly perform: (command: State.Command) => void,
    /** Whether somebody is there for whom something may change; if nobody is, what may be asked for is of no use. */
    readonly isAwaited: () => boolean
  ) {
    this.state = State.withModels(State.empty(options, now), models)
  }

  /** Does the next of what is to happen. False: nothing is. */
  step(): boolean {
    const next = this.agenda.next()
    if (next === undefined) return false
    this.now = next.at
    next.happening()
    return true
  }

  at(at: number, order: number, happening: () => void): void {
    this.agenda.add({ at, order, happening })
  }

  /** So much later; what takes no time happens at once, before anything else. */
  after(millis: number, happening: () => void): void {
    if (millis <= 0) happening()
    else this.at(this.now + millis, lastOrder, happening)
  }

  /** Takes a step, decides anew for those who wait, and carries out what follows. */
  settle(step: State.Step): void {
    const advanced = Advance.advance(step.state, this.now)
    this.state = advanced.state
    for (const command of step.commands) this.perform(command)
    for (const command of advanced.commands) this.perform(command)
    this.wakeInTime()
    this.settled += 1
  }

  wakeInTime(): void {
    if (this.state.wakeAt >= this.wakesAt || !this.isAwaited()) return
    const at = Math.max(this.now + 1, Math.ceil(this.state.wakeAt))
    this.wakesAt = at
    this.at(at, lastOrder, () => {
      if (this.now < this.wakesAt) return
      this.wakesAt = Number.POSITIVE_INFINITY
      this.settle({ state: this.state, commands: [] })
    })
  }
}
