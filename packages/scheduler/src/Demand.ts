/**
 * How much a model is wanted, and what it costs to bring it back: what decides who leaves when room has to be made.
 *
 * Arrivals are counted with a weight that halves every `halfLife`. Of such a count c at time t the level `log2(c) + t / halfLife` is
 * kept, which stays the same while nobody asks: between two models, the order of the levels is the order of the counts at any later
 * time. So a level is a key that an index can be ordered by, where a count would change with every millisecond.
 */

import type { DeviceKind } from "@helixflow/schema/Device"
import type { ModelSpec } from "@helixflow/schema/Model"

/** Milliseconds. Long enough to tell what is asked for every few minutes from what was asked for once. */
export const halfLife = 600_000

export interface Demand {
  readonly level: number
  /** Exponentially weighted mean of how long the model's loads take, making room included; null before the first. */
  readonly loadMillis: number | null
}

export const none: Demand = { level: Number.NEGATIVE_INFINITY, loadMillis: null }

/** The level of a single arrival at that time. */
export const levelAt = (now: number): number => now / halfLife

/** `log2(2^a + 2^b)`, where neither power need be a number that can be held. */
export const sum = (a: number, b: number): number => {
  const more = Math.max(a, b)
  return more === Number.NEGATIVE_INFINITY ? more : more + Math.log2(1 + 2 ** (Math.min(a, b) - more))
}

export const arrived = (demand: Demand, now: number): Demand => ({ ...demand, level: sum(demand.level, levelAt(now)) })

/** How likely it is that somebody asks within so many milliseconds, if it goes on as lately. */
export const probability = ({ level }: Demand, now: number, millis: number): number =>
  // a stream of arrivals of a rate r has r * halfLife / ln 2 of them counted
  1 - Math.exp((-(2 ** (level - levelAt(now))) * Math.LN2 * millis) / halfLife)

/** How much the latest load says of the next. */
const recency = 0.3

export const loaded = (demand: Demand, millis: number): Demand => {
  const usual = demand.loadMillis ?? millis
  return { ...demand, loadMillis: usual + recency * (millis - usual) }
}

/** A process that starts, and a disk that is read: what a load takes of which none was seen. */
const startMillis = 500
const bytesPerMilli = 2 ** 20

/** Milliseconds that bringing a model back takes, which claims so many bytes. */
export const reloadMillis = ({ loadMillis }: Demand, bytes: number): number =>
  // one that takes no time has no order
  Math.max(1, loadMillis ?? startMillis + bytes / bytesPerMilli)

/** Milliseconds that a load takes on devices of the kind: all of its parts are loaded, however many it is split into. */
export const loadMillis = (demand: Demand, spec: ModelSpec, kind: DeviceKind): number =>
  reloadMillis(demand, spec.wholeClaimOn(kind))

/**
 * What is lost with a replica for every byte that it frees, as a logarithm: the time that a load takes, times how often it is to be
 * expected that its model is asked for, shared among the model's replicas. It is used once at least, now.
 */
export const valueOf = (demand: Demand, replicas: number, bytes: number, now: number): number =>
  Math.max(demand.level, levelAt(now)) +
  Math.log2(reloadMillis(demand, bytes) / Math.max(1, replicas) / Math.max(1, bytes))
