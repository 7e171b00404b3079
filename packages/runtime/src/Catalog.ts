/** The models of this node as an operator has them in hand: what there is and where it runs, loading, unloading, removing. */
import * as fs from "node:fs/promises"
import * as path from "node:path"
import {
  type ActorUnreachable,
  type InvalidRequest,
  type LoadFailed,
  ModelInUse,
  type ModelNotFound,
  type StorageUnavailable
} from "@helixflow/schema/Errors"
import { type ModelId, RequestId, ReservationId } from "@helixflow/schema/Ids"
import type { ModelSpec, ReplicaStatus } from "@helixflow/schema/Model"
import type { FleetSnapshot } from "@helixflow/schema/Scheduling"
import type { SessionError } from "@helixflow/schema/SessionActor"
import { type Context, Effect, Option } from "effect"
import { bundledModelsDir } from "./BundledModels.ts"
import { type Directory, schedulerId } from "./Directory.ts"
import * as Machine from "./Machine.ts"
import type { ModelStore, RefusedModel } from "./ModelStore.ts"
import type { ModelVersions, Weights } from "./ModelVersions.ts"
import * as OperatorLoads from "./OperatorLoads.ts"
import type { StoredModel } from "./StoredModel.ts"

/** How it stands with a model as a whole, whatever the number of its replicas: the best of what applies. */
export type ModelState = "loaded" | "loading" | "queued" | "unloading" | "failed" | "unloaded"

export interface CatalogEntry {
  readonly spec: ModelSpec
  /** Absolute. */
  readonly folder: string
  /** Whether it came with HelixFlow. */
  readonly bundled: boolean
  /** Whether it is loaded whenever it is not. */
  readonly keptLoaded: boolean
  readonly state: ModelState
  /** Why it failed, where it has. */
  readonly failure: string | null
  readonly replicas: ReadonlyArray<ReplicaStatus>
}

export interface Unloaded {
  readonly entry: CatalogEntry
  /** Bytes of the machine's memory that its processes had and have no more; null where the system does not tell. */
  readonly freed: number | null
}

export interface CatalogList {
  readonly models: ReadonlyArray<CatalogEntry>
  readonly refused: ReadonlyArray<RefusedModel>
}

/** What keeps a request from getting a place keeps a model from being loaded. */
export type LoadError = Exclude<SessionError, { readonly _tag: "EngineFailed" }>
export interface Catalog {
  readonly list: Effect.Effect<CatalogList, ActorUnreachable>
  readonly find: (name: string) => Effect.Effect<CatalogEntry, ModelNotFound | LoadFailed | ActorUnreachable>
  /** Succeeds when a replica is ready, at once if one is. Others may leave to make room for it. */
  readonly load: (name: string) => Effect.Effect<CatalogEntry, LoadError>
  /** Begins to load it and succeeds at once: its state tells how it goes on. Whoever leaves meanwhile, the load stays; unloading gives it up. */
  readonly startLoad: (name: string) => Effect.Effect<CatalogEntry, ModelNotFound | LoadFailed | ActorUnreachable>
  /** Succeeds when the model's processes are gone. Requests that run are waited for; a later request loads it again. */
  readonly unload: (name: string) => Effect.Effect<Unloaded, ModelNotFound | LoadFailed | ModelInUse | ActorUnreachable>
  /** The versions that a name stands for, with the share of conversations that each has. */
  readonly versions: (name: string) => Effect.Effect<ModelVersions, ModelNotFound>
  /** Changes the shares, from the next request on; conversations that need not move stay with their version. */
  readonly weigh: (
    name: string,
    weights: Weights
  ) => Effect.Effect<ModelVersions, ModelNotFound | InvalidRequest | StorageUnavailable>
  /** Unloads the model and deletes its folder. */
  readonly remove: (name: string) => Effect.Effect<void, ModelNotFound | LoadFailed | ModelInUse | ActorUnreachable>
}

export interface CatalogOptions {
  readonly store: Context.Tag.Service<typeof ModelStore>
  readonly directory: Directory
  readonly defaultModel: Option.Option<ModelSpec>
}

const loadTimeoutMillis = 300_000
/** How long requests in progress are waited for before a model counts as in use. */
const drainTimeoutMillis = 30_000

const isBelow = (folder: string, parent: string): boolean => {
  const relative = path.relative(parent, folder)
  return relative !== "" && !relative.startsWith("..") && !path.isAbsolute(relative)
}

const isBundled = (folder: string): boolean => Option.exists(bundledModelsDir(), (parent) => isBelow(folder, parent))

/** What is known of a model besides its replicas. */
interface Standing {
  readonly isWanted: boolean
  readonly failure: string | null
}

const stateOf = (
  replicas: ReadonlyArray<ReplicaStatus>,
  { failure, isWanted }: Standing
): Pick<CatalogEntry, "state" | "failure"> => {
  const has = (wanted: ReplicaStatus["state"]) => replicas.some(({ state }) => state === wanted)
  const of = (state: ModelState) => ({ state, failure: null })
  if (has("ready")) return of("loaded")
  if (has("loading")) return of("loading")
  if (isWanted) return of("queued")
  if (has("draining")) return of("unloading")
  const reason = replicas.find(({ state }) => state === "failed")?.lastFailure ?? failure
  return has("failed") || reason !== null ? { state: "failed", failure: reason } : of("unloaded")
}

export const make = Effect.fnUntraced(function* ({ defaultModel, directory, store }: CatalogOptions) {
  const scheduler = directory.scheduler.find(schedulerId)
  const isKept = (model: ModelId) => Option.exists(defaultModel, ({ id }) => id === model)
  let asked = 0

  const loads: OperatorLoads.OperatorLoads<LoadError> = yield* OperatorLoads.make((model: ModelId) =>
    Effect.flatMap(scheduler, (actor) => {
      const request = RequestId.make(`load-${++asked}/${model}`)
      return Effect.acquireUseRelease(
        Effect.interruptible(actor.Place({ request, model, not: [], timeoutMillis: loadTimeoutMillis })),
        () => Effect.void,
        () => Effect.ignoreLogged(actor.Complete({ reservation: ReservationId.make(request) }))
      )
    })
  )

  const view = Effect.flatMap(scheduler, (actor) => actor.View())
  const entryOf = ({ folder, spec }: StoredModel, fleet: FleetSnapshot): CatalogEntry => {
    const { replicas, waiting } = fleet
    const own = replicas.filter(({ model, state }) => model === spec.id && state !== "absent")
    const standing = {
      isWanted: loads.isPending(spec.id) || waiting.some(({ model }) => model === spec.id),
      failure: loads.failureOf(spec.id)
    }
    const bundled = isBundled(folder)
    // what the scheduler claims for it, which may have been learned since
    const claimed = fleet.models.find(({ id, revision }) => id === spec.id && revision === spec.revision) ?? spec
    return { spec: claimed, folder, bundled, keptLoaded: isKept(spec.id), ...stateOf(own, standing), replicas: own }
  }
  const find: Catalog["find"] = (name) =>
    Effect.flatMap(store.find(name), (stored) => Effect.map(view, (fleet) => entryOf(stored, fleet)))

  const unload: Catalog["unload"] = (name) =>
    Effect.gen(function* () {
      const { spec } = yield* store.find(name)
      if (isKept(spec.id)) {
        return yield* new ModelInUse({ model: spec.id, reason: "it is the default model, which is kept loaded" })
      }
      yield* loads.cancel(spec.id)
      const actor = yield* scheduler
      const pids = (yield* find(name)).replicas.flatMap(({ pid }) => pid ?? [])
      const before = Machine.processGroups(pids)
      const had = memoryOf(before)
      const { busy } = yield* actor.Evict({ model: spec.id, timeoutMillis: drainTimeoutMillis })
      if (busy.length > 0) {
        return yield* new ModelInUse({
          model: spec.id,
          reason: `${busy.join(", ")} ${busy.length === 1 ? "is" : "are"} loading or still had requests after 30 s`
        })
      }
      const freed = had === null ? null : Math.max(0, had - (memoryOf(before) ?? 0))
      return { entry: yield* find(name), freed }
    })

  const catalog: Catalog = {
    list: Effect.gen(function* () {
      yield* store.refresh
      const fleet = yield* view
      const stored = yield* Effect.forEach(yield* store.models, ({ id }) => Effect.option(store.find(id)))
      const models = stored.flatMap(Option.toArray).map((model) => entryOf(model, fleet))
      return { models, refused: yield* store.refused }
    }),
    find,
    load: (name) =>
      Effect.gen(function* () {
        const { spec } = yield* store.find(name)
        yield* loads.await(spec.id)
        return yield* find(name)
      }),
    startLoad: (name) =>
      Effect.gen(function* () {
        const { spec } = yield* store.find(name)
        yield* loads.start(spec.id)
        return yield* find(name)
      }),
    unload,
    versions: (name) => Effect.zipRight(store.look, store.versions(name)),
    weigh: (name, weights) => Effect.zipRight(store.look, store.weigh(name, weights)),
    remove: (name) =>
      Effect.gen(function* () {
        const { bundled, folder, spec } = yield* find(name)
        if (bundled) return yield* new ModelInUse({ model: spec.id, reason: "it comes with HelixFlow" })
        yield* unload(name)
        yield* Effect.promise(() => removeFolder(folder))
        yield* store.look
      })
  }
  return catalog
})

/** Bytes that processes have, each with its group; null where there are some and none can be read. */
const memoryOf = (groups: ReturnType<typeof Machine.processGroups>): number | null => {
  const read = Array.from(groups.values(), (group) => Machine.groupMemory(group)?.owned ?? null)
  if (read.length > 0 && read.every((bytes) => bytes === null)) return null
  return read.reduce<number>((sum, bytes) => sum + (bytes ?? 0), 0)
}

/** In one step for whoever looks, however long the deleting takes. */
const removeFolder = async (folder: string): Promise<void> => {
  const doomed = path.join(path.dirname(folder), `.removed-${path.basename(folder)}-${process.pid}-${Date.now()}`)
  await fs.rename(folder, doomed)
  await fs.rm(doomed, { recursive: true })
}
