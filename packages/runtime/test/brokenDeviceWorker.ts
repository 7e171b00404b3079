/**
 * A worker of a device that is broken for as long as a file is there: whatever is loaded on `cpu:0` aborts a moment later, or as soon as
 * it has computed a few steps.
 */
import type { Engine } from "../src/Engine.ts"
import { loadOnnxEngine } from "../src/OnnxEngine.ts"
import * as WorkerProgram from "../src/WorkerProgram.ts"
import { isBroken } from "./brokenDevice.ts"

const steps = 4
const idleMillis = 300

const breaking = (engine: Engine): Engine => {
  setTimeout(() => process.abort(), idleMillis)
  let left = steps
  const { step } = engine
  return Object.assign(engine, {
    step: () => {
      if (left-- === 0) process.abort()
      return step()
    }
  })
}

WorkerProgram.run({
  loadEngine: async (options) => {
    const engine = await loadOnnxEngine(options)
    return isBroken(options.device?.index ?? -1) ? breaking(engine) : engine
  }
})
