/** What `ModelCatalogApi.ts` defines, served. */
import type { CatalogEntry } from "@helixflow/runtime/Catalog"
import type { ModelVersions } from "@helixflow/runtime/ModelVersions"
import { Runtime } from "@helixflow/runtime/Runtime"
import { DeviceKind } from "@helixflow/schema/Device"
import type { ModelSpec } from "@helixflow/schema/Model"
import { Effect } from "effect"
import * as AdminRouter from "./AdminRouter.ts"
import { type CatalogModel, ModelCatalogApi, type ModelLoad, type VersionsView } from "./ModelCatalogApi.ts"

/** What a replica claims on each kind of device that there is. */
const memoryOf = (spec: ModelSpec): CatalogModel["memory"] =>
  DeviceKind.literals
    .filter((kind) => spec.onKinds[kind] !== undefined)
    .map((kind) => ({
      device_kind: kind,
      claim_bytes: spec.claimOn(kind),
      weights_bytes: spec.footprintOn(kind).weights
    }))

const toView = ({ bundled, failure, folder, keptLoaded, replicas, spec, state }: CatalogEntry): CatalogModel => {
  const memory = memoryOf(spec)
  return {
    id: spec.id,
    object: "model",
    aliases: spec.aliases,
    task: spec.task,
    folder,
    bundled,
    kept_loaded: keptLoaded,
    context: spec.context,
    slots: spec.slots,
    max_replicas: spec.replicas,
    policy: spec.policy,
    claim_bytes: Math.max(0, ...memory.map(({ claim_bytes }) => claim_bytes)),
    weights_bytes: Math.max(0, ...memory.map(({ weights_bytes }) => weights_bytes)),
    memory,
    state,
    failure,
    replicas: replicas.map(({ active, device, lastFailure, parts, pid, replica, rss, since, slots, state }) => ({
      id: replica,
      device,
      further_devices: parts.map(({ device }) => device),
      state,
      active,
      slots,
      since: since / 1000,
      pid,
      rss_bytes: rss,
      last_failure: lastFailure
    }))
  }
}

const toLoad = ({ spec, state }: CatalogEntry): typeof ModelLoad.Type => ({
  object: "model.load",
  id: spec.id,
  state,
  status_url: `/admin/v1/models/${encodeURIComponent(spec.id)}`
})

const toVersions = ({ id, versions }: ModelVersions): VersionsView => ({
  id,
  object: "model.versions",
  versions: versions.map(({ spec, version, weight }) => ({ version, model: spec.id, weight }))
})

const catalog = Effect.map(Runtime, (runtime) => runtime.catalog)

export const layer = AdminRouter.implement(ModelCatalogApi, {
  list: () =>
    Effect.gen(function* () {
      const { models, refused } = yield* (yield* catalog).list
      return {
        object: "list" as const,
        data: models.map(toView),
        refused: refused.map(({ error, id }) => ({ id, reason: error.message }))
      }
    }),
  show: ({ path }) =>
    Effect.map(
      Effect.flatMap(catalog, (models) => models.find(path.id)),
      toView
    ),
  load: ({ path, urlParams }) =>
    Effect.gen(function* () {
      const models = yield* catalog
      return urlParams.wait === "false" ? toLoad(yield* models.startLoad(path.id)) : toView(yield* models.load(path.id))
    }),
  unload: ({ path }) =>
    Effect.map(
      Effect.flatMap(catalog, (models) => models.unload(path.id)),
      ({ entry, freed }) => ({ ...toView(entry), freed_bytes: freed })
    ),
  versions: ({ path }) =>
    Effect.map(
      Effect.flatMap(catalog, (models) => models.versions(path.id)),
      toVersions
    ),
  weigh: ({ path, payload }) =>
    Effect.map(
      Effect.flatMap(catalog, (models) => models.weigh(path.id, payload.weights)),
      toVersions
    ),
  remove: ({ path }) => Effect.flatMap(catalog, (models) => models.remove(path.id))
})
