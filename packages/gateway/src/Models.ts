/** `GET /v1/models` and `GET /v1/models/{id}`. */
import { HttpLayerRouter, HttpServerResponse } from "@effect/platform"
import type { ModelVersions } from "@helixflow/runtime/ModelVersions"
import { Runtime } from "@helixflow/runtime/Runtime"
import type { ModelSpec } from "@helixflow/schema/Model"
import type { OpenAiModel, OpenAiModelList } from "@helixflow/schema/OpenAiModels"
import { Effect, Layer } from "effect"
import { authenticated } from "./Authentication.ts"
import { endpoint } from "./Endpoint.ts"
import type { UpstreamModel } from "./Upstream.ts"
import { Upstreams } from "./Upstreams.ts"

const toOpenAi = (spec: ModelSpec): OpenAiModel => ({
  id: spec.id,
  object: "model",
  created: spec.created,
  owned_by: "helixflow",
  max_model_len: spec.context,
  task: spec.task
})

/** A name that several versions have: what all of them can do. */
const ofVersions = ({ id, versions }: ModelVersions): OpenAiModel => {
  const used = versions.filter(({ weight }) => weight > 0).map(({ spec }) => spec)
  return {
    id,
    object: "model",
    created: Math.max(...used.map(({ created }) => created)),
    owned_by: "helixflow",
    max_model_len: Math.min(...used.map(({ context }) => context)),
    ...(used[0] !== undefined && { task: used[0].task })
  }
}

const ofUpstream = ({ created, id, ownedBy }: UpstreamModel): OpenAiModel => ({
  id,
  object: "model",
  created,
  owned_by: ownedBy
})

/** Our own first; of those with the same name the one that would be asked. */
const list = Effect.gen(function* () {
  const runtime = yield* Runtime
  const models = yield* runtime.models
  const upstreams = yield* Upstreams
  const byId = new Map(models.map((spec) => [String(spec.id), toOpenAi(spec)]))
  for (const versions of yield* runtime.versioned) byId.set(versions.id, ofVersions(versions))
  for (const upstream of upstreams.all) {
    for (const model of upstream.models()) if (!byId.has(model.id)) byId.set(model.id, ofUpstream(model))
  }
  const body: OpenAiModelList = { object: "list", data: [...byId.values()] }
  return HttpServerResponse.unsafeJson(body)
})

/** An id may have slashes, as they are or percent-encoded. */
const retrieve = Effect.gen(function* () {
  const { "*": id = "" } = yield* HttpLayerRouter.params
  const { find } = yield* Upstreams
  const runtime = yield* Runtime
  const named = (yield* runtime.versioned).find((versions) => versions.id === id)
  const model = yield* runtime.model(id).pipe(
    Effect.map((spec) => (named === undefined ? toOpenAi(spec) : ofVersions(named))),
    Effect.catchTag("ModelNotFound", (error) => {
      const route = find(id)
      return route === undefined ? error : Effect.succeed(ofUpstream(route.model))
    })
  )
  return HttpServerResponse.unsafeJson(model)
})

export const layer = Layer.mergeAll(
  endpoint("GET", "/v1/models", authenticated(list)),
  endpoint("GET", "/v1/models/*", authenticated(retrieve))
)
