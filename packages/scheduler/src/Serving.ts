/** Who of those who wait is served: whom the lanes' order says, as long as there is something to give. */
import type { ModelId } from "@helixflow/schema/Ids"
import * as FairShare from "./FairShare.ts"
import * as Queue from "./Queue.ts"

/**
 * What became of an attempt to serve somebody: `served` takes them out and charges their tenant; `refused` takes them out; `passed`
 * leaves them and asks the next of the lane; `blocked` leaves them and the rest of the lane.
 */
export interface Attempt<S> {
  readonly outcome: "served" | "refused" | "passed" | "blocked"
  readonly state: S
}

/**
 * Serves whom it can: one of each open lane in turn, over and over, until a whole round serves nobody. `attempt` is told what
 * the tenant is charged.
 */
export const serve = <S>(
  queue: Queue.Queue,
  initial: S,
  now: number,
  attempt: (state: S, waiting: Queue.Waiting, charged: number) => Attempt<S>,
  isOpen: (model: ModelId) => boolean = () => true
): { readonly queue: Queue.Queue; readonly state: S } => {
  let current = queue
  let state = initial
  let open = queue.turns.filter(isOpen)
  while (open.length > 0) {
    const still: Array<ModelId> = []
    for (const model of open) {
      let passed = Queue.none
      for (;;) {
        const waiting = Queue.next(current, model, now, passed)
        if (waiting === undefined) break
        const charged = waiting.past?.charged ?? FairShare.estimate(Queue.share(current, model), waiting.caller.tenant)
        const attempted = attempt(state, waiting, charged)
        state = attempted.state
        if (attempted.outcome === "blocked") break
        if (attempted.outcome === "passed") {
          passed = new Set(passed).add(waiting.ticket)
          continue
        }
        if (attempted.outcome === "served") current = Queue.charge(current, waiting, now).queue
        current = Queue.turned(Queue.without(current, waiting), model)
        still.push(model)
        break
      }
    }
    open = still
  }
  return { queue: current, state }
}
