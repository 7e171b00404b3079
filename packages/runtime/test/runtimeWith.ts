/** The runtime whose workers run another program than the real one. */
import { ConfigProvider, Layer } from "effect"
import { Runtime } from "../src/Runtime.ts"
import * as WorkerEntry from "../src/WorkerEntry.ts"

export const runtimeWith = (entry: WorkerEntry.WorkerEntry, environment: Readonly<Record<string, string>>) =>
  Runtime.layer.pipe(
    Layer.provide(Layer.succeed(WorkerEntry.WorkerProgram, entry)),
    Layer.provide(
      Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment)), { pathDelim: "_" }))
    ),
    Layer.orDie
  )
