/** Generated traffic for the virtual fleet, the same for the same seed. */
import { anonymous, type Caller } from "@helixflow/schema/Caller"
import type { ModelId } from "@helixflow/schema/Ids"
import type { Arrival } from "../src/World.ts"
import { request } from "./fixtures.ts"

/** Numbers from 0 to 1 (mulberry32). */
export const randomOf = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Between events that come at random, so many milliseconds apart on average. */
export const exponential = (random: () => number, mean: number) => -Math.log(1 - random()) * mean

/** Draws from 0 to n - 1, the k-th with a weight of 1 / (k + 1)^s. */
export const zipf = (random: () => number, n: number, s: number) => {
  const cumulative: Array<number> = []
  let sum = 0
  for (let k = 0; k < n; k++) {
    sum += 1 / (k + 1) ** s
    cumulative.push(sum)
  }
  return () => {
    const drawn = random() * sum
    return Math.max(
      0,
      cumulative.findIndex((upTo) => drawn < upTo)
    )
  }
}

export const caller = (tenant: string, more: Partial<Caller> = {}): Caller => ({ ...anonymous, tenant, ...more })

/** An arrival with the least said of it. */
export const arrival = (
  order: number,
  at: number,
  model: ModelId,
  holdMillis: number,
  more: Partial<Arrival> = {}
): Arrival => ({
  at,
  order,
  request: request(order),
  model,
  caller: anonymous,
  not: [],
  timeoutMillis: 600_000,
  holdMillis,
  served: { input: 10, output: Math.ceil(holdMillis / 20) },
  leavesAfter: Number.POSITIVE_INFINITY,
  ...more
})

export const mean = (values: ReadonlyArray<number>) => values.reduce((sum, value) => sum + value, 0) / values.length

/** The value that a share of all are not above. */
export const quantile = (values: ReadonlyArray<number>, share: number) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0
