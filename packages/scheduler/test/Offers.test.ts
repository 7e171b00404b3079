/** What is decided by the index of a model's replicas, beside what is decided by looking at each of them. */
import { describe, expect, it } from "@effect/vitest"
import { Millis, type ReplicaId } from "@helixflow/schema/Ids"
import { type ModelSpec, type PolicyName, type ReplicaState, ReplicaStatus } from "@helixflow/schema/Model"
import type { Reason } from "@helixflow/schema/Scheduling"
import * as FastCheck from "effect/FastCheck"
import * as Decide from "../src/Decide.ts"
import * as Eviction from "../src/Eviction.ts"
import * as FleetChange from "../src/FleetChange.ts"
import * as FleetView from "../src/FleetView.ts"
import { choose, mayKeep, policies } from "../src/Policy.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import { now } from "./decisions.ts"
import { deviceId, model, replicaStatus } from "./fixtures.ts"

const names: ReadonlyArray<PolicyName> = ["best-fit", "first-fit", "round-robin", "least-loaded", "affinity"]
const mostly = <A>(usual: A, ...others: ReadonlyArray<A>) =>
  FastCheck.oneof(
    { weight: 6, arbitrary: FastCheck.constant(usual) },
    { weight: 1, arbitrary: FastCheck.constantFrom(...others) }
  )
// powers of two, so that a sum of shares is the same in any order
const slots = FastCheck.constantFrom(1, 2, 4, 8, 8)
const revision = mostly("new", "old")
/** Times about now, and about as long ago as the time that counts. */
const about = (millis: number) =>
  FastCheck.tuple(FastCheck.integer({ min: -1, max: 1 }), FastCheck.constantFrom(0, millis)).map(
    ([more, ago]) => now + more - ago
  )

const figures = FastCheck.record({
  state: mostly<ReplicaState>("ready", "loading", "failed", "draining"),
  life: mostly<FleetView.Life>("running", "starting", "stopping"),
  revision,
  slots: FastCheck.constantFrom(0, 1, 2, 4, 8, 8, 8),
  taken: FastCheck.constantFrom(0, 0, 1, 1, 2, 3, 5, 8),
  heldUntil: mostly(0, now - 1, now, now + 1, now + 2),
  since: about(defaults.failedGrace),
  loadedAt: FastCheck.option(about(defaults.exclusion))
})
type Figures = typeof figures extends FastCheck.Arbitrary<infer A> ? A : never

/** Which replica: of the model that is asked for, or 0: of another. */
const which = FastCheck.nat(12)
const step = FastCheck.oneof(
  FastCheck.record({ op: FastCheck.constant("be" as const), which, figures }),
  FastCheck.record({
    op: FastCheck.constant("use" as const),
    which,
    by: FastCheck.constantFrom(1 as const, -1 as const)
  }),
  FastCheck.record({ op: FastCheck.constant("leave" as const), which }),
  FastCheck.record({
    op: FastCheck.constant("configure" as const),
    slots,
    revision,
    policy: FastCheck.constantFrom(...names)
  })
)
type Step = typeof step extends FastCheck.Arbitrary<infer A> ? A : never

const other = model("other", { slots: 8 })
const idOf = (which: number): ReplicaId => replicaStatus(which === 0 ? other : model("m"), deviceId(which)).replica

const become = (view: FleetView.FleetView, which: number, { life, loadedAt, heldUntil, taken, ...said }: Figures) => {
  const spec = which === 0 ? other : model("m")
  const status = new ReplicaStatus({
    ...replicaStatus(spec, deviceId(which)),
    ...said,
    since: Millis.make(said.since),
    lastFailure: "killed"
  })
  const there = FleetChange.assumeLoad(FleetChange.forgetReplica(view, status.replica, 0), status, 1, now)
  return FleetChange.updateReplica(there, status.replica, () => ({ life, loadedAt, heldUntil, taken }))
}

/** The view after the step, and the model as it is configured then. */
const after = (view: FleetView.FleetView, spec: ModelSpec, step: Step): readonly [FleetView.FleetView, ModelSpec] => {
  switch (step.op) {
    case "be":
      return [become(view, step.which, step.figures), spec]
    case "use":
      return [FleetChange.takeSlot(view, idOf(step.which), step.by, now), spec]
    case "leave":
      return [FleetChange.forgetReplica(view, idOf(step.which), now), spec]
    case "configure": {
      const configured = model("m", step)
      return [FleetChange.withModels(view, [configured, other]), configured]
    }
  }
}

type Entry = FleetView.ReplicaEntry

/** The standing of the model's replicas, and the one to use, by looking at each. */
const scanned = (view: FleetView.FleetView, query: Decide.Query) => {
  const { affinity = null, not, prefer = null, revision = null, since, spec } = query
  const asked = revision ?? spec.revision
  const current = { ready: 0, usable: [] as Entry[], excluded: [] as Entry[] }
  const outdated = { ready: 0, usable: [] as Entry[], excluded: [] as Entry[] }
  const reasons: Array<Reason> = []
  const abandoned: Array<ReplicaId> = []
  let [coming, live, until] = [false, 0, Number.POSITIVE_INFINITY]
  for (const replica of FleetView.replicasOf(view, spec.id)) {
    const entry = FleetView.replica(view, replica)
    if (entry === undefined) continue
    const isOutdated = entry.status.revision !== asked
    const own = FleetView.stateOf(entry)
    if (isOutdated && revision !== null) {
      coming ||= revision === spec.revision && own === "loading"
      continue
    }
    const fresh =
      own === "loading" ||
      (entry.loadedAt !== null && entry.loadedAt >= since) ||
      (own === "ready" && entry.status.since > since)
    const barred = not.includes(replica) && !fresh
    const lingers = revision !== null && revision !== spec.revision && entry.life === "stopping"
    if (barred) reasons.push({ _tag: "Excluded", replica })
    switch (lingers ? entry.status.state : own) {
      case "ready": {
        const offers = isOutdated ? outdated : current
        offers.ready += 1
        const slots = FleetView.slotsOf(entry, spec)
        if (entry.taken >= slots || entry.heldUntil > now) {
          reasons.push({ _tag: "NoFreeSlot", replica, slots })
          if (entry.taken < slots) until = Math.min(until, entry.heldUntil)
        } else (barred ? offers.excluded : offers.usable).push(entry)
        break
      }
      case "loading":
        live += 1
        coming = true
        reasons.push({ _tag: "ReplicaLoading", replica })
        break
      case "failed":
        reasons.push({ _tag: "ReplicaFailed", replica, failure: entry.status.lastFailure ?? "" })
        if (Eviction.abandoned(entry, now, defaults)) {
          abandoned.push(replica)
          break
        }
        if (!isOutdated) live += 1
        coming ||= !barred && !isOutdated
        until = Math.min(until, entry.status.since + defaults.failedGrace)
        break
      default:
        reasons.push({ _tag: "ReplicaDraining", replica })
    }
  }
  const { excluded, usable } = current.ready > 0 ? current : outdated
  const use = (entries: ReadonlyArray<Entry>): ReplicaId | undefined => {
    const candidates = entries.map((entry) => ({
      id: entry.status.replica,
      taken: entry.taken,
      slots: FleetView.slotsOf(entry, spec)
    }))
    const meanTaken = candidates.reduce((sum, { slots, taken }) => sum + taken / slots, 0) / candidates.length
    const kept = candidates.find(({ id }) => id === prefer)
    if (kept !== undefined && mayKeep(kept, meanTaken)) return kept.id
    const state = { cursor: FleetView.cursor(view, spec.id), affinity, meanTaken }
    return choose(candidates, policies[spec.policy].use, state)?.candidate.id
  }
  live += current.ready
  return {
    standing: { coming, live, alone: live + outdated.ready === 0, abandoned: abandoned.sort(), until },
    usable: usable.map(({ status }) => status.replica),
    reasons,
    use: use(usable),
    again: use(excluded)
  }
}

const scenario = FastCheck.record({
  policy: FastCheck.constantFrom(...names),
  first: FastCheck.array(figures, { maxLength: 10 }),
  steps: FastCheck.array(step, { maxLength: 12 }),
  cursor: FastCheck.option(which),
  not: FastCheck.oneof(
    FastCheck.array(which, { maxLength: 2 }),
    FastCheck.subarray(Array.from(Array(13).keys()), { minLength: 9 })
  ),
  prefer: FastCheck.option(which),
  affinity: FastCheck.option(FastCheck.nat(100).map((key) => `conversation ${key}`)),
  revision: mostly(null, "old", "new"),
  since: mostly(now - defaults.exclusion, now - defaults.exclusion + 1, now - 1, now, now + 1)
})

describe("the replicas of a model", () => {
  it("are chosen among as by a scan of all of them, after any history", () => {
    const chosen = new Map<string, number>()
    FastCheck.assert(
      FastCheck.property(scenario, ({ affinity, cursor, first, not, policy, prefer, revision, since, steps }) => {
        let spec = model("m", { slots: 8, revision: "new", policy })
        let view = FleetChange.withModels(FleetView.empty, [spec, other])
        first.forEach((figures, which) => {
          view = become(view, which, figures)
        })
        for (const step of steps) [view, spec] = after(view, spec, step)
        if (cursor !== null) view = FleetChange.moveCursor(view, spec.id, idOf(cursor))
        const query: Decide.Query = {
          spec,
          not: not.map(idOf),
          since,
          deadline: now + 1,
          affinity,
          prefer: prefer === null ? null : idOf(prefer),
          revision,
          wanted: () => false
        }
        const scan = scanned(view, query)
        const standing = Decide.standing(view, query, now, defaults)
        const { abandoned, alone, coming, live, until } = standing
        expect({ abandoned: [...abandoned].sort(), alone, coming, live, until }).toEqual(scan.standing)
        const told = Decide.told(view, query, standing, now)
        expect(told.usable.map(({ status }) => status.replica)).toEqual(scan.usable)
        expect(told.reasons.map(([, reason]) => reason)).toEqual(scan.reasons)
        const decision = Decide.attempt(view, query, now, defaults)
        const replica = decision._tag === "Placed" ? decision.replica.status.replica : undefined
        // where nothing else can be done, those that failed the request before
        const again =
          coming || now < since + defaults.exclusion || decision._tag === "Replaced" ? undefined : scan.again
        expect(replica).toBe(scan.use ?? again)
        const kind = scan.use !== undefined ? spec.policy : again !== undefined ? "again" : decision._tag
        chosen.set(kind, (chosen.get(kind) ?? 0) + 1)
      }),
      { numRuns: 3000, seed: 11 }
    )
    // all of it was tried
    for (const kind of [...names, "again", "Wait", "Replaced"]) expect(chosen.get(kind)).toBeGreaterThan(10)
  })
})
