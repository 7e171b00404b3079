import { describe, expect, it } from "@effect/vitest"
import { Device, DeviceStatus } from "@helixflow/schema/Device"
import { ActorUnreachable, LoadFailed } from "@helixflow/schema/Errors"
import { Bytes, DeviceId, makeReplicaId, ReservationId } from "@helixflow/schema/Ids"
import { type ModelSpec, partsOf } from "@helixflow/schema/Model"
import { Effect, Exit, Fiber, TestClock } from "effect"
import * as FastCheck from "effect/FastCheck"
import * as Defrag from "../src/Defrag.ts"
import * as Demand from "../src/Demand.ts"
import { explain } from "../src/Explain.ts"
import * as FairShare from "../src/FairShare.ts"
import { Fleet } from "../src/Fleet.ts"
import * as FleetChange from "../src/FleetChange.ts"
import * as FleetView from "../src/FleetView.ts"
import * as Ledger from "../src/Ledger.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import * as Survey from "../src/Survey.ts"
import * as VirtualFleet from "../src/VirtualFleet.ts"
import { model, replicaStatus, request } from "./fixtures.ts"
import { arrival, caller } from "./traces.ts"

const gpu = (node: string, index: number, total: number, name = "H100") =>
  new Device({ id: DeviceId.make(`${node}/cuda:${index}`), kind: "cuda", name, total: Bytes.make(total) })

const viewOf = (devices: ReadonlyArray<Device>, specs: ReadonlyArray<ModelSpec>) =>
  devices.reduce(
    (view, device) =>
      FleetChange.observeDevice(view, new DeviceStatus({ device, free: device.total, claims: [], version: 0 })),
    FleetChange.withModels(FleetView.empty, specs)
  )

/** A replica that is ready on these devices. */
const resident = (view: FleetView.FleetView, spec: ModelSpec, [device, ...others]: ReadonlyArray<Device>, n = 0) => {
  if (device === undefined) return view
  const replica = makeReplicaId(device.id, spec.id, n)
  const status = replicaStatus(spec, device.id, {
    n,
    parts: others.map(({ id }, index) => ({ device: id, reservation: ReservationId.make(`${replica}/${index + 1}`) }))
  })
  const assumed = FleetChange.assumeLoad(view, status, spec.claimOn("cuda"), 0)
  return FleetChange.updateReplica(assumed, replica, () => ({ life: "running" }))
}

const search = (spec: ModelSpec, evicts = true): Survey.Search => ({
  spec,
  evicts,
  patientUntil: Number.POSITIVE_INFINITY,
  wanted: () => false
})
const load = (view: FleetView.FleetView, spec: ModelSpec) => Survey.survey(view, search(spec), 1e6, defaults).load
const free = (view: FleetView.FleetView, { id }: Device) => FleetView.device(view, id)?.free
const explained = (view: FleetView.FleetView, spec: ModelSpec) => explain(view, spec, () => 0, 1e6, defaults)

describe("a model that is split", () => {
  const pair = model("pair", {
    weights: 100,
    slots: 2,
    context: 20,
    placing: { split: 2, partOverhead: Bytes.make(5) }
  })

  it("claims of each device its share of the weights and of the KV cache, and what a part takes besides", () => {
    expect([pair.slotBytesOn("cuda"), pair.kvBytesOn("cuda"), pair.claimOn("cuda")]).toEqual([10, 20, 75])
    const whole = model("whole", { weights: 100, placing: { partOverhead: Bytes.make(5) } })
    expect(whole.claimOn("cuda")).toBe(140)
  })

  it("goes to devices of one node and one name, and to no fewer than it asks for", () => {
    const scattered = [gpu("a", 0, 100), gpu("b", 0, 100), gpu("a", 1, 100, "L4")]
    expect(load(viewOf(scattered, [pair]), pair)).toBeUndefined()
    expect(Survey.survey(viewOf(scattered, [pair]), search(pair), 0, defaults).possible).toBe(false)
    const found = load(viewOf([...scattered, gpu("b", 1, 100)], [pair]), pair)
    expect(found).toMatchObject({ device: "b/cuda:0", parts: ["b/cuda:1"], evict: [] })
  })

  it("counts on all of its devices until it is forgotten on all", () => {
    const devices = [gpu("a", 0, 100), gpu("a", 1, 100), gpu("a", 2, 100)]
    const view = resident(viewOf(devices, [pair]), pair, devices.slice(0, 2))
    const replica = makeReplicaId(DeviceId.make("a/cuda:0"), pair.id, 0)
    expect(devices.map((device) => free(view, device))).toEqual([25, 25, 100])
    expect(devices.map(({ id }) => FleetView.replicasOn(view, id))).toEqual([[replica], [replica], []])
    const gone = FleetChange.forgetReplica(view, replica, 1)
    expect(devices.map((device) => free(gone, device))).toEqual([100, 100, 100])
    expect(devices.flatMap(({ id }) => FleetView.replicasOn(gone, id))).toEqual([])
  })

  it("leaves all of its devices for one that needs a single one, which is counted once", () => {
    const devices = [gpu("a", 0, 100), gpu("a", 1, 100)]
    const two = model("two", { weights: 120, placing: { split: 2 } })
    const view = resident(viewOf(devices, [pair, two]), pair, devices)
    const replica = makeReplicaId(DeviceId.make("a/cuda:0"), pair.id, 0)
    expect(load(view, two)).toMatchObject({ device: "a/cuda:0", parts: ["a/cuda:1"], evict: [replica] })
    expect(load(view, model("one", { weights: 50 }))?.evict).toEqual([replica])
  })

  it("is taken to load as long before its first load as after, for the bytes of all its parts", () => {
    const devices = [gpu("a", 0, 2 ** 36), gpu("a", 1, 2 ** 36)]
    const heavy = model("heavy", { weights: 2 ** 34, placing: { split: 2 } })
    const view = resident(viewOf(devices, [heavy]), heavy, devices)
    const [entry] = FleetView.replicasOf(view, heavy.id).map((id) => FleetView.replica(view, id) ?? expect.fail())
    const before = Demand.loadMillis(Demand.none, heavy, "cuda")
    expect(before).toBeGreaterThan(2 ** 34 / 2 ** 20)
    expect(entry && FleetView.reloadMillisOf(view, entry)).toBe(before)
    // as long as in one piece, but for the rounding of the parts
    expect(before).toBeCloseTo(Demand.loadMillis(Demand.none, model("whole", { weights: 2 ** 34 }), "cuda"), 3)
  })

  it("costs its tenant the loading time of all its parts, which then goes after others", () => {
    const GiB = 2 ** 30
    const devices = [gpu("a", 0, 20 * GiB), gpu("a", 1, 20 * GiB)]
    const heavy = model("heavy", { weights: 16 * GiB, kvPerToken: 0, placing: { split: 2 } })
    const fleet = new VirtualFleet.VirtualFleet({
      devices,
      models: [heavy],
      options: defaults,
      arrivals: [arrival(0, 0, heavy.id, 100, { caller: caller("tenant") })],
      loadOf: () => ({ millis: 100, failure: null })
    })
    while (fleet.isAwaited && fleet.step());
    expect(FairShare.counter(fleet.state.loadShares, "tenant")).toBe(Demand.loadMillis(Demand.none, heavy, "cuda"))
    expect(Demand.loadMillis(Demand.none, heavy, "cuda")).toBe(500 + 16 * 1024)
  })

  it("is not moved for another", () => {
    const devices = [gpu("a", 0, 100), gpu("a", 1, 100), gpu("a", 2, 80), gpu("a", 3, 80)]
    const large = model("large", { weights: 55, slots: 1 })
    const view = resident(viewOf(devices, [pair, large]), pair, devices.slice(0, 2))
    const crowded = resident(view, large, [gpu("a", 2, 80)])
    expect(Defrag.plan(crowded, model("x", { weights: 60 }), Number.POSITIVE_INFINITY, 0)).toBeUndefined()
    expect(Defrag.plan(crowded, pair, Number.POSITIVE_INFINITY, 0)).toBeUndefined()
  })

  it("has others moved for it, off each of its devices and not to another of them", () => {
    // 60 are free on each of the first three, of which it needs 75 on two, and on none but the last there is a place to move to
    const devices = [gpu("a", 0, 100), gpu("a", 1, 100), gpu("a", 2, 100), gpu("b", 0, 90)]
    const small = model("small", { weights: 20, slots: 1, replicas: 3 })
    const view = devices
      .slice(0, 3)
      .reduce((view, device) => resident(view, small, [device]), viewOf(devices, [pair, small]))
    const plan = Defrag.plan(view, pair, Number.POSITIVE_INFINITY, 0) ?? expect.fail()
    expect([plan.device, ...plan.parts]).toEqual(["a/cuda:0", "a/cuda:1"])
    expect(plan.moves.map(({ from }) => from)).toEqual(["a/cuda:0", "a/cuda:1"])
    for (const { to } of plan.moves) expect(["a/cuda:2", "b/cuda:0"]).toContain(to)
    // where those in the way can't leave for it, as they have requests
    const busy = [...FleetView.replicasOf(view, small.id)].reduce(
      (view, id) => FleetChange.takeSlot(view, id, 1, 1e6),
      view
    )
    expect(explained(busy, pair).summary).toMatch(/it would fit on a\/cuda:\d and a\/cuda:\d once .* has moved to /)
  })

  it("has moves looked for with a bounded search, however many devices it could be split over", () => {
    const devices = Array.from({ length: 100 }, (_, index) => gpu("a", index, 100))
    const small = model("small", { weights: 7, slots: 1, context: 5, replicas: 400 })
    // a move makes room, but not on a device where none of them is left, so there is no plan and all are tried
    const apart = model("apart", { weights: 120, slots: 1, context: 5, placing: { split: 2, notBeside: [small.id] } })
    let looks = 0
    const placing = new Proxy(small.placing, {
      get: (of, key) => {
        if (key === "kind") looks += 1
        return Reflect.get(of, key)
      }
    })
    const watched = Object.assign(Object.create(Object.getPrototypeOf(small)), small, { placing })
    const view = devices.reduce(
      (view, device) => [0, 1, 2, 3].reduce((view, n) => resident(view, small, [device], n), view),
      viewOf(devices, [watched, apart])
    )
    expect(Defrag.plan(view, apart, Number.POSITIVE_INFINITY, 0)).toBeUndefined()
    expect(looks).toBeGreaterThan(1_000)
    expect(looks).toBeLessThan(20_000)
  })

  it("says where its parts are and would be, and which device is without another", () => {
    const devices = [gpu("a", 0, 100), gpu("a", 1, 100), gpu("b", 0, 100)]
    const empty = viewOf(devices, [pair])
    const would = explained(empty, pair)
    expect(would.summary).toContain("fits on a/cuda:0 and a/cuda:1: needs 75 B on each, 100 B and 100 B free")
    expect(would.devices.map(({ action }) => action)).toEqual(["load", "load", "none"])
    expect(would.devices[2]?.reasons).toEqual([{ _tag: "TooFewDevices", needed: 2, found: 1 }])
    const is = explained(resident(empty, pair, devices.slice(0, 2)), pair)
    expect(is.summary).toContain("ready on a/cuda:0 and a/cuda:1")
    expect(is.devices.map(({ action }) => action)).toEqual(["use", "use", "none"])
    const alone = explained(viewOf([gpu("a", 0, 100)], [pair]), pair)
    expect(alone.decision).toBe("rejected")
    expect(alone.summary).toContain("split over 2 devices of one node and name, of which 1 can be had")
  })
})

describe("any load of a split model", () => {
  it("has room for every part on devices of its own once those have left that it says", () => {
    const figure = FastCheck.record({
      weights: FastCheck.integer({ min: 10, max: 150 }),
      split: FastCheck.integer({ min: 1, max: 3 }),
      minReplicas: FastCheck.constantFrom(0, 0, 0, 1)
    })
    let evictions = 0
    let loads = 0
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(FastCheck.integer({ min: 40, max: 120 }), { minLength: 2, maxLength: 6 }),
        FastCheck.array(figure, { minLength: 2, maxLength: 6 }),
        FastCheck.integer({ min: 2, max: 3 }),
        FastCheck.integer({ min: 30, max: 250 }),
        (sizes, figures, split, weights) => {
          const devices = sizes.map((total, index) => gpu(index % 3 === 2 ? "b" : "a", index, total))
          const specs = figures.map(({ minReplicas, split, weights }, index) =>
            model(`m${index}`, { weights, context: 1, placing: { split, minReplicas } })
          )
          const asked = model("asked", { weights, context: 1, placing: { split } })
          let view = viewOf(devices, [...specs, asked])
          for (const spec of specs) {
            const found = Survey.survey(view, search(spec, false), 0, defaults).load
            const on = found === undefined ? [] : [found.device, ...found.parts]
            view = resident(
              view,
              spec,
              on.flatMap((id) => devices.find((device) => device.id === id) ?? [])
            )
          }
          const found = load(view, asked)
          if (found === undefined) return
          loads += 1
          evictions += found.evict.length
          const on = [found.device, ...found.parts].flatMap((id) => FleetView.device(view, id) ?? [])
          expect(new Set(on)).toHaveProperty("size", split)
          expect(new Set(on.map(({ status }) => status.device.id.split("/")[0]))).toHaveProperty("size", 1)
          expect(new Set(found.evict)).toHaveProperty("size", found.evict.length)
          const after = found.evict.reduce((view, id) => FleetChange.forgetReplica(view, id, 0), view)
          for (const { status } of on) expect(free(after, status.device)).toBeGreaterThanOrEqual(asked.claimOn("cuda"))
          for (const spec of specs.filter(({ placing }) => placing.minReplicas > 0)) {
            expect(FleetView.replicasOf(after, spec.id)).toEqual(FleetView.replicasOf(view, spec.id))
          }
        }
      ),
      { numRuns: 400, seed: 5 }
    )
    expect(loads).toBeGreaterThan(50)
    expect(evictions).toBeGreaterThan(50)
  })
})

describe("loading a split model", () => {
  const devices = [gpu("a", 0, 100), gpu("a", 1, 100)]
  const pair = model("pair", { weights: 100, placing: { split: 2 } })
  const placed = (scheduler: Scheduler.Handlers) =>
    scheduler.Place({ request: request(1), model: pair.id, not: [], timeoutMillis: 1_000 }).value
  const claimsOf = (memory: MemoryFleet.MemoryFleet) => devices.map(({ id }) => Ledger.claims(memory.ledger(id)))

  const start = (options: MemoryFleet.MemoryFleetOptions) =>
    Effect.gen(function* () {
      const memory = MemoryFleet.make(devices, [pair], options)
      const scheduler = yield* Scheduler.make().pipe(Effect.provideService(Fleet, memory.fleet))
      yield* scheduler.Observe(memory.news())
      return { memory, scheduler }
    })

  it.scoped("claims all parts, and gives all back when it is stopped", () =>
    Effect.gen(function* () {
      const { memory, scheduler } = yield* start({})
      yield* placed(scheduler)
      const [status] = memory.replicas()
      expect(status && partsOf(status).map(({ device }) => device)).toEqual(["a/cuda:0", "a/cuda:1"])
      expect(claimsOf(memory).map((claims) => claims.filter(({ within }) => within === null).length)).toEqual([1, 1])
      yield* scheduler.Complete({ reservation: ReservationId.make(request(1)) })
      yield* scheduler.Evict({ model: pair.id, timeoutMillis: 1_000 }).value
      expect(claimsOf(memory)).toEqual([[], []])
    })
  )

  it.scoped("claims nothing where a part of it can't be had", () =>
    Effect.gen(function* () {
      const { memory, scheduler } = yield* start({
        onMessage: (device, message) =>
          message === "Reserve" && device === "a/cuda:1"
            ? new ActorUnreachable({ actor: device, reason: "test" })
            : Effect.void
      })
      const waiting = yield* Effect.fork(placed(scheduler))
      yield* TestClock.adjust("1 minute")
      expect(Exit.isFailure(yield* Fiber.await(waiting))).toBe(true)
      expect([memory.replicas(), ...claimsOf(memory)]).toEqual([[], [], []])
    })
  )

  it.scoped("passes all of its devices over where it failed on them", () =>
    Effect.gen(function* () {
      const { memory, scheduler } = yield* start({
        onStart: ({ model }) => new LoadFailed({ model: model.id, reason: "test", file: null })
      })
      const exit = yield* Effect.exit(placed(scheduler))
      expect(Exit.isFailure(exit)).toBe(true)
      expect(claimsOf(memory)).toEqual([[], []])
      const { devices: verdicts } = yield* scheduler.Explain({ model: pair.id })
      expect(verdicts.map(({ reasons }) => reasons.map(({ _tag }) => _tag))).toEqual([
        ["ReplicaFailed"],
        ["ReplicaFailed"]
      ])
    })
  )
})
