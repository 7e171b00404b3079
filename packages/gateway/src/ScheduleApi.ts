/** `/admin/v1/schedule`: why the scheduler does what it does. */
import { HttpApiEndpoint, HttpApiGroup } from "@effect/platform"
import { Schema, Struct } from "effect"

/** Devices that would be treated alike, for the same reasons. A fleet has thousands of devices and a handful of these. */
export const DeviceGroup = Schema.Struct({
  /** `use`: a replica that is there; `load`: one would be loaded; `none`: neither. */
  action: Schema.Literal("use", "load", "none"),
  devices: Schema.Int,
  /** Whether the memory that a replica claims is free there, or a replica has it already; whatever else is in the way. */
  fits: Schema.Boolean,
  /** How much is not; of several devices the least. */
  missing_bytes: Schema.Number,
  /** Some of them, those with the best score first. */
  examples: Schema.Array(Schema.String),
  /** In the words of the first example. */
  reasons: Schema.Array(Schema.String),
  /** What would have to leave the first example. */
  evict: Schema.Array(Schema.String),
  /** Whether the reasons can go away without an operator. */
  waiting_helps: Schema.Boolean
})
export type DeviceGroup = typeof DeviceGroup.Type

/** The same of a single device. */
export const DeviceAlone = Schema.Struct({
  id: Schema.String,
  ...Struct.omit(DeviceGroup.fields, "devices", "examples")
})
export type DeviceAlone = typeof DeviceAlone.Type

export const ScheduleExplanation = Schema.Struct({
  object: Schema.Literal("schedule.explanation"),
  model: Schema.String,
  policy: Schema.String,
  decision: Schema.Literal("placed", "queued", "rejected"),
  /** The device that a request would go to now. */
  chosen: Schema.NullOr(Schema.String),
  /** What would have to leave it first. */
  evict: Schema.Array(Schema.String),
  /** Requests that wait for the model now. */
  waiting: Schema.Int,
  /** Whether waiting would help where there is no place now. */
  waiting_helps: Schema.Boolean,
  /** A sentence that says all this. */
  summary: Schema.String,
  groups: Schema.Array(DeviceGroup),
  /** Every device, where that was asked for. */
  devices: Schema.optional(Schema.Array(DeviceAlone))
}).annotations({ identifier: "ScheduleExplanation" })
export type ScheduleExplanation = typeof ScheduleExplanation.Type

export const ScheduleApi = HttpApiGroup.make("schedule").add(
  HttpApiEndpoint.get("explain", "/admin/v1/schedule/explain")
    .setUrlParams(Schema.Struct({ model: Schema.NonEmptyString, devices: Schema.optional(Schema.Literal("all")) }))
    .addSuccess(ScheduleExplanation)
)
