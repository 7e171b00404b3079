import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

/** Allocates, a little in each turn of the event loop, until V8 has marked what is alive. */
const program = `
  import { keepMarkingOffTheLoop } from ${JSON.stringify(new URL("../src/Marking.ts", import.meta.url))}
  if (process.argv[1] === "off") keepMarkingOffTheLoop()
  const alive = Array.from({ length: 1_000_000 }, (_, n) => ({ n, held: [n] }))
  let turns = 0
  const turn = () => {
    for (let n = 0; n < 200; n++) alive[(turns * 7919 + n) % alive.length] = { n, held: [turns] }
    if (++turns < 10_000) setImmediate(turn)
  }
  turn()
`

/** Where V8 made its steps. */
const steps = (argument: string) => {
  const flags = ["--trace-incremental-marking", "--import", "tsx", "--conditions=source", "--input-type=module"]
  const { stderr, stdout } = spawnSync(process.execPath, [...flags, "-e", program, argument], {
    cwd: fileURLToPath(new URL("../../..", import.meta.url)),
    encoding: "utf8"
  })
  // of what V8 does not know it would tell here
  assert.strictEqual(stderr, "")
  return {
    inTasks: stdout.split("Step in task").length - 1,
    asItAllocates: stdout.split("Step in v8").length - 1
  }
}

describe("V8, told to keep marking off the event loop", () => {
  it("marks in no task of it", () => {
    const { asItAllocates, inTasks } = steps("off")
    assert.strictEqual(inTasks, 0)
    assert.isAbove(asItAllocates, 0)
  })

  it("would do so otherwise", () => assert.isAbove(steps("on").inTasks, 0))
})
