/** Devices as models ask for them: any, those of a name, or some by their ids. What kind they are of is another matter. */
import type { Device, DeviceKind } from "@helixflow/schema/Device"
import type { Placing } from "@helixflow/schema/Model"

export type Asked = Pick<Placing, "name" | "devices">

export const any: Asked = { name: null, devices: [] }

/** The same for the same devices. */
export const keyOf = ({ devices, name }: Asked): string =>
  name === null && devices.length === 0 ? "" : JSON.stringify([name?.toLowerCase() ?? null, ...[...devices].sort()])

/** Whether a model may be on devices of this kind and name. */
export const suits = (
  { kind, name }: Pick<Placing, "kind" | "name">,
  device: { readonly kind: DeviceKind; readonly name: string }
): boolean =>
  (kind === null || kind === device.kind) && (name === null || device.name.toLowerCase().includes(name.toLowerCase()))

/** Whether a device is one of those that a model is pinned to, if it is. */
export const isPinnedTo = ({ devices }: Pick<Placing, "devices">, { id }: Pick<Device, "id">): boolean =>
  devices.length === 0 || devices.some((name) => name === id || name === id.slice(id.indexOf("/") + 1))
