/** Worker programs compiled as the real one is: from source a start takes seconds, and some tests start dozens. */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { afterAll } from "vitest"
import type { WorkerEntry } from "../src/WorkerEntry.ts"

/** Where what is not compiled in is found from. */
const dist = fileURLToPath(new URL("../dist/", import.meta.url))

/**
 * @param program a file of this folder, or the worker itself; what it is compiled to is removed after the last test of the file that asks
 */
export async function compiled(program = "../src/worker.ts"): Promise<WorkerEntry> {
  fs.mkdirSync(dist, { recursive: true })
  const folder = fs.mkdtempSync(path.join(dist, "test-"))
  afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))
  const file = path.join(folder, `${path.basename(program, ".ts")}.cjs`)
  await build({
    entryPoints: [fileURLToPath(new URL(program, import.meta.url))],
    outfile: file,
    bundle: true,
    platform: "node",
    format: "cjs",
    target: "node20",
    conditions: ["source"],
    external: ["onnxruntime-node", "koffi"],
    // a CommonJS bundle has no `import.meta`
    banner: { js: 'const __url = require("node:url").pathToFileURL(__filename).href;' },
    define: { "import.meta.url": "__url" },
    logLevel: "warning"
  })
  return { path: file, execArgv: [] }
}
