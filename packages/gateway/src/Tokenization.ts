/** `POST /v1/tokenize` and `/v1/detokenize`. */
import { HttpServerResponse } from "@effect/platform"
import { Runtime } from "@helixflow/runtime/Runtime"
import { OpenAiDetokenizeRequest, OpenAiTokenizeRequest } from "@helixflow/schema/OpenAiTokenize"
import { Effect, Layer } from "effect"
import { authenticated } from "./Authentication.ts"
import { toChatPrompt } from "./ChatRequest.ts"
import { endpoint } from "./Endpoint.ts"
import { inParam } from "./Generations.ts"
import { Principal } from "./Principal.ts"
import { queueing } from "./Queueing.ts"
import { decodeBody } from "./RequestBody.ts"

const decodeTokenize = decodeBody(OpenAiTokenizeRequest)
const decodeDetokenize = decodeBody(OpenAiDetokenizeRequest)

/** As the version of the model reads it that most of the tenant's requests without a conversation have. */
const ofTenant = (name: string) =>
  Effect.flatMap(Effect.all([Runtime, Principal]), ([runtime, { tenant }]) => runtime.model(name, () => tenant))

const tokenize = Effect.gen(function* () {
  const { model, messages, prompt, add_special_tokens } = yield* decodeTokenize
  const runtime = yield* Runtime
  const { id } = yield* ofTenant(model)
  const { tokens, context } = yield* runtime
    .tokenize(
      id,
      messages
        ? toChatPrompt(messages)
        : { _tag: "Text", text: prompt ?? "", addSpecialTokens: add_special_tokens ?? true },
      (yield* queueing()).caller
    )
    .pipe(inParam(messages ? "messages" : "prompt"))
  return HttpServerResponse.unsafeJson({ tokens, count: tokens.length, max_model_len: context })
})

const detokenize = Effect.gen(function* () {
  const { model, tokens } = yield* decodeDetokenize
  const runtime = yield* Runtime
  const { id } = yield* ofTenant(model)
  const { text } = yield* runtime.detokenize(id, tokens, (yield* queueing()).caller).pipe(inParam("tokens"))
  return HttpServerResponse.unsafeJson({ prompt: text })
})

export const layer = Layer.mergeAll(
  endpoint("POST", "/v1/tokenize", authenticated(tokenize)),
  endpoint("POST", "/v1/detokenize", authenticated(detokenize))
)
