/** `/admin/v1/devices`: the ledger of each device. Times are seconds since the epoch. */
import { HttpApiEndpoint, HttpApiGroup } from "@effect/platform"
import { ClaimState, DeviceKind } from "@helixflow/schema/Device"
import { Schema } from "effect"

const Bytes = Schema.NonNegativeInt

const ClaimView = Schema.Struct({
  reservation: Schema.String,
  owner: Schema.String,
  state: ClaimState,
  bytes: Bytes,
  shareable_bytes: Bytes,
  observed_bytes: Bytes,
  within: Schema.NullOr(Schema.String),
  expires_at: Schema.NullOr(Schema.Number)
})

const ReadingView = Schema.Struct({
  at: Schema.Number,
  free_bytes: Bytes,
  utilization: Schema.NullOr(Schema.Number),
  temperature_celsius: Schema.NullOr(Schema.Number),
  power_watts: Schema.NullOr(Schema.Number),
  ecc_errors: Schema.NullOr(Schema.Int)
})

export const DeviceView = Schema.Struct({
  id: Schema.String,
  object: Schema.Literal("device"),
  kind: DeviceKind,
  name: Schema.String,
  total_bytes: Bytes,
  free_bytes: Bytes,
  deficit_bytes: Bytes,
  claims: Schema.Array(ClaimView),
  reading: Schema.NullOr(ReadingView)
})
export type DeviceView = typeof DeviceView.Type

export const DeviceList = Schema.Struct({ object: Schema.Literal("list"), data: Schema.Array(DeviceView) })

export const DevicesApi = HttpApiGroup.make("devices").add(
  HttpApiEndpoint.get("list", "/admin/v1/devices").addSuccess(DeviceList)
)
