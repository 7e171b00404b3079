/** What `DevicesApi.ts` defines, served. */
import { Runtime } from "@helixflow/runtime/Runtime"
import type { DeviceStatus } from "@helixflow/schema/Device"
import { Effect } from "effect"
import * as AdminRouter from "./AdminRouter.ts"
import { DevicesApi, type DeviceView } from "./DevicesApi.ts"

const toView = ({ claims, deficit, device, free, reading }: DeviceStatus): DeviceView => ({
  id: device.id,
  object: "device",
  kind: device.kind,
  name: device.name,
  total_bytes: device.total,
  free_bytes: free,
  deficit_bytes: deficit,
  claims: claims.map(({ bytes, expiresAt, observed, owner, reservation, shareable, state, within }) => ({
    reservation,
    owner,
    state,
    bytes,
    shareable_bytes: shareable,
    observed_bytes: observed,
    within,
    expires_at: expiresAt === null ? null : expiresAt / 1000
  })),
  reading:
    reading === null
      ? null
      : {
          at: reading.at / 1000,
          free_bytes: reading.free,
          utilization: reading.utilization,
          temperature_celsius: reading.temperature,
          power_watts: reading.power,
          ecc_errors: reading.eccErrors
        }
})

export const layer = AdminRouter.implement(DevicesApi, {
  list: () =>
    Effect.gen(function* () {
      const devices = yield* (yield* Runtime).devices
      return { object: "list" as const, data: devices.map(toView) }
    })
})
