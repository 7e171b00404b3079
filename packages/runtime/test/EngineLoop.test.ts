import { setImmediate } from "node:timers/promises"
import { describe, expect, it } from "vitest"
import type { StepResult, TextEngine } from "../src/Engine.ts"
import { EngineLoop } from "../src/EngineLoop.ts"

/** An engine whose steps end when the test says so. */
function makeEngine(options: Pick<TextEngine, "isOffThread"> = {}) {
  const steps: Array<PromiseWithResolvers<StepResult>> = []
  const engine: TextEngine = {
    task: "text-generation",
    limits: { vocabulary: 1, context: 1 },
    active: 1,
    tokenize: () => [],
    detokenize: () => "",
    submit: () => {},
    cancel: () => {},
    step: () => {
      const step = withResolvers<StepResult>()
      steps.push(step)
      return step.promise
    },
    close: async () => {},
    ...options
  }
  return { engine, steps }
}

interface PromiseWithResolvers<A> {
  readonly promise: Promise<A>
  readonly resolve: (value: A) => void
  readonly reject: (cause: unknown) => void
}

function withResolvers<A>(): PromiseWithResolvers<A> {
  let resolve: (value: A) => void = () => {}
  let reject: (cause: unknown) => void = () => {}
  const promise = new Promise<A>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}

const nothing: StepResult = { batches: [], failures: [] }

/** How many steps begin before messages are served. */
const stepsInOneTurn = async (options: Pick<TextEngine, "isOffThread">) => {
  const { engine, steps } = makeEngine(options)
  const loop = new EngineLoop(engine, { publish: async () => {}, isHeard: () => true })
  loop.run().catch(() => {})
  const turn = setImmediate()
  for (let step = 0; step < 3; step++) {
    steps[step]?.resolve(nothing)
    for (let tick = 0; tick < 9; tick++) await Promise.resolve()
  }
  const begun = steps.length
  await turn
  return begun
}

describe("EngineLoop", () => {
  it("serves messages between steps that block the thread, and doesn't wait for them where steps don't", async () => {
    expect(await stepsInOneTurn({})).toBe(1)
    expect(await stepsInOneTurn({ isOffThread: true })).toBe(4)
  })

  it("knows when a step that leaves the thread free is over", async () => {
    const { engine, steps } = makeEngine()
    const loop = new EngineLoop(engine, { publish: async () => {}, isHeard: () => true })
    const broken = loop.run()
    let over = false
    const waiting = loop.betweenSteps().then(() => {
      over = true
    })
    await setImmediate()
    expect(over).toBe(false)
    steps[0]?.resolve(nothing)
    await waiting
    await setImmediate()
    expect(loop.steps).toBe(1)
    // a step that breaks the engine is over too
    const last = loop.betweenSteps()
    steps[1]?.reject(new Error("broken"))
    await last
    await expect(broken).rejects.toThrow("broken")
  })
})
