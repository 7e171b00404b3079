/** Which program a worker process runs: the compiled one, or the source when we ourselves run from source. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Context, Option } from "effect"
import { installRoot } from "./InstallRoot.ts"

export interface WorkerEntry {
  readonly path: string
  /** Flags of `node` itself. */
  readonly execArgv: ReadonlyArray<string>
}

/** The program that this process's workers run: the one that `resolve` finds, unless a test needs another. */
export class WorkerProgram extends Context.Reference<WorkerProgram>()("@helixflow/runtime/WorkerProgram", {
  defaultValue: (): WorkerEntry => resolve()
}) {}

/** The program's first argument when it is to look at a device instead of serving. */
export const CHECK = "--check"

export const resolve = (from: string = import.meta.url): WorkerEntry => {
  const source = fileURLToPath(new URL("./worker.ts", from))
  const compiled = Option.map(installRoot(from), (root) => join(root, "packages", "runtime", "bin", "worker.mjs"))
  return existsSync(source)
    ? { path: source, execArgv: ["--import", "tsx", "--conditions=source"] }
    : { path: Option.getOrElse(compiled, () => fileURLToPath(new URL("./worker.js", from))), execArgv: [] }
}
