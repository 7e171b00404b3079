import { describe, expect, it } from "@effect/vitest"
import { Device, type DeviceKind, DeviceStatus, localDevice } from "@helixflow/schema/Device"
import { LoadFailed } from "@helixflow/schema/Errors"
import { Bytes, DeviceId, ReservationId } from "@helixflow/schema/Ids"
import { unknownShortage } from "@helixflow/schema/MemoryShortage"
import { type ModelSpec, partsOf } from "@helixflow/schema/Model"
import { Effect, Either, Schema } from "effect"
import * as FastCheck from "effect/FastCheck"
import { explain } from "../src/Explain.ts"
import { Fleet } from "../src/Fleet.ts"
import * as FleetChange from "../src/FleetChange.ts"
import * as FleetView from "../src/FleetView.ts"
import * as Ledger from "../src/Ledger.ts"
import * as MemoryFleet from "../src/MemoryFleet.ts"
import { LogLine, read, worldOf } from "../src/Replay.ts"
import * as Scheduler from "../src/SchedulerActor.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import { learned } from "../src/SchedulerState.ts"
import * as Survey from "../src/Survey.ts"
import * as VirtualFleet from "../src/VirtualFleet.ts"
import { model, request } from "./fixtures.ts"
import { broken, left } from "./invariants.ts"
import { arrival } from "./traces.ts"

const device = (kind: DeviceKind, index: number, total: number) =>
  new Device({ id: DeviceId.make(`local/${kind}:${index}`), kind, name: kind, total: Bytes.make(total) })

const viewOf = (devices: ReadonlyArray<Device>, specs: ReadonlyArray<ModelSpec>) =>
  devices.reduce(
    (view, device) =>
      FleetChange.observeDevice(view, new DeviceStatus({ device, free: device.total, claims: [], version: 0 })),
    FleetChange.withModels(FleetView.empty, specs)
  )

const placeFor = (devices: ReadonlyArray<Device>, spec: ModelSpec) => {
  const search = { spec, evicts: true, patientUntil: Number.POSITIVE_INFINITY, wanted: () => false }
  return Survey.survey(viewOf(devices, [spec]), search, 0, defaults).load
}

/** Single precision on processors, half of it on GPUs: 880 and 340 bytes with two slots of 40 or of 20. */
const half = model("half", { weights: 800, kvPerToken: 2, onKinds: { cpu: {}, cuda: { weights: 300, kvPerToken: 1 } } })
const [cpu, cuda] = [device("cpu", 0, 900), device("cuda", 0, 400)]

describe("a model that takes less on one kind of device", () => {
  it("claims of each device what it takes there", () => {
    expect([half.claimOn("cpu"), half.claimOn("cuda")]).toEqual([880, 340])
    // of a kind that nothing is known of, the most
    expect(half.claimOn("webgpu")).toBe(880)
  })

  it("is loaded where it fits by what it takes there, and nowhere else", () => {
    expect(placeFor([cuda, device("cpu", 0, 500)], half)).toMatchObject({ device: "local/cuda:0", kind: "cuda" })
    expect(placeFor([device("cpu", 0, 500)], half)).toBeUndefined()
    const wide = model("wide", { weights: 300, onKinds: { cpu: {}, cuda: { weights: 800 } } })
    expect(placeFor([cuda, device("cpu", 0, 500)], wide)).toMatchObject({ device: "local/cpu:0", kind: "cpu" })
    expect(placeFor([cuda], wide)).toBeUndefined()
  })

  it("is explained with what each device lacks of what it takes there", () => {
    const view = FleetChange.correctFree(viewOf([cpu, cuda], [half]), cuda.id, 100)
    const { devices } = explain(view, half, () => 0, 0, defaults)
    expect(devices.map(({ device, missing }) => [device, missing])).toEqual([
      ["local/cpu:0", 0],
      ["local/cuda:0", 240]
    ])
    expect(devices[1]?.reasons).toContainEqual({ _tag: "InsufficientMemory", needed: 340, free: 100 })
  })

  it.scoped("has that in the ledgers, and its requests the KV cache that they reach there", () =>
    Effect.gen(function* () {
      for (const on of [cpu, cuda]) {
        const memory = MemoryFleet.make([on], [half])
        const scheduler = yield* Scheduler.make().pipe(Effect.provideService(Fleet, memory.fleet))
        yield* scheduler.Observe(memory.news())
        yield* scheduler.Place({ request: request(on.id), model: half.id, not: [], timeoutMillis: 1_000 }).value
        const claims = Ledger.claims(memory.ledger(on.id)).map(({ bytes, shareable }) => [bytes, shareable])
        expect(claims).toEqual([
          [half.claimOn(on.kind), half.kvBytesOn(on.kind)],
          [half.slotBytesOn(on.kind), 0]
        ])
      }
    })
  )

  it.scoped("claims more of the kind on which memory was not enough, and as before of the others", () =>
    Effect.gen(function* () {
      const tried: Array<readonly [string, number, number]> = []
      const memory = MemoryFleet.make([device("cpu", 0, 900), device("cuda", 0, 500)], [half], {
        onStart: ({ device, model }) => {
          tried.push([device, model.claimOn("cuda"), model.claimOn("cpu")])
          return tried.length > 1
            ? Effect.void
            : new LoadFailed({ model: model.id, reason: "bad allocation", file: null, memory: unknownShortage })
        }
      })
      const scheduler = yield* Scheduler.make().pipe(Effect.provideService(Fleet, memory.fleet))
      yield* scheduler.Observe(memory.news())
      yield* scheduler.Place({ request: request(1), model: half.id, not: [], timeoutMillis: 1_000 }).value
      expect(tried).toEqual([
        ["local/cuda:0", 340, 880],
        ["local/cuda:0", 425, 880]
      ])
      yield* scheduler.Complete({ reservation: ReservationId.make(request(1)) })
    })
  )
})

describe("what was learned of one kind of device", () => {
  it("changes what the model claims there alone, also in a replay", () => {
    const more = half.withWeightsOn("cuda", Bytes.make(500))
    const events = learned([half], [more], 5)
    expect(events).toEqual([{ _tag: "Learned", at: 5, model: half.id, kind: "cuda", weights: 500 }])
    const header = { _tag: "FleetKnown", at: 0, devices: [cpu, cuda], models: [half] }
    const asked = { _tag: "Arrived", at: 10, request: "r", model: half.id, caller: arrival(0, 0, half.id, 1).caller }
    const course = (...before: ReadonlyArray<unknown>) => {
      const lines = [header, ...before, { ...asked, not: [], timeoutMillis: 5_000 }]
      const log = lines.map((line) => Either.getOrThrow(Schema.decodeUnknownEither(LogLine)(JSON.stringify(line))))
      return VirtualFleet.run(worldOf(read(log), defaults)).outcomes.map(({ placed }) => placed?.device)
    }
    expect(course()).toEqual(["local/cuda:0"])
    // no GPU is large enough for it any more
    expect(course(...events)).toEqual(["local/cpu:0"])
    // as logs were before there were kinds: it counts on all
    const { kind, ...old } = { kind: "", ...events[0], weights: 900 }
    expect(course(old)).toEqual([undefined])
  })
})

const footprint = FastCheck.record({
  weights: FastCheck.integer({ min: 10, max: 150 }),
  kvPerToken: FastCheck.integer({ min: 0, max: 3 })
})
const figures = FastCheck.record({
  onKinds: FastCheck.record({ cpu: footprint, cuda: footprint }),
  slots: FastCheck.integer({ min: 1, max: 3 }),
  split: FastCheck.constantFrom(1, 1, 1, 2),
  at: FastCheck.array(FastCheck.nat(20_000), { minLength: 1, maxLength: 4 })
})
const totals = FastCheck.array(FastCheck.integer({ min: 60, max: 200 }), { maxLength: 3 })

describe("any mixed fleet", () => {
  it("is never over-committed, charges of each device what is taken there, and serves every model that fits somewhere", () => {
    const on = { cpu: 0, cuda: 0, only: 0, refused: 0 }
    FastCheck.assert(
      FastCheck.property(
        totals,
        totals,
        FastCheck.array(figures, { minLength: 1, maxLength: 6 }),
        (cpus, gpus, all) => {
          const devices = [
            ...cpus.map((total, index) => device("cpu", index, total)),
            ...gpus.map((total, index) => device("cuda", index, total))
          ]
          const models = all.map(({ onKinds, slots, split }, index) =>
            model(`m${index}`, { onKinds, slots, context: 5, placing: { split } })
          )
          let order = 0
          const arrivals = all.flatMap(({ at }, index) =>
            at.map((at) => arrival(order++, at, models[index]?.id ?? expect.fail(), 400))
          )
          const loadOf = () => ({ millis: 300, failure: null })
          const fleet = new VirtualFleet.VirtualFleet({ devices, models, options: defaults, arrivals, loadOf })
          while (fleet.isAwaited && fleet.step()) {
            expect(broken(fleet)).toEqual([])
            for (const worker of fleet.replicas.workers.values()) {
              const spec = models.find(({ id }) => id === worker.model) ?? expect.fail()
              for (const { device, reservation } of partsOf(worker)) {
                const { kind } = localDevice(device)
                expect(fleet.devices.claimed(device, reservation)).toBe(spec.claimOn(kind))
              }
            }
          }
          const fits = (spec: ModelSpec, kind: DeviceKind) =>
            devices.filter((one) => one.kind === kind && spec.claimOn(kind) <= one.total).length >= spec.placing.split
          for (const { arrival, placed, refusal } of fleet.outcomes) {
            const spec = models.find(({ id }) => id === arrival.model) ?? expect.fail()
            const kind = (["cuda", "cpu"] as const).find((kind) => fits(spec, kind))
            if (devices.length > 0) expect(refusal).toBe(kind === undefined ? "NoDeviceFits" : undefined)
            if (placed === undefined) {
              on.refused += 1
              continue
            }
            expect(localDevice(placed.device).kind).toBe(kind)
            on[kind ?? "cpu"] += 1
            if (kind !== undefined && Math.min(spec.claimOn("cpu"), spec.claimOn("cuda")) < spec.claimOn(kind))
              on.only += 1
          }
          fleet.close()
          expect(left(fleet)).toEqual([])
        }
      ),
      { numRuns: 200, seed: 7 }
    )
    // the property says something
    expect(Math.min(...Object.values(on))).toBeGreaterThan(50)
  })
})
