/**
 * A fleet where everything goes wrong, drawn from a seed: loads fail and hang, workers die and come back, clients leave at any stage, strangers
 * take memory and give it back, and news comes late, twice and out of order. Clients ask for as long as it `goesOn`.
 */
import { Device } from "@helixflow/schema/Device"
import { Bytes, DeviceId, ModelId } from "@helixflow/schema/Ids"
import { ModelSpec } from "@helixflow/schema/Model"
import { defaults, type SchedulerOptions } from "../src/SchedulerOptions.ts"
import type { Arrival, Outcome, World } from "../src/World.ts"
import { device, model } from "./fixtures.ts"
import { arrival, caller, exponential, randomOf, zipf } from "./traces.ts"

/** Of one name, so that a model can be split over any of them. */
const devices = [device(0, 220), device(1, 120), device(2, 310), device(3, 110), device(4, 210)].map(
  (one) => new Device({ ...one, name: "alike" })
)

const keptFor = (spec: ModelSpec, keepAlive: number) => new ModelSpec({ ...spec, keepAlive })

/** Every policy, every wish, and more than fits. */
const models: ReadonlyArray<ModelSpec> = [
  model("popular", { replicas: 2, slots: 4, weights: 40, context: 10 }),
  model("balanced", { policy: "least-loaded", replicas: 2 }),
  model("in turn", { policy: "round-robin", replicas: 3, slots: 3, weights: 20 }),
  model("first", { policy: "first-fit", kvPerToken: 0, weights: 110 }),
  model("by affinity", { policy: "affinity", replicas: 2, placing: { spread: true } }),
  model("kept", { weights: 30, slots: 1, placing: { minReplicas: 1 } }),
  model("pinned", { placing: { devices: ["cpu:1"] } }),
  model("apart", { placing: { notBeside: [ModelId.make("popular")] } }),
  keptFor(model("short-lived", { slots: 1 }), 700),
  model("large", { weights: 240 }),
  model("small", { weights: 10, context: 5 }),
  model("rare", { weights: 80 }),
  model("wide", { weights: 140, placing: { split: 2 } })
]

export const options: SchedulerOptions = {
  ...defaults,
  aging: 5_000,
  loadTimeout: 4_000,
  drainTimeout: 20_000,
  reservationTtl: 3_000,
  backoffCap: 4_000,
  quantum: 40
}

/** The same fleet of two kinds of devices, on which models take less than on the others, or more. */
const mixed = {
  devices: devices.map((one, index) =>
    index % 2 === 1 ? one : new Device({ ...one, kind: "cuda", id: DeviceId.make(`local/cuda:${index}`) })
  ),
  models: models.map((spec, index) => {
    const { declared, kvPerToken, weights } = spec
    const cuda = { declared, kvPerToken, weights: Bytes.make(Math.ceil(weights * (index % 3 === 1 ? 1.3 : 0.4))) }
    return new ModelSpec({ ...spec, onKinds: { cuda } })
  })
}

/** Requests that are under way at once. */
const clients = 14
/** Nobody waits for so long: a wait that ends so is a wait for ever. */
const timeoutMillis = 600_000

export const troubledWorld = (seed: number, goesOn: () => boolean, kinds: "alike" | "mixed" = "alike"): World => {
  const random = randomOf(seed)
  const chance = (share: number) => random() < share
  const about = (mean: number) => Math.ceil(exponential(random, mean))
  const popular = zipf(random, models.length, 0.7)
  const tiers = ["priority", "default", "default", "flex"] as const
  let sent = 0
  const send = (at: number, not: Arrival["not"] = [], of = models[popular()]): Arrival | undefined => {
    if (of === undefined || !goesOn()) return undefined
    const tenant = Math.floor(random() * 5)
    return arrival(sent++, at, of.id, about(250), {
      caller: caller(`tenant ${tenant}`, {
        tier: tiers[Math.floor(random() * 4)] ?? "default",
        weight: 1 + (tenant % 2)
      }),
      not,
      timeoutMillis,
      preemptible: chance(0.8),
      affinity: `conversation ${Math.floor(random() * 8)}`,
      leavesAfter: chance(0.15) ? about(500) : Number.POSITIVE_INFINITY
    })
  }
  /** Who lost its worker asks at once for another, without the one that was lost. */
  const next = ({ arrival: { model }, end, placed }: Outcome, now: number): Arrival | undefined =>
    end === "lost" && placed !== undefined && chance(0.8)
      ? send(
          now + 1,
          [placed.replica],
          models.find(({ id }) => id === model)
        )
      : send(now + about(120))
  return {
    ...(kinds === "mixed" ? mixed : { devices, models }),
    options: { ...options, preload: seed % 2 === 0 },
    arrivals: Array.from({ length: clients }, () => send(about(50))).flatMap((first) => first ?? []),
    next,
    loadOf: () => ({
      millis: chance(0.03) ? Number.POSITIVE_INFINITY : about(300),
      failure: chance(0.08) ? "simulated" : null
    }),
    trouble: {
      messageMillis: () => (chance(0.5) ? 0 : about(4)),
      keeps: () => chance(0.2),
      stopMillis: () => about(30),
      newsMillis: () => Array.from({ length: chance(0.1) ? 2 : 1 }, () => (chance(0.8) ? about(3) : about(80))),
      deathOf: () => (chance(0.5) ? { after: about(6_000), backAfter: chance(0.5) ? about(1_500) : null } : undefined),
      strangersOn: ({ total }) => ({ after: about(3_000), bytes: chance(0.5) ? 0 : Math.floor(random() * total) })
    }
  }
}
