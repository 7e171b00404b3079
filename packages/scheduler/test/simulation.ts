/** Runs a troubled world step by step, and looks at it after each. */
import type { RequestId } from "@helixflow/schema/Ids"
import { VirtualFleet } from "../src/VirtualFleet.ts"
import { broken, left, servable } from "./invariants.ts"
import { troubledWorld } from "./troubledWorld.ts"

export interface Simulated {
  readonly seed: number
  readonly steps: number
  readonly events: number
  /** Of all events: the same for the same seed. */
  readonly hash: string
  readonly requests: number
  readonly loads: number
  readonly failedLoads: number
  readonly evictions: number
  /** Requests whose worker died; and whose client left before they had a place. */
  readonly lost: number
  readonly left: number
  /** Times that requests were preempted, and those that went on to their end all the same. */
  readonly preemptions: number
  readonly resumed: number
  readonly refused: Readonly<Record<string, number>>
  /** Between the coming of a request and its place or end, at most. */
  readonly longestWaitSteps: number
  readonly longestWaitMillis: number
}

/** FNV-1a, going on from an earlier text. */
const hashed = (hash: number, text: string): number => {
  let value = hash
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193)
  return value
}

/** Throws where an invariant breaks, with the step and the seed. */
export const simulate = (seed: number, leastSteps: number, kinds: "alike" | "mixed" = "alike"): Simulated => {
  let steps = 0
  const fleet = new VirtualFleet(troubledWorld(seed, () => steps < leastSteps, kinds))
  const cameAt = new Map<RequestId, number>()
  const refused: Record<string, number> = {}
  let hash = 0x811c9dc5
  let events = 0
  const counts = {
    requests: 0,
    lost: 0,
    left: 0,
    preemptions: 0,
    resumed: 0,
    longestWaitSteps: 0,
    longestWaitMillis: 0
  }

  const fail = (what: ReadonlyArray<string>): void => {
    if (what.length > 0) throw new Error(`seed ${seed}, step ${steps}, at ${fleet.core.now}: ${what.join("; ")}`)
  }
  const waited = (request: RequestId): void => {
    counts.longestWaitSteps = Math.max(counts.longestWaitSteps, steps - (cameAt.get(request) ?? steps))
    cameAt.delete(request)
  }
  const take = (): void => {
    for (const event of fleet.events.splice(0)) {
      events += 1
      hash = hashed(hash, JSON.stringify(event))
      if (event._tag === "Arrived") cameAt.set(event.request, steps)
      if (event._tag === "Placed") waited(event.placement.request)
    }
    for (const { arrival, end, preempted, refusal, waitedMillis } of fleet.outcomes.splice(0)) {
      counts.requests += 1
      counts.longestWaitMillis = Math.max(counts.longestWaitMillis, waitedMillis)
      if (cameAt.has(arrival.request)) waited(arrival.request)
      counts.preemptions += preempted
      if (end === "completed" && preempted > 0) counts.resumed += 1
      if (end === "lost") counts.lost += 1
      if (end === "left") counts.left += 1
      if (refusal !== undefined) refused[refusal] = (refused[refusal] ?? 0) + 1
    }
  }

  let passedOver: ReadonlyArray<string> = []
  while (fleet.isAwaited) {
    const settled = fleet.core.settled
    if (!fleet.step()) fail(["it came to rest while somebody waited"])
    steps += 1
    take()
    fail(broken(fleet))
    if (fleet.core.settled === settled) continue
    const could = servable(fleet)
    // what a decision makes possible for others is seen with the next
    fail(could.filter((what) => passedOver.includes(what)))
    passedOver = could
  }
  fleet.close()
  take()
  fail(left(fleet))
  const { begun, evicted, failed } = fleet.replicas
  return {
    seed,
    steps,
    events,
    hash: (hash >>> 0).toString(16).padStart(8, "0"),
    ...counts,
    refused,
    loads: [...begun.values()].reduce((sum, loads) => sum + loads, 0),
    failedLoads: failed,
    evictions: evicted
  }
}
