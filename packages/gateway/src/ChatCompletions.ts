/** `POST /v1/chat/completions`. */
import { HttpServerResponse } from "@effect/platform"
import { OpenAiChatRequest } from "@helixflow/schema/OpenAiChat"
import { Effect } from "effect"
import { answerOf, ChatForm, encoderOf } from "./AnswerForm.ts"
import { authenticated } from "./Authentication.ts"
import { offeredTools, toGenerationRequest } from "./ChatRequest.ts"
import { makeIdentity, randomSeed } from "./CompletionIds.ts"
import { endpoint } from "./Endpoint.ts"
import { eventStream } from "./EventStream.ts"
import { begin, forEachBatch, inParam, modelFor } from "./Generations.ts"
import { keeping } from "./Keeping.ts"
import { Principal } from "./Principal.ts"
import { queueing } from "./Queueing.ts"
import { relayed } from "./Relay.ts"
import { decodeBody } from "./RequestBody.ts"

const decode = decodeBody(OpenAiChatRequest)

const handler = Effect.gen(function* () {
  const body = yield* decode
  const spec = yield* modelFor(body.model, "text-generation", "chat completions")
  const identity = yield* makeIdentity("chatcmpl", spec, body.service_tier)
  const request = toGenerationRequest(body, {
    model: spec.id,
    seed: yield* randomSeed,
    progress: body.stream_options?.include_progress === true,
    ...(yield* queueing(body)),
    // Computed prefixes are shared within a tenant only: how fast a prompt is answered would tell others of it.
    cacheSalt: (yield* Principal).tenant
  })
  const form = ChatForm.make({
    identity,
    n: request.n,
    includeUsage: body.stream_options?.include_usage === true,
    logprobs: body.logprobs === true,
    tools: offeredTools(body).length > 0 ? { parallel: body.parallel_tool_calls !== false } : null
  })
  const keep = keeping(body, (yield* Principal).tenant, form)
  const generation = yield* begin("chat", identity.id, [request], keep)
  if (body.stream === true) return yield* eventStream(generation, encoderOf(form))
  const answer = answerOf(form)
  yield* forEachBatch(generation, (events) =>
    Effect.sync(() => {
      for (const event of events) answer.add(event)
    })
  )
  return HttpServerResponse.unsafeJson(answer.body)
}).pipe(inParam("messages"))

export const layer = endpoint("POST", "/v1/chat/completions", authenticated(relayed("/chat/completions", handler)))
