/** A fleet and a time that are not there: what there is, what comes, what goes wrong, and what became of it. All times are milliseconds. */
import type { Caller, Served } from "@helixflow/schema/Caller"
import type { Device, DeviceKind } from "@helixflow/schema/Device"
import type { Bytes, DeviceId, ModelId, ReplicaId, RequestId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import type { Placement, SchedulerEvent } from "@helixflow/schema/Scheduling"
import type { SchedulerOptions } from "./SchedulerOptions.ts"
import type { Refusal } from "./SchedulerState.ts"

/** A request to come; `at` on the clock of the run, the other times from then on. */
export interface Arrival {
  readonly at: number
  /** Of several events at one instant, those with the lower number are first: its coming, and the end of its place. */
  readonly order: number
  readonly endOrder?: number
  readonly request: RequestId
  readonly model: ModelId
  readonly caller: Caller
  readonly not: ReadonlyArray<ReplicaId>
  readonly affinity?: string | undefined
  readonly prefer?: ReplicaId | undefined
  readonly timeoutMillis: number
  /** How long it keeps its place once it has one, or its places all together if it is preempted. */
  readonly holdMillis: number
  readonly served: Served | undefined
  /** Whether it may be preempted. What it goes on with costs nothing here. */
  readonly preemptible?: boolean
  /** When its client leaves if it has no place then; `Infinity`: never. */
  readonly leavesAfter: number
}

/** What becomes of a load, once there is room for it. */
export interface LoadCourse {
  /** `Infinity`: it hangs, and fails when the scheduler's patience with loads ends. */
  readonly millis: number
  /** Why it fails, if it does. */
  readonly failure: string | null
  /** As that of an arrival. */
  readonly order?: number
}

/** How long it takes a supervisor to bring a worker back that died; `Infinity`: it fails to; null: its replica is gone for good. */
export interface Death {
  readonly backAfter: number | null
}

/** Something besides requests that happens to the scheduler at its time, as its log has it. */
export type Incident = { readonly at: number; readonly order: number } & (
  | (Death & { readonly _tag: "WorkerLost"; readonly replica: ReplicaId })
  | { readonly _tag: "EvictAsked"; readonly model: ModelId; readonly timeoutMillis: number }
  | {
      readonly _tag: "Learned"
      readonly model: ModelId
      readonly kind?: DeviceKind | undefined
      readonly weights: Bytes
    }
)

/** What goes wrong. Asked whenever something may, so that a seed decides all of it. */
export interface Trouble {
  /** How long it takes to tell a device something and to be answered. */
  readonly messageMillis: () => number
  /** How long a process takes to end that is told to. */
  readonly stopMillis: () => number
  /** When each copy of a piece of news arrives: late, twice, or after what is newer. */
  readonly newsMillis: () => ReadonlyArray<number>
  /** Whether a request that is to give its place up keeps it, for want of something to go on with. */
  readonly keeps: () => boolean
  /** When a worker dies that is ready now; undefined: it lives. */
  readonly deathOf: (replica: ReplicaId) => (Death & { readonly after: number }) | undefined
  /** How many bytes of a device strangers have next, and when. Undefined: they change nothing any more. */
  readonly strangersOn: (device: Device) => { readonly after: number; readonly bytes: number } | undefined
}

export interface World {
  readonly devices: ReadonlyArray<Device>
  readonly models: ReadonlyArray<ModelSpec>
  readonly options: SchedulerOptions
  readonly arrivals: ReadonlyArray<Arrival>
  readonly incidents?: ReadonlyArray<Incident>
  /** The course of the `nth` load of a model, counted from 0. */
  readonly loadOf: (model: ModelId, nth: number) => LoadCourse
  /** What a client asks for next, once a request of its has ended. */
  readonly next?: (outcome: Outcome, now: number) => Arrival | undefined
  /** Without it messages take no time, nothing dies, and the fleet belongs to nobody else. */
  readonly trouble?: Trouble
}

/** What became of a request. */
export interface Outcome {
  readonly arrival: Arrival
  /** `lost`: its worker died, or was stopped, while it had a place. */
  readonly end: "completed" | "refused" | "left" | "lost"
  readonly placed: Placement | undefined
  /** Until it had its first place, was refused, or its client left. */
  readonly waitedMillis: number
  /** How often it was preempted, and how long it waited to go on. */
  readonly preempted: number
  readonly pausedMillis: number
  /** The tag of the error it was refused with. */
  readonly refusal: Refusal["_tag"] | undefined
  /** When it was told to come again, if it was. */
  readonly retryAfterSeconds: number | undefined
}

export interface Course {
  /** In the order in which the requests ended. */
  readonly outcomes: ReadonlyArray<Outcome>
  readonly events: ReadonlyArray<SchedulerEvent>
  readonly loads: number
  readonly failedLoads: number
  readonly evictions: number
  /** From the first arrival to the last end. */
  readonly millis: number
  /** The greatest share of each device's memory that was ever claimed, and the mean over time. */
  readonly memory: ReadonlyMap<DeviceId, { readonly peak: number; readonly mean: number }>
}
