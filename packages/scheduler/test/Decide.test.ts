import { describe, expect, it } from "@effect/vitest"
import { Device } from "@helixflow/schema/Device"
import { Bytes, DeviceId, makeReplicaId } from "@helixflow/schema/Ids"
import * as Decide from "../src/Decide.ts"
import { explain } from "../src/Explain.ts"
import * as FleetChange from "../src/FleetChange.ts"
import type * as FleetView from "../src/FleetView.ts"
import { defaults } from "../src/SchedulerOptions.ts"
import { a, b, c, decide, failedOn, id, now, view } from "./decisions.ts"
import { device, deviceId, model } from "./fixtures.ts"

describe("a replica is ready with a free slot", () => {
  it("it is used, even if a device is empty and the model may have more", () => {
    const twice = model("a", { replicas: 2 })
    const fleet = view([device(0, 100), device(1, 100)], [twice], [{ of: twice, on: 0, taken: 1 }])
    expect(decide(fleet, twice)).toMatchObject({ _tag: "Placed", replica: { status: { device: "local/cpu:0" } } })
  })

  it("it is passed over while its device is known to refuse", () => {
    const fleet = FleetChange.updateReplica(
      view([device(0, 100)], [a], [{ of: a, on: 0 }]),
      id({ of: a, on: 0 }),
      () => ({
        heldUntil: now + 5
      })
    )
    expect(decide(fleet, a)).toMatchObject({ _tag: "Wait", until: now + 5 })
  })
})

describe("a replica is on its way", () => {
  it("it is waited for: a model loads once at a time", () => {
    const twice = model("a", { replicas: 2 })
    const fleet = view([device(0, 100), device(1, 100)], [twice], [{ of: twice, on: 0, state: "loading" }])
    expect(decide(fleet, twice)).toEqual({
      _tag: "Wait",
      reasons: [{ _tag: "ReplicaLoading", replica: "local/cpu:0/a#0" }],
      until: Number.POSITIVE_INFINITY
    })
  })

  it("one that failed just now is left to its supervisor for a while, and no longer", () => {
    const just = view([device(0, 100)], [a], [{ of: a, on: 0, state: "failed", since: now - 1000 }])
    expect(decide(just, a)).toMatchObject({ _tag: "Wait", until: now - 1000 + defaults.failedGrace })
    const long = view([device(0, 100)], [a], [{ of: a, on: 0, state: "failed", since: now - defaults.failedGrace }])
    expect(decide(long, a)).toMatchObject({ _tag: "Load", evict: ["local/cpu:0/a#0"] })
  })
})

describe("the model fits", () => {
  it("it is loaded where the policy says", () => {
    const fleet = view([device(0, 300), device(1, 150)], [a])
    expect(decide(fleet, a)).toMatchObject({ _tag: "Load", device: "local/cpu:1", evict: [], score: 50 })
  })

  it("to the last byte", () => {
    expect(decide(view([device(0, 100)], [a]), a)).toMatchObject({ _tag: "Load", score: 0 })
  })

  it("not on a device that loads already", () => {
    const fleet = view([device(0, 250)], [a, b], [{ of: b, on: 0, state: "loading" }])
    expect(decide(fleet, a)).toMatchObject({
      _tag: "Wait",
      reasons: [{ _tag: "DeviceLoading", device: "local/cpu:0" }]
    })
  })

  it("a second time when all slots are taken, while it may have more replicas", () => {
    const standing = [{ of: model("a", { replicas: 2 }), on: 0, taken: 2 }]
    const fleet = (replicas: number) => view([device(0, 100), device(1, 100)], [model("a", { replicas })], standing)
    expect(decide(fleet(2), model("a", { replicas: 2 }))).toMatchObject({ _tag: "Load", device: "local/cpu:1" })
    expect(decide(fleet(1), model("a"))).toMatchObject({
      _tag: "Wait",
      reasons: [
        { _tag: "NoFreeSlot", slots: 2 },
        { _tag: "ReplicaLimit", limit: 1 }
      ]
    })
  })
})

describe("the model fits only if others leave", () => {
  it("the least wanted idle replica leaves, where that loses least", () => {
    const fleet = view(
      [device(0, 200), device(1, 100)],
      [a, b, c],
      [
        { of: a, on: 0, lastUsed: 5 },
        { of: b, on: 0, lastUsed: 3 },
        { of: c, on: 1, lastUsed: 4 }
      ]
    )
    const other = model("d")
    expect(decide(fleet, other)).toMatchObject({ _tag: "Load", device: "local/cpu:0", evict: ["local/cpu:0/b#0"] })
  })

  it("no more leave than needed", () => {
    const small = model("small", { weights: 0 })
    const fleet = view(
      [device(0, 240)],
      [small, a, b],
      [
        { of: small, on: 0, lastUsed: 1 },
        { of: a, on: 0, lastUsed: 2 },
        { of: b, on: 0, lastUsed: 3 }
      ]
    )
    // evicting the small one first would not be enough, and is needless once a large one leaves
    expect(decide(fleet, model("d"))).toMatchObject({ evict: ["local/cpu:0/a#0"] })
  })

  it("busy replicas stay until the request has waited long enough", () => {
    const fleet = view([device(0, 100)], [a, b], [{ of: b, on: 0, taken: 1 }])
    expect(decide(fleet, a)).toMatchObject({ _tag: "Wait", until: now + defaults.patience })
    expect(decide(fleet, a, { since: now - defaults.patience })).toMatchObject({
      _tag: "Load",
      evict: ["local/cpu:0/b#0"]
    })
  })

  it("an extra replica evicts nobody", () => {
    const twice = model("a", { replicas: 2 })
    const fleet = view(
      [device(0, 100), device(1, 100)],
      [twice, b],
      [
        { of: twice, on: 0, taken: 2 },
        { of: b, on: 1 }
      ]
    )
    expect(decide(fleet, twice, { since: 0 })._tag).toBe("Wait")
  })
})

describe("replicas that failed the request", () => {
  const twice = model("a", { replicas: 2 })
  const not = [id({ of: twice, on: 0 })]

  it("are avoided for another, or for a new one", () => {
    const both = view(
      [device(0, 100), device(1, 100)],
      [twice],
      [
        { of: twice, on: 0 },
        { of: twice, on: 1, taken: 1 }
      ]
    )
    expect(decide(both, twice, { not })).toMatchObject({ replica: { status: { device: "local/cpu:1" } } })
    const alone = view([device(0, 100), device(1, 100)], [twice], [{ of: twice, on: 0 }])
    expect(decide(alone, twice, { not })).toMatchObject({ _tag: "Load", device: "local/cpu:1" })
  })

  it("are used when there is nothing else, once news of their death would have come", () => {
    const fleet = view([device(0, 100)], [a], [{ of: a, on: 0 }])
    expect(decide(fleet, a, { not })).toMatchObject({ _tag: "Wait", until: now + defaults.exclusion })
    expect(decide(fleet, a, { not, since: now - defaults.exclusion })._tag).toBe("Placed")
  })

  it("are used at once when another worker serves them since", () => {
    const fleet = view([device(0, 100)], [a], [{ of: a, on: 0, since: now - 10 }])
    expect(decide(fleet, a, { not, since: now - 20 })._tag).toBe("Placed")
  })
})

describe("the model cannot be loaded", () => {
  it("a device where it failed is not tried again before its time", () => {
    const fleet = failedOn(view([device(0, 100), device(1, 300)], [a]), a, deviceId(0), now + 10)
    expect(decide(fleet, a)).toMatchObject({ _tag: "Load", device: "local/cpu:1" })
  })

  it("failed everywhere, the request waits for the next try if it can, and hears why if not", () => {
    const fleet = failedOn(view([device(0, 100), device(1, 50)], [a]), a, deviceId(0), now + 500)
    expect(decide(fleet, a)).toMatchObject({ _tag: "Wait", until: now + 500 })
    expect(decide(fleet, a, { deadline: now + 500 })).toMatchObject({ _tag: "Broken", error: { reason: "no weights" } })
  })

  it("too large for every device, it is rejected; with no device known yet, it waits", () => {
    expect(decide(view([device(0, 99)], [a]), a)).toEqual({
      _tag: "Rejected",
      reasons: [{ _tag: "LargerThanDevice", needed: 100, total: 99 }]
    })
    expect(decide(view([], [a]), a)._tag).toBe("Wait")
  })
})

describe("an explanation", () => {
  it("has every reason of every device, in the order of their ids", () => {
    const spec = model("a", { weights: 160 })
    const fleet = failedOn(
      view(
        [device(10, 150), device(2, 300), device(1, 220)],
        [spec, b, c],
        [
          { of: b, on: 2, state: "loading" },
          { of: c, on: 2, taken: 1 },
          { of: b, on: 1, taken: 1 }
        ]
      ),
      spec,
      deviceId(2),
      now + 10
    )
    const explanation = explain(fleet, spec, () => 3, now, defaults)
    expect(explanation).toMatchObject({ decision: "queued", chosen: null, waiting: 3 })
    expect(
      explanation.devices.map(({ device, reasons, waitingHelps }) => [
        device,
        reasons.map(({ _tag }) => _tag),
        waitingHelps
      ])
    ).toEqual([
      ["local/cpu:1", ["InsufficientMemory"], true],
      ["local/cpu:2", ["InsufficientMemory", "DeviceLoading", "ReplicaFailed"], true],
      ["local/cpu:10", ["LargerThanDevice"], false]
    ])
    expect(explanation.summary).toMatch(
      /^a waits: .*; it would fit on local\/cpu:1 once local\/cpu:1\/b#0 has moved to /
    )
  })

  it("names who would leave", () => {
    const fleet = view([device(0, 100)], [a, b], [{ of: b, on: 0 }])
    expect(explain(fleet, a, () => 0, now, defaults)).toMatchObject({
      decision: "placed",
      summary: "a fits on local/cpu:0: needs 100 B, 0 B free, once local/cpu:0/b#0 made room"
    })
  })
})

describe("a model asks for", () => {
  const gpu = (index: number, total: number, name = "NVIDIA L4"): Device =>
    new Device({ id: DeviceId.make(`local/cuda:${index}`), kind: "cuda", name, total: Bytes.make(total) })

  it("nothing: the fastest kind of device counts that is large enough, and no slower one to avoid an eviction", () => {
    const fleet = view([device(0, 1000), gpu(0, 100)], [a, b])
    expect(decide(fleet, a)).toMatchObject({ _tag: "Load", device: "local/cuda:0" })
    expect(decide(fleet, model("large", { weights: 500 }))).toMatchObject({ _tag: "Load", device: "local/cpu:0" })
  })

  it("a kind or a name of device: others are no place for it, and their refusal says so", () => {
    const fleet = view([device(0, 1000), gpu(0, 200), gpu(1, 100, "NVIDIA H100 80GB HBM3")], [])
    expect(decide(fleet, model("m", { placing: { kind: "cpu" } }))).toMatchObject({ device: "local/cpu:0" })
    expect(decide(fleet, model("m", { placing: { name: "h100" } }))).toMatchObject({ device: "local/cuda:1" })
    expect(decide(fleet, model("m", { placing: { kind: "webgpu" } }))).toMatchObject({
      _tag: "Rejected",
      reasons: [{ _tag: "NotAskedFor", asks: "webgpu" }, { _tag: "NotAskedFor" }, { _tag: "NotAskedFor" }]
    })
  })

  it("a device: it goes there or nowhere", () => {
    const fleet = view([device(0, 1000), device(1, 200), device(2, 90)], [])
    const pinned = (...devices: ReadonlyArray<string>) => model("m", { placing: { devices } })
    expect(decide(fleet, pinned("cpu:1"))).toMatchObject({ device: "local/cpu:1" })
    expect(decide(fleet, pinned("local/cpu:0", "cpu:1"))).toMatchObject({ device: "local/cpu:1" })
    expect(decide(fleet, pinned("cpu:2"))).toMatchObject({ _tag: "Rejected" })
    expect(decide(fleet, pinned("cpu:9"))).toMatchObject({ _tag: "Rejected" })
  })

  it("its replicas on different devices: no second one beside the first", () => {
    const spread = model("m", { replicas: 2, placing: { spread: true } })
    const full = { of: spread, on: 0, taken: 2 }
    expect(decide(view([device(0, 300)], [spread], [full]), spread)).toMatchObject({ _tag: "Wait" })
    expect(decide(view([device(0, 300), device(1, 1000)], [spread], [full]), spread)).toMatchObject({
      device: "local/cpu:1"
    })
  })

  it("another model not beside it: that one leaves when it is idle, whichever of the two says so", () => {
    const shy = model("shy", { placing: { notBeside: [a.id] } })
    const fleet = (taken: number) => view([device(0, 300)], [shy, a], [{ of: a, on: 0, taken }])
    expect(decide(fleet(0), shy)).toMatchObject({ _tag: "Load", evict: ["local/cpu:0/a#0"] })
    expect(decide(fleet(1), shy)).toMatchObject({ _tag: "Wait", until: now + defaults.patience })
    const other = view([device(0, 300)], [shy, a], [{ of: shy, on: 0 }])
    expect(decide(other, a)).toMatchObject({ _tag: "Load", evict: ["local/cpu:0/shy#0"] })
  })

  it("replicas to be kept: they are loaded unasked, evicting nobody busy, and never evicted themselves", () => {
    const kept = model("kept", { replicas: 2, placing: { minReplicas: 2 } })
    const keep = (fleet: FleetView.FleetView) => Decide.keep(fleet, kept, () => false, now, defaults).load
    expect(keep(view([device(0, 100)], [kept]))).toMatchObject({ device: "local/cpu:0" })
    expect(keep(view([device(0, 100)], [kept, a], [{ of: a, on: 0 }]))).toMatchObject({ evict: ["local/cpu:0/a#0"] })
    expect(keep(view([device(0, 100)], [kept, a], [{ of: a, on: 0, taken: 1 }]))).toBeUndefined()
    // the second one evicts nobody
    const one = { of: kept, on: 0 }
    expect(keep(view([device(0, 100), device(1, 100)], [kept, a], [one, { of: a, on: 1 }]))).toBeUndefined()
    expect(keep(view([device(0, 100), device(1, 100)], [kept], [one]))).toMatchObject({ device: "local/cpu:1" })
    expect(decide(view([device(0, 100)], [kept, a], [one]), a, { since: 0 })).toMatchObject({ _tag: "Wait" })
  })
})

describe("affinity", () => {
  const spec = model("m", { replicas: 3, slots: 8, policy: "affinity" })
  const fleet = (...taken: ReadonlyArray<number>) =>
    view(
      taken.map((_, on) => device(on, 200)),
      [spec],
      taken.map((taken, on) => ({ of: spec, on, taken }))
    )
  const at = (view: FleetView.FleetView, affinity: string | null) => {
    const decision = decide(view, spec, { affinity })
    return decision._tag === "Placed" ? String(decision.replica.status.device) : decision._tag
  }

  it("draws the same conversation to the same replica, and different ones to all", () => {
    const keys = Array.from({ length: 60 }, (_, n) => `conversation ${n}`)
    const places = keys.map((key) => at(fleet(0, 0, 0), key))
    expect(keys.map((key) => at(fleet(1, 2, 1), key))).toEqual(places)
    for (const on of [0, 1, 2]) expect(places.filter((place) => place === `local/cpu:${on}`).length).toBeGreaterThan(8)
  })

  it("lets go of a replica that is far busier than the others", () => {
    const busy = [at(fleet(0, 0, 0), "x")].map((place) => Number(place.slice(-1)))[0] ?? 0
    const taken = [1, 1, 1].map((one, on) => (on === busy ? 6 : one))
    expect(at(fleet(...taken), "x")).not.toBe(`local/cpu:${busy}`)
  })

  it("moves only the conversations of a replica that is gone", () => {
    const keys = Array.from({ length: 60 }, (_, n) => `conversation ${n}`)
    const [three, two] = [fleet(0, 0, 0), fleet(0, 0)]
    for (const key of keys) if (at(three, key) !== "local/cpu:2") expect(at(two, key)).toBe(at(three, key))
  })

  it("without a key takes the replica with the most slots free", () => {
    expect(at(fleet(3, 1, 2), null)).toBe("local/cpu:1")
  })
})

describe("a conversation that was on a replica before", () => {
  for (const policy of ["best-fit", "first-fit", "round-robin", "least-loaded", "affinity"] as const) {
    const spec = model("m", { replicas: 3, slots: 8, policy })
    const fleet = (...taken: ReadonlyArray<number>) =>
      view(
        taken.map((_, on) => device(on, 200)),
        [spec],
        taken.map((taken, on) => ({ of: spec, on, taken }))
      )
    const at = (view: FleetView.FleetView, on: number | null) => {
      const prefer = on === null ? null : makeReplicaId(DeviceId.make(`local/cpu:${on}`), spec.id, 0)
      const decision = decide(view, spec, { prefer })
      return decision._tag === "Placed" ? String(decision.replica.status.device) : decision._tag
    }

    it(`stays there, unless that is far busier than the others or full: ${policy}`, () => {
      for (const on of [0, 1, 2]) {
        const taken = [1, 1, 1].map((one, other) => (other === on ? 3 : one))
        expect(at(fleet(...taken), on)).toBe(`local/cpu:${on}`)
        for (const busy of [6, 8]) {
          const crowded = fleet(...[1, 1, 1].map((one, other) => (other === on ? busy : one)))
          expect(at(crowded, on)).toBe(at(crowded, null))
        }
      }
      expect(at(fleet(1, 1, 1), 7)).toBe(at(fleet(1, 1, 1), null))
    })
  }
})

describe("a request that was begun with a revision of its model", () => {
  const replaced = model("a", { revision: "new" })
  const devices = [device(0, 100), device(1, 100)]

  it("goes to a replica that has it, though the files are others now", () => {
    const fleet = view(devices, [replaced], [{ of: replaced, on: 0, revision: "old" }])
    expect(decide(fleet, replaced, { revision: "old" })).toMatchObject({
      _tag: "Placed",
      replica: { status: { revision: "old" } }
    })
  })

  it("waits for a slot of it, or for its worker to come back, and never for another", () => {
    const busy = view(devices, [replaced], [{ of: replaced, on: 0, revision: "old", taken: 2 }])
    expect(decide(busy, replaced, { revision: "old" })._tag).toBe("Wait")
    const failed = { of: replaced, on: 0, revision: "old", state: "failed" as const, since: now - 1 }
    expect(decide(view(devices, [replaced], [failed]), replaced, { revision: "old" })._tag).toBe("Wait")
    const ready = { of: replaced, on: 1, revision: "new" }
    expect(decide(view(devices, [replaced], [failed, ready]), replaced, { revision: "old" })._tag).toBe("Wait")
  })

  it("has nowhere to go when the last replica that had it is gone", () => {
    expect(decide(view(devices, [replaced]), replaced, { revision: "old" })).toEqual({ _tag: "Replaced" })
    const fleet = view(devices, [replaced], [{ of: replaced, on: 0, revision: "new" }])
    expect(decide(fleet, replaced, { revision: "old" })).toEqual({ _tag: "Replaced" })
  })

  it("has the model loaded if the files are those, beside a replica of older ones", () => {
    const fleet = view(devices, [replaced], [{ of: replaced, on: 0, revision: "old" }])
    expect(decide(fleet, replaced, { revision: "new" })).toMatchObject({ _tag: "Load", device: deviceId(1) })
  })
})
