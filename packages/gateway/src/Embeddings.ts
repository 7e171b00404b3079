/** `POST /v1/embeddings`. */
import { HttpServerResponse } from "@effect/platform"
import { Runtime } from "@helixflow/runtime/Runtime"
import { InvalidRequest } from "@helixflow/schema/Errors"
import { EmbeddingRequest, Usage } from "@helixflow/schema/Generation"
import { type OpenAiEmbeddingList, OpenAiEmbeddingRequest } from "@helixflow/schema/OpenAiEmbeddings"
import { Effect, Exit } from "effect"
import { charge } from "./Admission.ts"
import { authenticated } from "./Authentication.ts"
import { endpoint } from "./Endpoint.ts"
import { inParam, modelFor } from "./Generations.ts"
import { errorType, GenerationTelemetry } from "./GenerationTelemetry.ts"
import { toPrompts } from "./PromptInput.ts"
import { queueing } from "./Queueing.ts"
import { relayed } from "./Relay.ts"
import { decodeBody } from "./RequestBody.ts"

/** `vector`: little-endian float32, as it is in base64 too. */
const toFloats = (vector: Uint8Array): ReadonlyArray<number> => {
  const view = new DataView(vector.buffer, vector.byteOffset, vector.byteLength)
  return Array.from({ length: vector.byteLength / 4 }, (_, i) => view.getFloat32(i * 4, true))
}

const toBase64 = (vector: Uint8Array): string =>
  Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64")

const decode = decodeBody(OpenAiEmbeddingRequest)

const handler = Effect.gen(function* () {
  const body = yield* decode
  const spec = yield* modelFor(body.model, "embedding", "embeddings")
  const telemetry = new GenerationTelemetry("embeddings", spec.id)
  const request = new EmbeddingRequest(
    {
      model: spec.id,
      inputs: toPrompts(body.input, body.prompt_name ?? undefined),
      ...(yield* queueing(body))
    },
    { disableValidation: true }
  )
  const { vectors, dimensions, promptTokens } = yield* (yield* Runtime)
    .embed(request)
    .pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => telemetry.ended(Exit.isSuccess(exit) ? undefined : errorType(exit.cause)))
      )
    )
  yield* telemetry.completed(new Usage({ promptTokens, completionTokens: 0 }))
  yield* charge(promptTokens)
  if (body.dimensions && body.dimensions !== dimensions) {
    return yield* new InvalidRequest({
      reason: `Unsupported value for 'dimensions': the vectors of \`${spec.id}\` have ${dimensions} and cannot be cut.`,
      param: "dimensions",
      code: "unsupported_value"
    })
  }
  const write = body.encoding_format === "base64" ? toBase64 : toFloats
  const answer: OpenAiEmbeddingList = {
    object: "list",
    data: vectors.map((vector, index) => ({ object: "embedding", index, embedding: write(vector) })),
    model: spec.id,
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens }
  }
  return HttpServerResponse.unsafeJson(answer)
}).pipe(inParam("input"))

export const layer = endpoint("POST", "/v1/embeddings", authenticated(relayed("/embeddings", handler)))
