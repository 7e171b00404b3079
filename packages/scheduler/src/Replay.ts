/**
 * What would have happened: the requests of a decision log, decided anew in a virtual fleet. On the devices of the log the decisions are
 * those that were made; on others they answer what those would have changed.
 *
 * What the log says of the world stays as it was: when requests came, how long their places were held, when clients left, how long
 * each load took and whether it failed, which workers died and came back, what an operator had evicted, and what models were found to
 * take. A request that was preempted is one, and has its places for as long as they were held together: whether it is preempted is
 * decided anew. A request that never had a place is given the mean of its model's, or of all. What the log does not know it cannot change: places
 * are held as long on a faster device.
 */
import { Device } from "@helixflow/schema/Device"
import { Millis, type ModelId, type ReplicaId, RequestId } from "@helixflow/schema/Ids"
import { ModelSpec } from "@helixflow/schema/Model"
import { SchedulerEvent } from "@helixflow/schema/Scheduling"
import { Schema } from "effect"
import type { SchedulerOptions } from "./SchedulerOptions.ts"
import type { Arrival, Incident, LoadCourse, World } from "./World.ts"

/** What the log says of the fleet, where it begins and whenever a model comes up that it has not said. */
export const FleetKnown = Schema.TaggedStruct("FleetKnown", {
  at: Millis,
  devices: Schema.Array(Device),
  models: Schema.Array(ModelSpec),
  /** How long a request kept its place before it was preempted; null: none was. Absent in logs from before there was such a thing. */
  quantum: Schema.optional(Schema.NullOr(Millis))
})
export type FleetKnown = typeof FleetKnown.Type

/** A line of the log. */
export const LogEntry = Schema.Union(FleetKnown, SchedulerEvent)
export type LogEntry = typeof LogEntry.Type

export const LogLine = Schema.parseJson(LogEntry)

/** What a load or a request takes of which nothing is known, milliseconds. */
const unknownMillis = 1000

const mean = (values: ReadonlyArray<number>): number | undefined =>
  values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length

const sum = (one: Arrival["served"], other: Arrival["served"]): Arrival["served"] =>
  one === undefined || other === undefined
    ? (one ?? other)
    : { input: one.input + other.input, output: one.output + other.output }

const append = <K, V>(map: Map<K, Array<V>>, key: K, value: V): void => {
  const values = map.get(key)
  if (values === undefined) map.set(key, [value])
  else values.push(value)
}

/** `device/model#n` of a replica whose device is `node/kind:index`. */
const modelOf = (replica: ReplicaId): string =>
  replica.slice(replica.indexOf("/", replica.indexOf("/") + 1) + 1, replica.lastIndexOf("#"))

interface Known {
  readonly devices: ReadonlyMap<string, Device>
  readonly models: ReadonlyMap<ModelId, ModelSpec>
  readonly arrivals: ReadonlyArray<Arrival>
  readonly incidents: ReadonlyArray<Incident>
  readonly loads: ReadonlyMap<string, ReadonlyArray<LoadCourse>>
  /** Whether something was loaded ahead of requests. */
  readonly preload: boolean
  /** As in the scheduler's options. */
  readonly quantum: number
  /** Events that the log lacks. */
  readonly lost: number
}

/** What a log says of the world. */
export const read = (entries: ReadonlyArray<LogEntry>): Known => {
  const devices = new Map<string, Device>()
  const models = new Map<ModelId, ModelSpec>()
  const loads = new Map<string, Array<LoadCourse>>()
  /** Loads under way: when they had room, or who must leave first. */
  const loading = new Map<ReplicaId, { since: number; readonly busy: Set<ReplicaId> }>()
  const active = new Map<ReplicaId, number>()
  const placed = new Map<RequestId, { readonly at: number; readonly replica: ReplicaId; readonly model: ModelId }>()
  const ends = new Map<
    RequestId,
    { readonly model: ModelId; readonly hold: number; readonly order: number; readonly served: Arrival["served"] }
  >()
  /** What requests were first called that were preempted, by what they are called since. */
  const names = new Map<RequestId, RequestId>()
  const nameOf = (request: RequestId) => names.get(request) ?? request
  const known = new Set<RequestId>()
  let quantum = Number.POSITIVE_INFINITY
  const left = new Map<RequestId, number>()
  let preload = false
  const holds = new Map<ModelId, Array<number>>()
  const arrivals: Array<{ readonly order: number; readonly event: Extract<LogEntry, { _tag: "Arrived" }> }> = []

  const incidents: Array<Incident> = []
  /** Workers that died and are not back, and when. */
  const dead = new Map<ReplicaId, { readonly at: number; readonly incident: number }>()

  let lost = 0

  const vacated = (replica: ReplicaId, at: number) => {
    for (const load of loading.values()) if (load.busy.delete(replica) && load.busy.size === 0) load.since = at
  }
  for (const [order, entry] of entries.entries()) {
    switch (entry._tag) {
      case "FleetKnown":
        for (const device of entry.devices) devices.set(device.id, device)
        for (const model of entry.models) models.set(model.id, model)
        quantum = entry.quantum ?? Number.POSITIVE_INFINITY
        break
      case "Arrived": {
        const first = entry.resumes && nameOf(entry.resumes)
        // what an older file has of it is not known
        if (first !== undefined && known.has(first)) names.set(entry.request, first)
        else arrivals.push({ order, event: entry })
        known.add(entry.request)
        break
      }
      case "Withdrawn":
        left.set(nameOf(entry.request), entry.at)
        break
      case "Placed": {
        const { model, replica, request } = entry.placement
        placed.set(request, { at: entry.at, replica, model })
        active.set(replica, (active.get(replica) ?? 0) + 1)
        break
      }
      case "Completed": {
        // a placement's reservation has its request's name
        const request = RequestId.make(entry.reservation, { disableValidation: true })
        const was = placed.get(request)
        if (was === undefined) break
        const before = ends.get(nameOf(request))
        const hold = entry.at - was.at + (before?.hold ?? 0)
        ends.set(nameOf(request), { model: was.model, hold, order, served: sum(before?.served, entry.served) })
        placed.delete(request)
        const still = (active.get(was.replica) ?? 1) - 1
        active.set(was.replica, still)
        if (still === 0) vacated(was.replica, entry.at)
        break
      }
      case "LoadStarted": {
        preload ||= entry.cause === "preload"
        const busy = new Set(entry.evict.filter((replica) => (active.get(replica) ?? 0) > 0))
        loading.set(entry.replica, { since: entry.at, busy })
        break
      }
      case "LoadEnded": {
        const load = loading.get(entry.replica)
        loading.delete(entry.replica)
        // one that never had room had no course
        if (load === undefined || load.busy.size > 0) break
        append(loads, modelOf(entry.replica), { millis: entry.at - load.since, failure: entry.failure, order })
        break
      }
      case "WorkerLost":
        dead.set(entry.replica, { at: entry.at, incident: incidents.length })
        incidents.push({ ...entry, order, backAfter: entry.state === "absent" ? null : Number.POSITIVE_INFINITY })
        break
      case "WorkerBack": {
        const death = dead.get(entry.replica)
        const incident = death && incidents[death.incident]
        if (death === undefined || incident?._tag !== "WorkerLost") break
        incidents[death.incident] = { ...incident, backAfter: entry.at - death.at }
        dead.delete(entry.replica)
        break
      }
      case "EvictAsked":
      case "Learned":
        incidents.push({ ...entry, order })
        break
      case "Lost":
        lost += entry.count
        break
      case "Queued":
      case "Preempted":
      case "Rejected":
      case "Evicted":
        break
    }
  }
  for (const { hold, model } of ends.values()) append(holds, model, hold)
  const usual = mean([...holds.values()].flat()) ?? unknownMillis
  const usualOf = (model: ModelId) => mean(holds.get(model) ?? []) ?? usual
  return {
    devices,
    models,
    loads,
    preload,
    quantum,
    lost,
    incidents,
    arrivals: arrivals.map(({ order, event }): Arrival => {
      const { affinity, at, caller, model, not, preemptible = false, prefer, request, timeoutMillis } = event
      const end = ends.get(request)
      const leftAt = left.get(request)
      return {
        at,
        order,
        request,
        model,
        caller,
        not,
        affinity,
        prefer,
        preemptible,
        timeoutMillis,
        // who left to go on with it later would have had a place for longer than it had
        holdMillis: end === undefined ? usualOf(model) : end.hold + (leftAt === undefined ? 0 : usualOf(model)),
        served: end?.served,
        leavesAfter: leftAt === undefined ? Number.POSITIVE_INFINITY : leftAt - at,
        ...(end !== undefined && { endOrder: end.order })
      }
    })
  }
}

/** The world of a log, with its own devices or with others. */
export const worldOf = (
  { arrivals, devices, incidents, loads, models }: Known,
  options: SchedulerOptions,
  others?: ReadonlyArray<Device>
): World => ({
  devices: others ?? [...devices.values()],
  models: [...models.values()],
  options,
  arrivals,
  incidents,
  loadOf: (model, nth) => {
    const known = loads.get(model) ?? []
    const all = [...loads.values()].flat()
    const succeeded = (courses: ReadonlyArray<LoadCourse>) =>
      mean(courses.filter(({ failure }) => failure === null).map(({ millis }) => millis))
    return known[nth] ?? { millis: succeeded(known) ?? succeeded(all) ?? unknownMillis, failure: null }
  }
})
