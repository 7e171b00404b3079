import { describe, expect, it } from "@effect/vitest"
import { Device, DeviceStatus } from "@helixflow/schema/Device"
import { Bytes, Millis, type ReplicaId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import * as FastCheck from "effect/FastCheck"
import * as Defrag from "../src/Defrag.ts"
import * as FleetChange from "../src/FleetChange.ts"
import * as FleetView from "../src/FleetView.ts"
import { device, deviceId, model, replicaStatus } from "./fixtures.ts"

const now = 1_000_000

/** Every device has a name of its own, unless they are to have so many names in turn. */
const fleet = (totals: ReadonlyArray<number>, specs: ReadonlyArray<ModelSpec>, names = totals.length) =>
  totals.reduce(
    (view, total, index) => {
      const named = new Device({ ...device(index, total), name: `name ${index % names}` })
      const status = new DeviceStatus({ device: named, free: Bytes.make(total), claims: [], version: 1 })
      return FleetChange.observeDevice(view, status)
    },
    FleetChange.withModels(FleetView.empty, specs)
  )

/** A replica that is ready, with so many requests, and took `reload` milliseconds to load. */
const loaded = (view: FleetView.FleetView, spec: ModelSpec, on: number, reload: number, taken = 0) => {
  const n = FleetView.replicasOf(view, spec.id).length
  const status = replicaStatus(spec, deviceId(on), { n, since: Millis.make(1) })
  const ready = FleetChange.updateReplica(
    FleetChange.assumeLoad(view, status, spec.claimOn("cpu"), now),
    status.replica,
    () => ({
      life: "running",
      loadedAt: now,
      taken
    })
  )
  return FleetChange.loadTook(ready, spec.id, reload)
}

/** A model that claims so many bytes. */
const sized = (name: string, bytes: number, figures = {}) => model(name, { kvPerToken: 0, weights: bytes, ...figures })

describe("a plan of moves", () => {
  const [small, large] = [sized("small", 40), sized("large", 80)]

  it("moves the one that is in the way to where it fits", () => {
    const view = loaded(loaded(fleet([100, 100], [small, large]), small, 0, 1000), small, 1, 1000)
    expect(Defrag.plan(view, large, Number.POSITIVE_INFINITY, now)).toEqual({
      moves: [{ replica: "local/cpu:0/small#0", from: "local/cpu:0", to: "local/cpu:1" }],
      device: "local/cpu:0",
      parts: [],
      cost: 1000
    })
  })

  it("is only one that costs less than it may", () => {
    const view = loaded(loaded(fleet([100, 100], [small, large]), small, 0, 1000), small, 1, 1000)
    expect(Defrag.plan(view, large, 1000, now)).toBeUndefined()
  })

  it("prefers what loads fast, and moves those with requests too", () => {
    const [slow, fast] = [sized("slow", 40), sized("fast", 40)]
    const view = loaded(loaded(fleet([100, 100], [slow, fast, large]), slow, 0, 9000), fast, 1, 300, 2)
    const plan = Defrag.plan(view, large, Number.POSITIVE_INFINITY, now)
    expect(plan?.moves.map(({ replica }) => replica)).toEqual(["local/cpu:1/fast#0"])
  })

  it("leaves a program of its own with requests where it is", () => {
    const served = sized("served", 40)
    const external = Object.assign(Object.create(Object.getPrototypeOf(served)), served, { external: true })
    const view = (taken: number) => loaded(fleet([100, 60], [external, large]), external, 0, 1000, taken)
    expect(Defrag.plan(view(1), large, Number.POSITIVE_INFINITY, now)).toBeUndefined()
    expect(Defrag.plan(view(0), large, Number.POSITIVE_INFINITY, now)?.moves).toHaveLength(1)
  })

  it("makes room for who makes room", () => {
    const [middle, huge] = [sized("middle", 50), sized("huge", 100)]
    // 50 free on the first, 10 and 40 on the others: the middle one fits on no other until a small one has left
    let view = fleet([100, 50, 80], [small, middle, huge])
    view = loaded(view, middle, 0, 1000)
    view = loaded(view, small, 1, 1000)
    view = loaded(view, small, 2, 1000)
    const plan = Defrag.plan(view, huge, Number.POSITIVE_INFINITY, now) ?? expect.fail()
    expect(plan.moves).toHaveLength(2)
    expect(plan.moves.at(-1)).toEqual({ replica: "local/cpu:0/middle#0", from: "local/cpu:0", to: expect.anything() })
  })

  it("is none where a device has the memory, or all together do not", () => {
    const view = loaded(loaded(fleet([100, 100], [small, large]), small, 0, 1000), small, 1, 1000)
    expect(Defrag.plan(view, sized("fits", 60), Number.POSITIVE_INFINITY, now)).toBeUndefined()
    expect(Defrag.plan(view, sized("more", 121), Number.POSITIVE_INFINITY, now)).toBeUndefined()
  })
})

interface Spot {
  readonly replica: ReplicaId
  readonly model: number
  readonly on: number
}

/** Whether the bytes are those of so many devices of one name that each part has room. */
type Suffices = (free: ReadonlyArray<number>) => boolean

/** The cheapest of all sequences of moves, by trying them. */
const cheapest = (
  free: ReadonlyArray<number>,
  spots: ReadonlyArray<Spot>,
  bytes: ReadonlyArray<number>,
  costs: ReadonlyArray<number>,
  suffices: Suffices,
  left: number
): number => {
  if (suffices(free)) return 0
  if (left === 0) return Number.POSITIVE_INFINITY
  let best = Number.POSITIVE_INFINITY
  for (const [index, { model, on }] of spots.entries()) {
    const [size = 0, cost = 0] = [bytes[model], costs[model]]
    for (const to of free.keys()) {
      if (to === on || (free[to] ?? 0) < size) continue
      const next = free.map((bytes, at) => bytes + (at === on ? size : 0) - (at === to ? size : 0))
      const moved = spots.map((spot, at) => (at === index ? { ...spot, on: to } : spot))
      best = Math.min(best, cost + cheapest(next, moved, bytes, costs, suffices, left - 1))
    }
  }
  return best
}

const size = FastCheck.integer({ min: 10, max: 60 })
const cost = FastCheck.integer({ min: 1, max: 50 })

describe("any small fleet", () => {
  it.prop(
    "has a plan wherever trying all finds one, as cheap as that, and none that over-commits at any step",
    [
      FastCheck.array(FastCheck.integer({ min: 60, max: 120 }), { minLength: 2, maxLength: 4 }),
      FastCheck.array(FastCheck.tuple(size, cost), { minLength: 1, maxLength: 5 }),
      FastCheck.array(FastCheck.tuple(FastCheck.nat(), FastCheck.nat(), FastCheck.nat(1)), { maxLength: 6 }),
      FastCheck.integer({ min: 30, max: 120 }),
      FastCheck.constantFrom(1, 1, 2, 3),
      FastCheck.constantFrom(1, 1, 2)
    ],
    ([totals, figures, placed, needed, split, names]) => {
      const specs = figures.map(([bytes], n) => sized(`m${n}`, bytes))
      const wanted = sized("wanted", needed * split, { placing: { split } })
      let view = fleet(totals, [...specs, wanted], names)
      const suffices: Suffices = (free) =>
        Array.from({ length: names }, (_, name) =>
          free.filter((bytes, index) => index % names === name && bytes >= needed)
        ).some(({ length }) => length >= split)
      const free = [...totals]
      const spots: Array<Spot> = []
      for (const [which, where, taken] of placed) {
        const [index, on] = [which % specs.length, where % totals.length]
        const [spec, reload] = [specs[index] ?? expect.fail(), figures[index]?.[1] ?? 1]
        if ((free[on] ?? 0) < spec.claimOn("cpu")) continue
        const before = new Set(FleetView.replicasOn(view, deviceId(on)))
        view = loaded(view, spec, on, reload, taken)
        free[on] = (free[on] ?? 0) - spec.claimOn("cpu")
        const replica = FleetView.replicasOn(view, deviceId(on)).find((id) => !before.has(id)) ?? expect.fail()
        spots.push({ replica, model: index, on })
      }
      const best = suffices(totals)
        ? cheapest(
            free,
            spots,
            specs.map((spec) => spec.claimOn("cpu")),
            figures.map(([, reload]) => reload),
            suffices,
            Defrag.mostMoves
          )
        : Number.POSITIVE_INFINITY
      const plan = Defrag.plan(view, wanted, Number.POSITIVE_INFINITY, now)
      expect(plan?.cost ?? 0).toBe(Number.isFinite(best) ? best : 0)
      expect(plan === undefined).toBe(best === 0 || !Number.isFinite(best))
      if (plan === undefined) return
      // one may move twice
      const places = new Map(spots.map(({ on, replica }) => [replica, on]))
      for (const { from, replica, to } of plan.moves) {
        const spot = spots.find((spot) => spot.replica === replica) ?? expect.fail()
        const [source = expect.fail(), target] = [
          places.get(replica),
          totals.findIndex((_, index) => deviceId(index) === to)
        ]
        expect(deviceId(source)).toBe(from)
        places.set(replica, target)
        const bytes = specs[spot.model]?.claimOn("cpu") ?? expect.fail()
        // the new place is taken before the old one is left
        free[target] = (free[target] ?? 0) - bytes
        expect(free[target]).toBeGreaterThanOrEqual(0)
        free[source] = (free[source] ?? 0) + bytes
      }
      const on = [plan.device, ...plan.parts]
      expect(new Set(on)).toHaveProperty("size", split)
      expect(suffices(free.map((bytes, index) => (on.includes(deviceId(index)) ? bytes : 0)))).toBe(true)
    },
    { fastCheck: { numRuns: 2000 } }
  )
})
