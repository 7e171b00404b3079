import { describe, expect, it } from "@effect/vitest"
import { Device, DeviceStatus } from "@helixflow/schema/Device"
import { LoadFailed } from "@helixflow/schema/Errors"
import { Bytes, DeviceId, ModelId, makeReplicaId } from "@helixflow/schema/Ids"
import { type ModelSpec, type PolicyName, ReplicaStatus } from "@helixflow/schema/Model"
import { HashMap, Option } from "effect"
import * as FastCheck from "effect/FastCheck"
import * as DeviceIndex from "../src/DeviceIndex.ts"
import * as FleetChange from "../src/FleetChange.ts"
import * as FleetIndex from "../src/FleetIndex.ts"
import * as FleetView from "../src/FleetView.ts"
import { compareIds } from "../src/Policy.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import * as Survey from "../src/Survey.ts"
import { model, replicaStatus } from "./fixtures.ts"

const kinds = ["cuda", "cuda", "cpu"] as const
const deviceOf = (index: number, total: number) =>
  new Device({
    id: DeviceId.make(`local/${kinds[index % 3] ?? "cpu"}:${index}`),
    kind: kinds[index % 3] ?? "cpu",
    name: index % 2 === 0 ? "NVIDIA H100" : "NVIDIA L4",
    total: Bytes.make(total)
  })

const policies: ReadonlyArray<PolicyName> = ["best-fit", "first-fit", "round-robin", "least-loaded", "affinity"]
const wanted = (id: ModelId) => id < "c"
const names = ["a", "b", "c", "d", "e", "f"]
const figures = FastCheck.record({
  weights: FastCheck.integer({ min: 0, max: 60 }),
  onKinds: FastCheck.constantFrom({}, { cpu: { weights: 30 } }, { cuda: { weights: 15, kvPerToken: 2 }, cpu: {} }),
  replicas: FastCheck.integer({ min: 1, max: 4 }),
  policy: FastCheck.constantFrom(...policies),
  placing: FastCheck.record({
    minReplicas: FastCheck.constantFrom(0, 0, 1, 2),
    kind: FastCheck.constantFrom(null, null, "cuda" as const, "cpu" as const),
    name: FastCheck.constantFrom(null, null, "h100"),
    devices: FastCheck.constantFrom([], [], [], ["cuda:0", "local/cpu:2", "cuda:4"]),
    spread: FastCheck.boolean(),
    split: FastCheck.constantFrom(1, 1, 1, 1, 1, 2),
    notBeside: FastCheck.subarray(names, { maxLength: 1 }).map((ids) => ids.map((id) => ModelId.make(id)))
  })
})

/** The devices in an order as `DeviceIndex` has them, found by looking at all. */
const scanned =
  (view: FleetView.FleetView, { placing }: ModelSpec): Survey.Source =>
  (kind, order, needed, after = null) =>
    Array.from(HashMap.values(view.devices))
      .flatMap(({ status: { device } }) => {
        const profile = FleetIndex.profileOf(view, device.id)
        const at = profile && DeviceIndex.place(order, profile)
        const { devices, name } = placing
        const asked =
          (name === null || device.name.toLowerCase().includes(name)) &&
          (devices.length === 0 || devices.some((id) => device.id.endsWith(id)))
        return at != null && at.size >= needed && device.kind === kind && asked ? [{ id: device.id, key: at.key }] : []
      })
      .filter(({ id }) => after === null || DeviceIndex.sortKey(id) > after)
      .sort((a, b) => a.key - b.key || compareIds(a.id, b.id))

const nat = FastCheck.nat(1000)
const step = FastCheck.oneof(
  FastCheck.record({
    op: FastCheck.constant("load" as const),
    ready: FastCheck.constantFrom(true, true, true, true, false),
    fresh: FastCheck.constantFrom(true, false, false, false),
    model: nat,
    on: nat,
    at: FastCheck.nat(100)
  }),
  FastCheck.record({
    op: FastCheck.constant("use" as const),
    which: nat,
    change: FastCheck.constantFrom(1 as const, -1 as const),
    at: FastCheck.nat(100)
  }),
  FastCheck.record({
    op: FastCheck.constant("become" as const),
    which: nat,
    life: FastCheck.constantFrom("running" as const, "stopping" as const),
    state: FastCheck.constantFrom("ready" as const, "ready" as const, "failed" as const)
  }),
  FastCheck.record({ op: FastCheck.constant("forget" as const), which: nat }),
  FastCheck.record({
    op: FastCheck.constant("free" as const),
    on: nat,
    free: FastCheck.integer({ min: -20, max: 100 })
  }),
  FastCheck.record({ op: FastCheck.constant("fail" as const), model: nat, on: nat, until: FastCheck.nat(200) }),
  FastCheck.record({ op: FastCheck.constant("cursor" as const), model: nat, on: nat }),
  FastCheck.record({ op: FastCheck.constant("ask" as const), model: nat, at: FastCheck.nat(1e7) }),
  FastCheck.record({ op: FastCheck.constant("took" as const), model: nat, millis: FastCheck.nat(60) })
)
type Step = typeof step extends FastCheck.Arbitrary<infer A> ? A : never

const apply = (
  view: FleetView.FleetView,
  specs: ReadonlyArray<ModelSpec>,
  devices: ReadonlyArray<Device>,
  step: Step,
  n: number
) => {
  const modelAt = (at: number) => specs[at % specs.length]
  const deviceAt = (at: number) => devices[at % devices.length]?.id
  const kindAt = (at: number) => devices[at % devices.length]?.kind ?? "cpu"
  const replicas = Array.from(HashMap.keys(view.replicas)).sort()
  const replicaAt = (at: number) => replicas[at % Math.max(1, replicas.length)]
  switch (step.op) {
    case "load": {
      const [spec, on] = [modelAt(step.model), deviceAt(step.on)]
      if (spec === undefined || on === undefined) return view
      const status = replicaStatus(spec, on, { n, state: "loading", pid: null })
      const loading = FleetChange.assumeLoad(view, status, spec.claimOn(kindAt(step.on)), step.at)
      if (!step.ready) return loading
      const ready = new ReplicaStatus({ ...status, state: "ready" })
      const loadedAt = step.fresh ? step.at : null
      return FleetChange.updateReplica(loading, status.replica, () => ({ life: "running", status: ready, loadedAt }))
    }
    case "use": {
      const id = replicaAt(step.which)
      return id === undefined ? view : FleetChange.takeSlot(view, id, step.change, step.at)
    }
    case "become": {
      const id = replicaAt(step.which)
      if (id === undefined) return view
      return FleetChange.updateReplica(view, id, ({ status }) => ({
        life: step.life,
        status: new ReplicaStatus({ ...status, state: step.state })
      }))
    }
    case "forget": {
      const id = replicaAt(step.which)
      return id === undefined ? view : FleetChange.forgetReplica(view, id, 0)
    }
    case "free": {
      const on = deviceAt(step.on)
      return on === undefined ? view : FleetChange.correctFree(view, on, step.free)
    }
    case "fail": {
      const [spec, on] = [modelAt(step.model), deviceAt(step.on)]
      if (spec === undefined || on === undefined) return view
      const error = new LoadFailed({ model: spec.id, reason: "test", file: null })
      return FleetChange.recordFailure(view, spec.id, on, {
        replica: makeReplicaId(on, spec.id, 0),
        error,
        count: 1,
        until: step.until
      })
    }
    case "ask": {
      const spec = modelAt(step.model)
      return spec === undefined ? view : FleetChange.asked(view, spec.id, step.at)
    }
    case "took": {
      const spec = modelAt(step.model)
      return spec === undefined ? view : FleetChange.loadTook(view, spec.id, step.millis)
    }
    case "cursor": {
      const [spec, on] = [modelAt(step.model), deviceAt(step.on)]
      return spec === undefined || on === undefined ? view : FleetChange.moveCursor(view, spec.id, on)
    }
  }
}

describe("the index", () => {
  it("decides as a scan of all devices does, after any history", () => {
    const sizes = FastCheck.array(FastCheck.integer({ min: 20, max: 100 }), { minLength: 1, maxLength: 12 })
    let loads = 0
    let evictions = 0
    let surveys = 0
    FastCheck.assert(
      FastCheck.property(
        sizes,
        FastCheck.tuple(figures, figures, figures, figures, figures, figures),
        FastCheck.array(step, { maxLength: 50, size: "max" }),
        FastCheck.nat(150),
        (sizes, figures, steps, now) => {
          const devices = sizes.map((total, index) => deviceOf(index, total))
          const specs = figures.map((figures, index) => model(names[index] ?? "", { ...figures, context: 5 }))
          // the ways in which models ask for devices are met by and by; of half of the models, only by the survey
          let view = FleetChange.withModels(FleetView.empty, specs.slice(0, 2))
          for (const device of devices) {
            const free = Bytes.make(device.total)
            view = FleetChange.observeDevice(view, new DeviceStatus({ device, free, claims: [], version: 0 }))
          }
          steps.forEach((step, n) => {
            view = apply(view, specs, devices, step, n)
            if (n === 20) view = FleetChange.withModels(view, specs.slice(0, 4))
            // asked now and then, so that the index is brought up to date by one step and by many
            if (n % 3 === 0) FleetIndex.indexOf(view)
          })
          for (const spec of specs) {
            for (const search of [
              { spec, evicts: false, patientUntil: 0, wanted },
              { spec, evicts: true, patientUntil: 100, wanted }
            ]) {
              const found = Survey.survey(view, search, now, defaults, scanned(view, spec))
              expect(Survey.survey(view, search, now, defaults)).toEqual(found)
              surveys += 1
              if (found.load !== undefined) loads += 1
              if (found.load !== undefined && found.load.evict.length > 0) evictions += 1
            }
          }
        }
      ),
      { numRuns: 600, seed: 2 }
    )
    // the property says something
    expect(loads / surveys).toBeGreaterThan(0.2)
    expect(evictions).toBeGreaterThan(20)
  })

  it("never lets more replicas of a model leave than are beyond those that are kept", () => {
    const kept = model("k", { weights: 10, placing: { minReplicas: 1 } })
    const other = model("o", { weights: 0 })
    const [device] = [deviceOf(0, 100)]
    let view = FleetChange.withModels(FleetView.empty, [kept, other])
    view = FleetChange.observeDevice(view, new DeviceStatus({ device, free: Bytes.make(100), claims: [], version: 0 }))
    for (const n of [0, 1]) {
      view = apply(view, [kept], [device], { op: "load", ready: true, fresh: false, model: 0, on: 0, at: n }, n)
    }
    const large = model("l", { weights: 60 })
    const huge = model("h", { weights: 1000 })
    const search = (spec: ModelSpec) =>
      Survey.survey(view, { spec, evicts: true, patientUntil: 0, wanted }, 50, defaults)
    // 50 claimed by each of the two: one may go, not both
    expect(search(other).load?.evict).toHaveLength(1)
    expect(search(large).load).toBeUndefined()
    expect(search(huge).possible).toBe(false)
    expect(Option.isSome(HashMap.get(view.devices, device.id))).toBe(true)
  })
})
