/** `/admin/v1/models`: what there is and where it runs; loading, unloading, removing. */
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "@effect/platform"
import { DeviceKind } from "@helixflow/schema/Device"
import { ModelTask, PolicyName, ReplicaState } from "@helixflow/schema/Model"
import { Schema } from "effect"

/** Times are seconds since the epoch. */
export const ReplicaView = Schema.Struct({
  id: Schema.String,
  device: Schema.String,
  /** The further devices of a model that is split. */
  further_devices: Schema.Array(Schema.String),
  state: ReplicaState,
  active: Schema.Int,
  slots: Schema.Int,
  since: Schema.Number,
  pid: Schema.NullOr(Schema.Int),
  rss_bytes: Schema.NullOr(Schema.Number),
  last_failure: Schema.NullOr(Schema.String)
})

export const CatalogModel = Schema.Struct({
  id: Schema.String,
  object: Schema.Literal("model"),
  aliases: Schema.Array(Schema.String),
  task: ModelTask,
  folder: Schema.String,
  bundled: Schema.Boolean,
  kept_loaded: Schema.Boolean,
  context: Schema.Int,
  slots: Schema.Int,
  max_replicas: Schema.Int,
  policy: PolicyName,
  /** What a replica claims, and of that what is no KV cache: the most on any kind of device that there is. */
  claim_bytes: Schema.Number,
  weights_bytes: Schema.Number,
  /** The same on each kind. */
  memory: Schema.Array(
    Schema.Struct({ device_kind: DeviceKind, claim_bytes: Schema.Number, weights_bytes: Schema.Number })
  ),
  /** Of the model as a whole; `queued`: it is wanted, and waits for a place or its turn. */
  state: Schema.Literal("loaded", "loading", "queued", "unloading", "failed", "unloaded"),
  /** Why it could not be loaded, where that was so. */
  failure: Schema.NullOr(Schema.String),
  replicas: Schema.Array(ReplicaView)
})
export type CatalogModel = typeof CatalogModel.Type

/** A load that nobody waits for. */
export const ModelLoad = Schema.Struct({
  object: Schema.Literal("model.load"),
  /** The model's id. */
  id: Schema.String,
  state: CatalogModel.fields.state,
  /** The path that tells how it stands. */
  status_url: Schema.String
})

export const UnloadedModel = Schema.Struct({
  ...CatalogModel.fields,
  /** What its processes had of the machine's memory and have no more; null where the system does not tell. */
  freed_bytes: Schema.NullOr(Schema.Number)
})

export const CatalogModels = Schema.Struct({
  object: Schema.Literal("list"),
  data: Schema.Array(CatalogModel),
  /** Folders that can't be served, and why. */
  refused: Schema.Array(Schema.Struct({ id: Schema.String, reason: Schema.String }))
})

/** The share of conversations that each version of a name has, by the name of its folder. */
export const VersionWeights = Schema.Struct({
  weights: Schema.Record({ key: Schema.String, value: Schema.Number })
})

export const VersionsView = Schema.Struct({
  id: Schema.String,
  object: Schema.Literal("model.versions"),
  versions: Schema.Array(Schema.Struct({ version: Schema.String, model: Schema.String, weight: Schema.Number }))
})
export type VersionsView = typeof VersionsView.Type

const path = Schema.Struct({ id: Schema.String })

const Wait = Schema.Literal("true", "false").annotations({ message: () => 'Expected "true" or "false"' })

export const ModelCatalogApi = HttpApiGroup.make("models")
  .add(HttpApiEndpoint.get("list", "/admin/v1/models").addSuccess(CatalogModels))
  .add(HttpApiEndpoint.get("show", "/admin/v1/models/:id").setPath(path).addSuccess(CatalogModel))
  .add(
    HttpApiEndpoint.post("load", "/admin/v1/models/:id/load")
      .setPath(path)
      .setUrlParams(Schema.Struct({ wait: Schema.optional(Wait) }))
      .addSuccess(CatalogModel)
      .addSuccess(ModelLoad, { status: 202 })
  )
  .add(HttpApiEndpoint.post("unload", "/admin/v1/models/:id/unload").setPath(path).addSuccess(UnloadedModel))
  .add(HttpApiEndpoint.get("versions", "/admin/v1/models/:id/versions").setPath(path).addSuccess(VersionsView))
  .add(
    HttpApiEndpoint.put("weigh", "/admin/v1/models/:id/versions")
      .setPath(path)
      .setPayload(VersionWeights)
      .addSuccess(VersionsView)
  )
  .add(HttpApiEndpoint.del("remove", "/admin/v1/models/:id").setPath(path).addSuccess(HttpApiSchema.NoContent))
