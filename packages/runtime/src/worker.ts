/** The program of a worker process. */
import { loadOnnxEngine } from "./OnnxEngine.ts"
import * as WorkerProgram from "./WorkerProgram.ts"

WorkerProgram.run(loadOnnxEngine)
