/** What `ScheduleApi.ts` defines, served. */
import { Runtime } from "@helixflow/runtime/Runtime"
import { reasonText } from "@helixflow/scheduler/ReasonText"
import type { DeviceVerdict, Explanation } from "@helixflow/schema/Scheduling"
import { Effect } from "effect"
import * as AdminRouter from "./AdminRouter.ts"
import { type DeviceGroup, ScheduleApi, type ScheduleExplanation } from "./ScheduleApi.ts"

/** Devices that are named of a group. */
const mostExamples = 3

const actions: ReadonlyArray<DeviceVerdict["action"]> = ["use", "load", "none"]

/** The same for devices that are treated alike for the same kinds of reasons, whatever the figures. */
const kindOf = ({ action, evict, missing, reasons }: DeviceVerdict): string =>
  [action, evict.length > 0, missing === 0, ...new Set(reasons.map(({ _tag }) => _tag))].join(" ")

const byScore = (a: DeviceVerdict, b: DeviceVerdict): number =>
  (a.score ?? Number.POSITIVE_INFINITY) - (b.score ?? Number.POSITIVE_INFINITY)

/** What is told of a device, whatever its name. */
const said = ({ action, evict, missing, reasons, waitingHelps }: DeviceVerdict) => ({
  action,
  fits: missing === 0,
  missing_bytes: missing,
  reasons: [...new Set(reasons.map(reasonText))],
  evict,
  waiting_helps: waitingHelps
})

const leastMissing = (verdicts: ReadonlyArray<DeviceVerdict>): number =>
  verdicts.reduce((least, { missing }) => Math.min(least, missing), Number.POSITIVE_INFINITY)

/** Devices by how they would be treated: those that would be used first, then the largest groups first. */
export const groupsOf = (verdicts: ReadonlyArray<DeviceVerdict>): ReadonlyArray<DeviceGroup> => {
  const kinds = new Map<string, Array<DeviceVerdict>>()
  for (const verdict of verdicts) {
    const kind = kindOf(verdict)
    const alike = kinds.get(kind)
    if (alike === undefined) kinds.set(kind, [verdict])
    else alike.push(verdict)
  }
  return [...kinds.values()]
    .flatMap((alike) => {
      const examples = [...alike].sort(byScore).slice(0, mostExamples)
      const [first] = examples
      if (first === undefined) return []
      return {
        ...said(first),
        missing_bytes: leastMissing(alike),
        waiting_helps: alike.some(({ waitingHelps }) => waitingHelps),
        devices: alike.length,
        examples: examples.map(({ device }) => device)
      }
    })
    .sort((a, b) => actions.indexOf(a.action) - actions.indexOf(b.action) || b.devices - a.devices)
}

/** `each`: whether every device is told of by itself, too. */
export const toView = (explanation: Explanation, each = false): ScheduleExplanation => {
  const { chosen, decision, devices, model, policy, summary, waiting } = explanation
  return {
    object: "schedule.explanation",
    model,
    policy,
    decision,
    chosen,
    evict: devices.find(({ device }) => device === chosen)?.evict ?? [],
    waiting,
    waiting_helps:
      decision !== "rejected" && (decision === "placed" || devices.some((verdict) => verdict.waitingHelps)),
    summary,
    groups: groupsOf(devices),
    ...(each && { devices: devices.map((verdict) => ({ id: verdict.device, ...said(verdict) })) })
  }
}

export const layer = AdminRouter.implement(ScheduleApi, {
  explain: ({ urlParams }) =>
    Effect.gen(function* () {
      const runtime = yield* Runtime
      const { id } = yield* runtime.model(urlParams.model)
      return toView(yield* runtime.explain(id), urlParams.devices === "all")
    })
})
