/**
 * A node of the fleet: its supervision tree, from the devices to the workers, and the scheduler.
 *
 *     node (one_for_one)
 *     ├── local/cpu:0, …       see DeviceTree.ts
 *     ├── scheduler
 *     ├── models               tells the scheduler of models that were replaced
 *     ├── default-model        keeps the default model loaded
 *     └── services             see Services.ts
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Fleet } from "@helixflow/scheduler/Fleet"
import * as Scheduler from "@helixflow/scheduler/SchedulerActor"
import { defaults as schedulerDefaults } from "@helixflow/scheduler/SchedulerOptions"
import type { Device } from "@helixflow/schema/Device"
import type { LoadFailed, ModelNotFound } from "@helixflow/schema/Errors"
import { ChildId, type NodeId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import { Clock, Context, Effect, Layer, Option } from "effect"
import * as DecisionLog from "./DecisionLog.ts"
import * as DefaultModel from "./DefaultModel.ts"
import { DeviceGuardPolicy } from "./DeviceGuard.ts"
import { deviceChild } from "./DeviceTree.ts"
import * as Directory from "./Directory.ts"
import { ForecastStore } from "./ForecastStore.ts"
import * as InProcess from "./InProcess.ts"
import * as Isolation from "./Isolation.ts"
import { LearnedMemory } from "./LearnedMemory.ts"
import { LocalDevices } from "./LocalDevices.ts"
import * as LocalFleet from "./LocalFleet.ts"
import { ModelStore } from "./ModelStore.ts"
import * as ModelWatch from "./ModelWatch.ts"
import * as Orphans from "./Orphans.ts"
import { RuntimeConfig } from "./RuntimeConfig.ts"
import * as Services from "./Services.ts"
import * as Supervisor from "./Supervisor.ts"
import { WorkerProgram } from "./WorkerEntry.ts"

export class Node extends Context.Tag("@helixflow/runtime/Node")<
  Node,
  {
    readonly id: NodeId
    /** When it started, in milliseconds since the epoch. */
    readonly since: number
    readonly directory: Directory.Directory
    readonly devices: ReadonlyArray<Device>
    readonly supervisor: Supervisor.SupervisorHandle
    /** Loaded at start and kept loaded. */
    readonly defaultModel: Option.Option<ModelSpec>
    /** Where requests are tried that may have killed workers. */
    readonly isolation: Isolation.Isolation
  }
>() {
  static readonly layer: Layer.Layer<
    Node,
    ModelNotFound | LoadFailed | Supervisor.Escalated,
    RuntimeConfig | LocalDevices | ModelStore | LearnedMemory | ForecastStore | Services.Services
  > = Layer.scoped(
    this,
    Effect.gen(function* () {
      const config = yield* RuntimeConfig
      const since = yield* Clock.currentTimeMillis
      const store = yield* ModelStore
      const { devices: metered, node: id, threads } = yield* LocalDevices
      const devices = metered.map(({ device }) => device)
      const defaultModel = yield* DefaultModel.choose(config.defaultModel, store)
      const directory = Directory.make()
      const records = path.join(config.dataDir, "workers")
      yield* Orphans.sweep(records)
      const workers = {
        directory,
        store,
        threads,
        worker: {
          entry: yield* WorkerProgram,
          socketDir: yield* privateFolder,
          liveness: config.liveness,
          records
        }
      }
      const memory = yield* LearnedMemory
      const fleet = LocalFleet.make({
        ...workers,
        models: Effect.map(store.models, (specs) => memory.applied(specs))
      })
      /** A replica's worker was seen to have this much. */
      const learn = (device: Device) => (replica: string, peak: number, fresh: boolean) =>
        Effect.flatMap(store.models, (specs) => {
          const spec = specs.find(({ id }) => replica.startsWith(`${device.id}/${id}#`))
          return spec === undefined ? Effect.void : memory.observe({ spec, kind: device.kind, peak, fresh })
        })
      const services = yield* Services.Services
      const guardPolicy = yield* DeviceGuardPolicy
      const decisionLog = Option.map(config.decisionLog, (fileBytes) =>
        DecisionLog.make({ folder: config.dataDir, fileBytes, quantum: config.quantum })
      )
      if (Option.isSome(decisionLog)) yield* services.add("decision-log", decisionLog.value.write)
      const handlers = Scheduler.make(
        { ...schedulerDefaults, preload: config.preload, quantum: config.quantum },
        yield* ForecastStore
      )
      const supervisor = yield* Supervisor.make({
        name: "node",
        strategy: "one_for_one",
        children: [
          ...metered.map(({ device, meter }) =>
            deviceChild(device, directory, guardPolicy, { meter, period: config.devicePeriod, onPeak: learn(device) })
          ),
          {
            id: ChildId.make(Directory.schedulerId),
            restart: "permanent",
            start: startScheduler(directory, handlers, decisionLog).pipe(Effect.provideService(Fleet, fleet))
          },
          ModelWatch.child(store, directory),
          ...Option.toArray(Option.map(defaultModel, (model) => DefaultModel.child(model, directory))),
          Services.child(services, directory, `${id}/${Services.id}`)
        ]
      })
      yield* supervisor.started
      const isolation = yield* Isolation.make(workers)
      return { id, since, directory, devices, supervisor, defaultModel, isolation }
    })
  )
}

/** A new scheduler knows nothing: what there is, it is told by those who are the authority. */
const startScheduler = Effect.fnUntraced(function* (
  directory: Directory.Directory,
  handlers: ReturnType<typeof Scheduler.make>,
  decisionLog: Option.Option<DecisionLog.DecisionLog>
) {
  const scheduler = yield* InProcess.host(SchedulerActor, handlers, { name: Directory.schedulerId })
  const devices = yield* Effect.forEach(yield* directory.gpus.values, (gpu) => gpu.Status())
  const replicas = yield* Effect.forEach(yield* directory.replicas.values, (replica) => replica.Status())
  yield* scheduler.Observe({ devices, replicas })
  if (Option.isSome(decisionLog)) yield* decisionLog.value.follow(scheduler)
  yield* directory.scheduler.register(Directory.schedulerId, scheduler)
  return Effect.never
})

/** For the workers' sockets. In the system's temporary folder because a socket's path must be short. */
const privateFolder = Effect.acquireRelease(
  // made with mode 0700
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "helixflow-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
)
