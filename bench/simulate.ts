/**
 * Does the scheduler keep its promises when everything goes wrong? A million steps of a fleet where loads hang, workers die, clients leave,
 * strangers take memory and news comes late, from ten seeds; after every step all invariants are looked at
 * (`packages/scheduler/test/invariants.ts`). It ends with the first that breaks.
 */
import { simulate } from "../packages/scheduler/test/simulation.ts"
import * as Hardware from "./Hardware.ts"
import { print } from "./Report.ts"

const seeds = Array.from({ length: 10 }, (_, index) => index + 1)
const steps = 100_000

const rows = seeds.map((seed) => {
  const { refused, ...simulated } = simulate(seed, steps)
  const others = Object.entries(refused).filter(([tag]) => tag !== "LoadFailed")
  if (others.length > 0) throw new Error(`seed ${seed}: ${others.map(([tag, count]) => `${count} ${tag}`).join(", ")}`)
  return { ...simulated, "loading failed everywhere": refused["LoadFailed"] ?? 0 }
})
print("simulate", "What happened in a troubled fleet, in which no invariant broke?", Hardware.describe(), rows)
