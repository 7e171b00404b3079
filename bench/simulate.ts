/**
 * Does the scheduler keep its promises when everything goes wrong? A million steps of a fleet where loads hang, workers die, clients leave,
 * strangers take memory and news comes late, from several seeds; after every step all invariants are looked at
 * (`packages/scheduler/test/invariants.ts`). It ends with the first that breaks. `--seeds 3,4` runs some of the ten, `--steps` so many each.
 */
import { parseArgs } from "node:util"
import { simulate } from "../packages/scheduler/test/simulation.ts"
import * as Hardware from "./Hardware.ts"
import { print } from "./Report.ts"

const { values } = parseArgs({
  options: { seeds: { type: "string", default: "1,2,3,4,5,6,7,8,9,10" }, steps: { type: "string", default: "100000" } }
})

const rows = values.seeds.split(",").map((seed) => {
  const { refused, ...simulated } = simulate(Number(seed), Number(values.steps))
  const others = Object.entries(refused).filter(([tag]) => tag !== "LoadFailed")
  if (others.length > 0) throw new Error(`seed ${seed}: ${others.map(([tag, count]) => `${count} ${tag}`).join(", ")}`)
  return { ...simulated, "loading failed everywhere": refused["LoadFailed"] ?? 0 }
})
print("simulate", "What happened in a troubled fleet, in which no invariant broke?", Hardware.describe(), rows)
