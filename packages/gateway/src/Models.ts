/** `GET /v1/models` and `GET /v1/models/{id}`. */
import { HttpLayerRouter, HttpServerResponse } from "@effect/platform"
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

const ofUpstream = ({ created, id, ownedBy }: UpstreamModel): OpenAiModel => ({
  id,
  object: "model",
  created,
  owned_by: ownedBy
})

/** Our own first; of those with the same name the one that would be asked. */
const list = Effect.gen(function* () {
  const models = yield* (yield* Runtime).models
  const upstreams = yield* Upstreams
  const byId = new Map(models.map((spec) => [String(spec.id), toOpenAi(spec)]))
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
  const model = yield* (yield* Runtime).model(id).pipe(
    Effect.map(toOpenAi),
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
