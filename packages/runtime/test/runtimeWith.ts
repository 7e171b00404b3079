/** The runtime whose workers run another program than the real one, one of this folder. */
import { fileURLToPath } from "node:url"
import { ConfigProvider, Layer } from "effect"
import { Runtime } from "../src/Runtime.ts"
import * as WorkerEntry from "../src/WorkerEntry.ts"

export const runtimeWith = (worker: string, environment: Readonly<Record<string, string>>) =>
  Runtime.layer.pipe(
    Layer.provide(
      Layer.succeed(WorkerEntry.WorkerProgram, {
        path: fileURLToPath(new URL(worker, import.meta.url)),
        execArgv: WorkerEntry.resolve().execArgv
      })
    ),
    Layer.provide(
      Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment)), { pathDelim: "_" }))
    ),
    Layer.orDie
  )
