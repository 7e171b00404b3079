/** Devices that a model can be split over: those of one node and one name, since the slowest and smallest part counts for all. */
import type { Device } from "@helixflow/schema/Device"

const keyOf = ({ id, name }: Device): string => `${id.slice(0, id.indexOf("/"))} ${name}`

/** Sorts what belongs to devices of one kind into groups, and says when one has `size` members. */
export class DeviceGroups<A> {
  private readonly groups = new Map<string, Array<A>>()

  constructor(private readonly size: number) {}

  /** The first `size` members of the device's group, if it has so many now. */
  add(device: Device, member: A): ReadonlyArray<A> | undefined {
    if (this.size === 1) return [member]
    const key = keyOf(device)
    const group = this.groups.get(key) ?? []
    group.push(member)
    this.groups.set(key, group)
    return group.length < this.size ? undefined : group.slice(0, this.size)
  }

  /** Groups of `size` members at least; none where that is one, as each device is enough. */
  complete(): ReadonlyArray<ReadonlyArray<A>> {
    return [...this.groups.values()].filter(({ length }) => length >= this.size)
  }

  /** Groups of fewer. */
  incomplete(): ReadonlyArray<ReadonlyArray<A>> {
    return [...this.groups.values()].filter(({ length }) => length < this.size)
  }

  /** Members of the largest group. */
  get most(): number {
    return Math.max(0, ...Array.from(this.groups.values(), ({ length }) => length))
  }
}
