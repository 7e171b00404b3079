/** Reasons and sizes in words. */
import type { Reason } from "@helixflow/schema/Scheduling"

const units = ["B", "KiB", "MiB", "GiB", "TiB"]

/** `128 MiB`, `3.9 GiB`: three significant digits at most. */
export const formatBytes = (bytes: number): string => {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${value < 10 ? Number(value.toFixed(1)) : Math.round(value)} ${units[unit]}`
}

export const reasonText = (reason: Reason): string => {
  switch (reason._tag) {
    case "InsufficientMemory":
      return `needs ${formatBytes(reason.needed)}, ${formatBytes(reason.free)} free`
    case "LargerThanDevice":
      return `needs ${formatBytes(reason.needed)}, the whole device has ${formatBytes(reason.total)}`
    case "NoFreeSlot":
      return reason.slots === 1
        ? `the slot of ${reason.replica} is taken`
        : `all ${reason.slots} slots of ${reason.replica} are taken`
    case "ReplicaLoading":
      return `${reason.replica} is loading`
    case "ReplicaDraining":
      return `${reason.replica} is going away`
    case "ReplicaFailed":
      return `${reason.replica} failed: ${reason.failure}`
    case "ReplicaLimit":
      return reason.limit === 1 ? "only 1 replica may run" : `only ${reason.limit} replicas may run`
    case "DeviceLoading":
      return `${reason.device} is loading another model`
    case "Excluded":
      return `${reason.replica} failed this request before`
    case "NotAskedFor":
      return `the model asks for ${reason.asks}`
    case "NotBeside":
      return `it may not be beside ${reason.replica}`
    case "Spread":
      return `${reason.replica} is there, and replicas are to be on different devices`
    case "TooFewDevices":
      return `it is split over ${reason.needed} devices of one node and name, of which ${reason.found} can be had`
  }
}
