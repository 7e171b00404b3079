/** Why a request for a model would go where it goes, and why not elsewhere: the same rules as `Decide`, asked of every device. */
import type { DeviceKind } from "@helixflow/schema/Device"
import { Bytes, type DeviceId, type ModelId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import { DeviceVerdict, Explanation, type Reason } from "@helixflow/schema/Scheduling"
import * as Decide from "./Decide.ts"
import type * as Defrag from "./Defrag.ts"
import { DeviceGroups } from "./DeviceGroups.ts"
import * as Eviction from "./Eviction.ts"
import * as Fit from "./Fit.ts"
import * as FleetView from "./FleetView.ts"
import { compareIds, policies } from "./Policy.ts"
import { formatBytes, reasonText } from "./ReasonText.ts"
import type { SchedulerOptions } from "./SchedulerOptions.ts"

type Verdict = Omit<typeof DeviceVerdict.Type, "device" | "waitingHelps">

const nothing = Bytes.make(0)

/** Whether a replica of the model has its memory there already. */
const isOn = (view: FleetView.FleetView, spec: ModelSpec, device: DeviceId): boolean =>
  FleetView.replicasOn(view, device).some((id) => {
    const status = FleetView.replica(view, id)?.status
    return status?.model === spec.id && (status.state === "loading" || status.state === "ready")
  })

const verdict = (
  view: FleetView.FleetView,
  spec: ModelSpec,
  own: Decide.Standing & Decide.Told,
  device: FleetView.DeviceEntry,
  wanted: Eviction.Wanted,
  now: number,
  options: SchedulerOptions
): Verdict => {
  const { id, kind, total } = device.status.device
  const policy = policies[spec.policy]
  const state = { cursor: FleetView.cursor(view, spec.id) }
  const here = own.usable.find((entry) => FleetView.devicesOf(entry).includes(id))
  if (here !== undefined) {
    const { replica } = here.status
    const score = policy.use({ id: replica, taken: here.taken, slots: FleetView.slotsOf(here, spec) }, state)
    return { action: "use", replica, score, reasons: [], missing: nothing, evict: [] }
  }
  const fit = Fit.fit(view, spec, device, now)
  const missing = isOn(view, spec, id) ? nothing : Fit.shortOf(spec, device)
  const reasons: Array<Reason> = own.reasons.flatMap(([on, reason]) => (on.includes(id) ? [reason] : []))
  reasons.push(...fit.reasons)
  if (own.live >= spec.replicas) reasons.push({ _tag: "ReplicaLimit", limit: spec.replicas })
  // A load elsewhere is waited for, so it is a reason against one here.
  const elsewhere = own.reasons.flatMap(([on, reason]) =>
    !on.includes(id) && own.coming && reason._tag === "ReplicaLoading" ? [reason] : []
  )
  reasons.push(...elsewhere)
  const allowed = own.live < spec.replicas && !own.coming && fit.missing !== null
  const crowded = fit.missing !== null && (fit.missing > 0 || fit.conflicts.length > 0)
  const leaving = (upTo: Eviction.Rank) => {
    if (!crowded) return undefined
    const room = { device: id, model: spec.id, missing: fit.missing ?? 0, upTo, must: fit.conflicts, wanted }
    return Eviction.evict(view, room, now, options).eviction
  }
  const eviction = allowed && own.live === 0 ? leaving(1) : undefined
  if (allowed && ((fit.missing === 0 && fit.conflicts.length === 0) || eviction !== undefined)) {
    const free = device.free + (eviction?.bytes ?? 0)
    return {
      action: "load",
      replica: null,
      score: policy.load({ id, free, total, needed: spec.claimOn(kind) }, state),
      reasons,
      missing,
      evict: eviction?.replicas ?? []
    }
  }
  return { action: "none", replica: null, score: null, reasons, missing, evict: leaving(3)?.replicas ?? [] }
}

const decisions = {
  Placed: "placed",
  Load: "placed",
  Wait: "queued",
  Broken: "rejected",
  Replaced: "rejected",
  Rejected: "rejected"
} as const satisfies Record<Decide.Decision["_tag"], Explanation["decision"]>

const movesText = ({ device, moves, parts }: Defrag.Plan): string =>
  `would fit on ${[device, ...parts].join(" and ")} once ${moves.map(({ replica, to }) => `${replica} has moved to ${to}`).join(" and ")}`

const sentence = (
  view: FleetView.FleetView,
  spec: ModelSpec,
  decision: Decide.Decision,
  plan: Defrag.Plan | undefined
): string => {
  switch (decision._tag) {
    case "Placed": {
      const { replica } = decision.replica.status
      const { ahead, taken } = decision.replica
      const slots = `ready on ${FleetView.devicesOf(decision.replica).join(" and ")}: ${taken} of ${FleetView.slotsOf(decision.replica, spec)} slots of ${replica} taken`
      return ahead ? `${slots}, loaded ahead of requests because it will probably be asked for` : slots
    }
    case "Load": {
      if (plan !== undefined) return movesText(plan)
      const devices = [decision.device, ...decision.parts]
      const free = devices.map((id) => formatBytes(FleetView.device(view, id)?.free ?? 0)).join(" and ")
      const each = devices.length === 1 ? "" : " on each"
      const needs = `fits on ${devices.join(" and ")}: needs ${formatBytes(spec.claimOn(decision.kind))}${each}, ${free} free`
      return decision.evict.length === 0 ? needs : `${needs}, once ${decision.evict.join(" and ")} made room`
    }
    case "Wait":
      return [
        `waits: ${texts(decision.reasons) || "no device is known yet"}`,
        ...(plan === undefined ? [] : [`it ${movesText(plan)}`])
      ].join("; ")
    case "Broken":
      return `cannot be loaded: ${decision.error.reason}`
    case "Replaced":
      return "was replaced by another version"
    case "Rejected":
      return `fits on no device: ${texts(decision.reasons)}`
  }
}

const texts = (reasons: ReadonlyArray<Reason>): string => [...new Set(reasons.map(reasonText))].join("; ")

/** Verdicts to load a part of a model where there is no place for the others, and how many parts there is a place for. */
const tooFew = (
  { placing: { split } }: ModelSpec,
  devices: ReadonlyArray<FleetView.DeviceEntry>,
  verdicts: ReadonlyArray<Verdict>
): ReadonlyMap<Verdict, number> => {
  const kinds = new Map<DeviceKind, DeviceGroups<Verdict>>()
  for (const [index, { status }] of devices.entries()) {
    const { device } = status
    const given = verdicts[index]
    if (given?.action !== "load") continue
    const groups = kinds.get(device.kind) ?? new DeviceGroups<Verdict>(split)
    kinds.set(device.kind, groups)
    groups.add(device, given)
  }
  return new Map(
    [...kinds.values()].flatMap((groups) =>
      groups.incomplete().flatMap((group) => group.map((given) => [given, group.length] as const))
    )
  )
}

/** How many slots would be given up now to a tenant that has none. */
const yieldingText = (slots: number): string =>
  slots === 0
    ? ""
    : slots === 1
      ? "; one slot would be given up to a tenant that has none"
      : `; ${slots} slots would be given up to a tenant that has none`

/**
 * `waiting`: how many requests wait for a model now; `yielding`: how many of this one's slots would be given up to a tenant that has none.
 * Devices are listed in the order of their ids.
 */
export const explain = (
  view: FleetView.FleetView,
  spec: ModelSpec,
  waiting: (model: ModelId) => number,
  now: number,
  options: SchedulerOptions,
  yielding = 0
): Explanation => {
  const wanted = (model: ModelId) => waiting(model) > 0
  const query: Decide.Query = { spec, not: [], since: now, deadline: Number.POSITIVE_INFINITY, wanted }
  const standing = Decide.standing(view, query, now, options)
  const own = { ...standing, ...Decide.told(view, query, standing, now) }
  const decision = Decide.decide(view, query, now, options)
  // as for somebody who has waited for as long as it takes
  const patient = { ...query, since: now - options.patience }
  const plan = Decide.moves(view, patient, decision, now, options)
  const chosen =
    decision._tag === "Placed"
      ? decision.replica.status.device
      : decision._tag === "Load"
        ? (plan ?? decision).device
        : null
  const entries = [...view.devices].sort(([a], [b]) => compareIds(a, b))
  const verdicts = entries.map(([, entry]) => verdict(view, spec, own, entry, wanted, now, options))
  const alone = tooFew(
    spec,
    entries.map(([, entry]) => entry),
    verdicts
  )
  return new Explanation({
    model: spec.id,
    policy: spec.policy,
    decision: decisions[decision._tag],
    chosen,
    devices: entries.flatMap(([device], index) => {
      const given = verdicts[index]
      if (given === undefined) return []
      const found = alone.get(given)
      const lacks: Reason = { _tag: "TooFewDevices", needed: spec.placing.split, found: found ?? 0 }
      const said =
        found === undefined
          ? given
          : ({ ...given, action: "none", score: null, reasons: [...given.reasons, lacks] } as const)
      const waitingHelps = said.action !== "none" || said.reasons.every(Fit.passes)
      return [new DeviceVerdict({ device, ...said, waitingHelps })]
    }),
    waiting: waiting(spec.id),
    summary: `${spec.id} ${sentence(view, spec, decision, plan)}${decision._tag === "Wait" ? yieldingText(yielding) : ""}`
  })
}
