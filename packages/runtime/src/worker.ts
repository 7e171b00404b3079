/** The program of a worker process. With the arguments `--check cuda 0` it finds out whether that device can be computed on. */
import { loadOnnxEngine } from "./OnnxEngine.ts"
import * as WorkerProgram from "./WorkerProgram.ts"

WorkerProgram.run({
  loadEngine: loadOnnxEngine,
  whyNot: async (device) => (await import("./OnnxDeviceCheck.ts")).whyNot(device)
})
