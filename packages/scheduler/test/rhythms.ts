/** Generated traffic with and without a rhythm, the same for the same seed: what loading ahead is measured with. */
import { type ModelId, RequestId } from "@helixflow/schema/Ids"
import type { Arrival } from "../src/World.ts"
import { arrival, caller, exponential, randomOf, zipf } from "./traces.ts"

const second = 1000
const hour = 3_600 * second
const day = 24 * hour
/** A Monday, at midnight UTC. */
const monday = Date.UTC(2026, 0, 5)

interface Ask {
  readonly at: number
  readonly model: ModelId | undefined
  readonly tenant: string
}

/** As arrivals, in the order of their times. */
const arrivals = (asks: ReadonlyArray<Ask>, holdMillis: number): ReadonlyArray<Arrival> =>
  [...asks]
    .sort((a, b) => a.at - b.at)
    .flatMap(({ at, model, tenant }, order) =>
      model === undefined
        ? []
        : [
            arrival(order, Math.round(at), model, holdMillis, {
              request: RequestId.make(`r${order}`),
              caller: caller(tenant)
            })
          ]
    )

/**
 * Each model has an hour of the day of its own, at which it is asked for on working days, some 40 times within it; at weekends nobody
 * asks. Beside them one is asked for now and then at any time.
 */
export const diurnal = (models: ReadonlyArray<ModelId>, weeks: number, seed: number): ReadonlyArray<Arrival> => {
  const random = randomOf(seed)
  const asks: Array<Ask> = []
  const [background, ...daily] = models
  for (let at = monday; at < monday + 7 * weeks * day; at += exponential(random, hour)) {
    asks.push({ at, model: background, tenant: "background" })
  }
  for (let date = 0; date < 7 * weeks; date++) {
    if (date % 7 >= 5) continue
    for (const [index, model] of daily.entries()) {
      const begins = monday + date * day + (8 + index) * hour
      for (let at = begins + random() * 60 * second; at < begins + hour; at += exponential(random, 90 * second)) {
        asks.push({ at, model, tenant: `tenant ${Math.floor(random() * 20)}` })
      }
    }
  }
  return arrivals(asks, 4 * second)
}

/** Tenants that ask for the models of a chain, one after the other some seconds later, and then go on with something else a while. */
export const sequences = (
  chains: ReadonlyArray<ReadonlyArray<ModelId>>,
  hours: number,
  seed: number
): ReadonlyArray<Arrival> => {
  const random = randomOf(seed)
  const asks: Array<Ask> = []
  for (let tenant = 0; tenant < 6; tenant++) {
    for (let at = monday + exponential(random, 600 * second); at < monday + hours * hour; ) {
      for (const model of chains[Math.floor(random() * chains.length)] ?? []) {
        asks.push({ at, model, tenant: `tenant ${tenant}` })
        at += (15 + 20 * random()) * second
      }
      at += exponential(random, 900 * second)
    }
  }
  return arrivals(asks, 2 * second)
}

/** Models asked for at random, by their popularity alone: there is nothing to be foreseen but that. */
export const patternless = (models: ReadonlyArray<ModelId>, hours: number, seed: number): ReadonlyArray<Arrival> => {
  const random = randomOf(seed)
  const popular = zipf(random, models.length, 0.9)
  const asks: Array<Ask> = []
  for (let at = monday; at < monday + hours * hour; at += exponential(random, 45 * second)) {
    asks.push({ at, model: models[popular()], tenant: `tenant ${Math.floor(random() * 50)}` })
  }
  return arrivals(asks, 2 * second)
}
