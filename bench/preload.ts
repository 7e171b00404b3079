/**
 * What does loading ahead of requests change? Generated traffic with a rhythm and without, and what was recorded of a server, decided in a
 * virtual fleet with loading ahead and without: the share of requests for which a model had to be loaded, and how long they waited.
 */
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { LogLine, read, worldOf } from "@helixflow/scheduler/Replay"
import { defaults } from "@helixflow/scheduler/SchedulerOptions"
import * as VirtualFleet from "@helixflow/scheduler/VirtualFleet"
import type { Arrival, World } from "@helixflow/scheduler/World"
import { Schema } from "effect"
import { device, model } from "../packages/scheduler/test/fixtures.ts"
import { diurnal, patternless, sequences } from "../packages/scheduler/test/rhythms.ts"
import * as Hardware from "./Hardware.ts"
import { print, type Row } from "./Report.ts"

/** Nine models of one size on memory for three, a load takes twelve seconds. */
const models = Array.from({ length: 9 }, (_, n) => model(`m${n}`, { slots: 4, context: 10 }))
const ids = models.map(({ id }) => id)
const chains = [ids.slice(0, 3), ids.slice(3, 5), ids.slice(5, 9)]

const generated = (arrivals: ReadonlyArray<Arrival>): Omit<World, "options"> => ({
  devices: [device(0, 220), device(1, 120)],
  models,
  arrivals,
  loadOf: () => ({ millis: 12_000, failure: null })
})

const decode = Schema.decodeUnknownSync(LogLine)

const recorded = (): Omit<World, "options"> => {
  const file = fileURLToPath(new URL("../packages/scheduler/test/recorded.jsonl", import.meta.url))
  const lines = fs.readFileSync(file, "utf8").trim().split("\n")
  return worldOf(read(lines.map((line) => decode(line))), defaults)
}

const traces: ReadonlyArray<readonly [string, () => Omit<World, "options">]> = [
  ["time of day, 2 weeks", () => generated(diurnal(ids, 2, 1))],
  ["sequences, 24 h", () => generated(sequences(chains, 24, 1))],
  ["no pattern, 24 h", () => generated(patternless(ids, 24, 1))],
  ["recorded of a server", recorded]
]

const rows = traces.flatMap(([trace, world]) =>
  [false, true].map((preload): Row => {
    const { events, loads, outcomes } = VirtualFleet.run({ ...world(), options: { ...defaults, preload } })
    const cold = outcomes.filter(({ placed }) => placed?.cold === true).length
    const waits = outcomes.map(({ waitedMillis }) => waitedMillis)
    return {
      trace,
      "loading ahead": preload ? "on" : "off",
      requests: outcomes.length,
      "cold starts, %": (100 * cold) / outcomes.length,
      "mean wait, ms": waits.reduce((sum, wait) => sum + wait, 0) / waits.length,
      loads,
      ahead: events.filter((event) => event._tag === "LoadStarted" && event.cause === "preload").length
    }
  })
)

print("preload", "What does loading ahead of requests change?", Hardware.describe(), rows)
