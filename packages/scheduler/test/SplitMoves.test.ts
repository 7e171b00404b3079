import { describe, expect, it } from "@effect/vitest"
import { Device } from "@helixflow/schema/Device"
import { Bytes, DeviceId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import { defaults } from "../src/SchedulerOptions.ts"
import { VirtualFleet } from "../src/VirtualFleet.ts"
import type { Arrival } from "../src/World.ts"
import { model } from "./fixtures.ts"
import { broken, left } from "./invariants.ts"
import { arrival } from "./traces.ts"

const gpu = (node: string, index: number, total: number) =>
  new Device({ id: DeviceId.make(`${node}/cuda:${index}`), kind: "cuda", name: "H100", total: Bytes.make(total) })

/** Two devices that it can be split over, and one that others can move to. */
const devices = [gpu("a", 0, 100), gpu("a", 1, 100), gpu("b", 0, 90)]
const pair = model("pair", { weights: 110, placing: { split: 2 } })

/** Claims 40 bytes, and goes to the first device that nothing is on. */
const small = (name: string, minReplicas = 0) =>
  model(name, { weights: 20, slots: 1, policy: "least-loaded", placing: { minReplicas } })

/** Runs a fleet to its end, looking at every step that no device is over-committed. */
const run = (models: ReadonlyArray<ModelSpec>, arrivals: ReadonlyArray<Arrival>) => {
  const loadOf = () => ({ millis: 500, failure: null })
  const fleet = new VirtualFleet({ devices, models, options: defaults, arrivals, loadOf })
  const seen: Array<string> = []
  while (fleet.isAwaited && fleet.step()) expect(broken(fleet)).toEqual([])
  for (const event of fleet.events) {
    if (event._tag === "LoadStarted") seen.push(`${event.replica} ${event.cause}`)
    if (event._tag === "Evicted") seen.push(`${event.replica} leaves`)
  }
  const placed = fleet.outcomes.flatMap(({ arrival, placed, waitedMillis }) =>
    arrival.model === pair.id ? [{ replica: placed?.replica, waitedMillis }] : []
  )
  fleet.close()
  expect(left(fleet)).toEqual([])
  return { seen, placed: placed[0] }
}

describe("a split model that waits", () => {
  it("has moved from all of its devices what is asked for often, instead of evicted", () => {
    const [one, two] = [small("one"), small("two")]
    // each is there, idle, and was asked for ten times
    const often = [one, two].flatMap(({ id }, which) =>
      Array.from({ length: 10 }, (_, n) => arrival(2 * n + which, 1_000 * n + which, id, 100))
    )
    const { placed, seen } = run([one, two, pair], [...often, arrival(100, 20_000, pair.id, 100)])
    expect(placed?.replica).toBe("a/cuda:0/pair#0")
    expect(placed?.waitedMillis).toBeLessThan(2_000)
    expect(seen).toEqual([
      "a/cuda:0/one#0 request",
      "a/cuda:1/two#0 request",
      "b/cuda:0/one#0 move",
      "a/cuda:0/one#0 leaves",
      "b/cuda:0/two#0 move",
      "a/cuda:1/two#0 leaves",
      "a/cuda:0/pair#0 request"
    ])
  })

  it("has moved away what is kept on its devices, for which others leave that are not", () => {
    const [one, two] = [small("one", 1), small("two", 1)]
    const other = model("other", { weights: 50, slots: 1, placing: { devices: ["b/cuda:0"] } })
    const arrivals = [arrival(0, 5_000, other.id, 100), arrival(1, 10_000, pair.id, 100)]
    const { placed, seen } = run([one, two, other, pair], arrivals)
    expect(placed?.replica).toBe("a/cuda:0/pair#0")
    expect(placed?.waitedMillis).toBeGreaterThanOrEqual(defaults.wantedPatience)
    expect(placed?.waitedMillis).toBeLessThan(2 * defaults.wantedPatience)
    // the three are loaded in some order
    expect(seen.slice(3)).toEqual([
      "b/cuda:0/other#0 leaves",
      "b/cuda:0/one#0 move",
      "a/cuda:0/one#0 leaves",
      "b/cuda:0/two#0 move",
      "a/cuda:1/two#0 leaves",
      "a/cuda:0/pair#0 request"
    ])
  })
})
