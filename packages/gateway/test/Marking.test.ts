import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"

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

const run = (flags: ReadonlyArray<string>, source: string, argument: string) =>
  spawnSync(
    process.execPath,
    [...flags, "--import", "tsx", "--conditions=source", "--input-type=module", "-e", source, argument],
    { cwd: fileURLToPath(new URL("../../..", import.meta.url)), encoding: "utf8" }
  )

/** Where V8 made its steps. */
const steps = (argument: string) => {
  const { stderr, stdout } = run(["--trace-incremental-marking"], program, argument)
  // of what V8 does not know it would tell here
  assert.strictEqual(stderr, "")
  return {
    inTasks: stdout.split("Step in task").length - 1,
    asItAllocates: stdout.split("Step in v8").length - 1
  }
}

/** How nice the threads of a process are to others, that of the program first (proc(5)). */
const niceness = () => {
  const own = `
    import { readdirSync, readFileSync } from "node:fs"
    import { keepMarkingOffTheLoop } from ${JSON.stringify(new URL("../src/Marking.ts", import.meta.url))}
    keepMarkingOffTheLoop()
    const niceOf = (thread) => Number(readFileSync("/proc/self/task/" + thread + "/stat", "utf8").split(") ")[1].split(" ")[16])
    const threads = readdirSync("/proc/self/task").map(Number)
    console.log(JSON.stringify({ main: niceOf(process.pid), others: threads.filter((thread) => thread !== process.pid).map(niceOf) }))
  `
  return Schema.decodeSync(
    Schema.parseJson(Schema.Struct({ main: Schema.Number, others: Schema.Array(Schema.Number) }))
  )(run([], own, "off").stdout)
}

describe("V8, told to keep marking off the event loop", () => {
  it("marks in no task of it", () => {
    const { asItAllocates, inTasks } = steps("off")
    assert.strictEqual(inTasks, 0)
    assert.isAbove(asItAllocates, 0)
  })

  it.skipIf(process.platform !== "linux")("marks in threads that get what the program's own leaves", () => {
    const { main, others } = niceness()
    assert.strictEqual(main, 0)
    // V8's four, and whatever else there is
    assert.isAtLeast(others.filter((nice) => nice === 19).length, 4)
  })

  it("would do so otherwise", () => assert.isAbove(steps("on").inTasks, 0))
})
