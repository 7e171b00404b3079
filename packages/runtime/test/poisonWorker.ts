/**
 * A worker that dies as one with a broken kernel does: it aborts in the step after the one in which a prompt came that holds the
 * poison, or of the swift one in that step itself, and takes with it whoever shares the batch.
 */
import type { SequenceRequest } from "@helixflow/schema/Generation"
import type { TextEngine } from "../src/Engine.ts"
import { loadOnnxEngine } from "../src/OnnxEngine.ts"
import * as WorkerProgram from "../src/WorkerProgram.ts"
import { poison, swiftPoison } from "./poison.ts"

const poisonable = (engine: TextEngine): TextEngine => {
  let stepsLeft = Number.POSITIVE_INFINITY
  const { step, submit } = engine
  return Object.assign(engine, {
    submit: (request: SequenceRequest) => {
      if (request.prompt.includes(poison)) stepsLeft = 1
      if (request.prompt.includes(swiftPoison)) stepsLeft = 0
      submit(request)
    },
    step: () => {
      if (stepsLeft-- === 0) process.abort()
      return step()
    }
  })
}

WorkerProgram.run({
  loadEngine: async (options) => {
    const engine = await loadOnnxEngine(options)
    return engine.task === "text-generation" ? poisonable(engine) : engine
  }
})
