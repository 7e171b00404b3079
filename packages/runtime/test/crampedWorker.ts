/** A worker that may take no more memory than it has when it begins to load, and a little. */

import * as fs from "node:fs"
import koffi from "koffi"
import { loadOnnxEngine } from "../src/OnnxEngine.ts"
import * as WorkerProgram from "../src/WorkerProgram.ts"

const slack = 96 * 2 ** 20
/** `RLIMIT_AS` of setrlimit(2) on Linux. */
const addressSpace = 9

const cramp = () => {
  const pages = Number(fs.readFileSync("/proc/self/statm", "latin1").split(" ")[0])
  const limit = BigInt(pages * 4096 + slack)
  const setrlimit = koffi.load("libc.so.6").func("int setrlimit(int resource, uint64_t *limits)")
  if (setrlimit(addressSpace, new BigUint64Array([limit, limit])) !== 0) throw new Error("setrlimit failed")
}

WorkerProgram.run({
  loadEngine: (options) => {
    cramp()
    return loadOnnxEngine(options)
  }
})
