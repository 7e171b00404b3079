import { describe, expect, it } from "@effect/vitest"
import { DeviceStatus } from "@helixflow/schema/Device"
import { Bytes, makeReplicaId } from "@helixflow/schema/Ids"
import { type ModelSpec, ReplicaStatus } from "@helixflow/schema/Model"
import * as Eviction from "../src/Eviction.ts"
import * as FleetChange from "../src/FleetChange.ts"
import * as FleetView from "../src/FleetView.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import { device, deviceId, model, replicaStatus } from "./fixtures.ts"

const now = 1_000_000
const here = deviceId(0)
const newcomer = model("newcomer")
const of = (spec: ModelSpec) => makeReplicaId(here, spec.id, 0)

interface Standing {
  readonly spec: ModelSpec
  readonly asked?: number
  readonly reload?: number
  readonly loadedAt?: number
  readonly taken?: number
}

/** A full device with these replicas, which were asked for so many times. */
const full = (standing: ReadonlyArray<Standing>) => {
  const total = standing.reduce((sum, { spec }) => sum + spec.claimOn("cpu"), 0)
  let view = FleetChange.withModels(
    FleetView.empty,
    standing.map(({ spec }) => spec)
  )
  const status = { device: device(0, total), free: Bytes.make(total), claims: [], version: 0 }
  view = FleetChange.observeDevice(view, new DeviceStatus(status))
  for (const { asked = 1, loadedAt = null, reload, spec, taken = 0 } of standing) {
    const replica = of(spec)
    const status = replicaStatus(spec, here)
    for (let n = 0; n < asked; n++) view = FleetChange.asked(view, spec.id, now)
    if (reload !== undefined) view = FleetChange.loadTook(view, spec.id, reload)
    view = FleetChange.assumeLoad(view, status, spec.claimOn("cpu"), now)
    view = FleetChange.updateReplica(view, replica, () => ({ life: "running", loadedAt, taken }))
  }
  return view
}

const evict = (view: FleetView.FleetView, missing: number, more: Partial<Eviction.Room> = {}, at = now) =>
  Eviction.evict(
    view,
    { device: here, model: newcomer.id, missing, upTo: 1, must: [], wanted: () => false, ...more },
    at,
    defaults
  )

const [a, b, c] = [model("a"), model("b"), model("c")]

describe("who leaves", () => {
  it("is the one that is asked for least", () => {
    const view = full([
      { spec: a, asked: 5 },
      { spec: b, asked: 2 },
      { spec: c, asked: 3 }
    ])
    expect(evict(view, 100).eviction).toMatchObject({ replicas: [of(b)], bytes: 100 })
  })

  it("is the one that is loaded again soonest", () => {
    const view = full([
      { spec: a, reload: 5000 },
      { spec: b, reload: 20_000 },
      { spec: c, reload: 3000 }
    ])
    expect(evict(view, 100).eviction).toMatchObject({ replicas: [of(c)] })
  })

  it("is the one that frees most, of those that are worth the same", () => {
    const large = model("large", { weights: 460 })
    const view = full([
      { spec: a, reload: 1000 },
      { spec: large, reload: 1000 },
      { spec: b, reload: 1000 }
    ])
    expect(evict(view, 150).eviction).toMatchObject({ replicas: [of(large)] })
  })

  it("is a small one that suffices, rather than a large one that frees more for what is lost", () => {
    const large = model("large", { weights: 9960 })
    const view = full([
      { spec: large, reload: 60_000, asked: 2 },
      { spec: a, reload: 2000, asked: 2 }
    ])
    expect(evict(view, 100).eviction).toMatchObject({ replicas: [of(a)] })
    expect(evict(view, 101).eviction).toMatchObject({ replicas: [of(large)] })
  })

  it("is one of several replicas rather than the only one", () => {
    const view = full([
      { spec: a, asked: 3 },
      { spec: b, asked: 5 }
    ])
    const second = makeReplicaId(deviceId(1), b.id, 0)
    const entry = FleetView.replica(view, of(b))
    if (entry === undefined) throw new Error("not loaded")
    const status = new ReplicaStatus({ ...entry.status, replica: second, device: deviceId(1) })
    const loaded = FleetChange.assumeLoad(view, status, b.claimOn("cpu"), now)
    // it is known from its next request on
    const twice = FleetChange.takeSlot(FleetChange.takeSlot(loaded, of(b), 1, now), of(b), -1, now)
    expect(evict(view, 100).eviction).toMatchObject({ replicas: [of(a)] })
    expect(evict(twice, 100).eviction).toMatchObject({ replicas: [of(b)] })
  })
})

describe("who was loaded just now", () => {
  it("stays for as long as a load takes, when it is idle", () => {
    const view = full([{ spec: a, loadedAt: now - 300, reload: 700 }])
    expect(evict(view, 100)).toEqual({ eviction: undefined, until: now + 400 })
    expect(evict(view, 100, {}, now + 400).eviction).toMatchObject({ replicas: [of(a)] })
    const slow = full([{ spec: a, loadedAt: now, reload: 60_000 }])
    expect(evict(slow, 100).until).toBe(now + defaults.minResidency)
  })

  it("stays for a multiple of that while it is busy, within limits", () => {
    const until = (reload: number) =>
      evict(full([{ spec: a, loadedAt: now, reload, taken: 2 }]), 100, { upTo: 3, wanted: () => true }).until
    expect(until(10)).toBe(now + defaults.minResidency)
    expect(until(5000)).toBe(now + 10_000)
    expect(until(100_000)).toBe(now + defaults.maxResidency)
  })

  it("stays no longer once its time is up, for who has waited long enough", () => {
    const view = full([{ spec: a, loadedAt: now - 10_000, reload: 5000, taken: 1 }])
    const wanted = () => true
    expect(evict(view, 100).eviction).toBeUndefined()
    expect(evict(view, 100, { upTo: 2 }).eviction).toMatchObject({ replicas: [of(a)] })
    expect(evict(view, 100, { upTo: 2, wanted }).eviction).toBeUndefined()
    expect(evict(view, 100, { upTo: 3, wanted }).eviction).toMatchObject({ replicas: [of(a)] })
  })

  it("leaves after those for whom nobody waits", () => {
    const view = full([
      { spec: a, taken: 1, asked: 1 },
      { spec: b, taken: 1, asked: 9 }
    ])
    expect(evict(view, 100, { upTo: 3, wanted: (id) => id === a.id }).eviction).toMatchObject({ replicas: [of(b)] })
  })
})
