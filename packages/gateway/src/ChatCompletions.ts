/** `POST /v1/chat/completions`. */
import { HttpServerResponse } from "@effect/platform"
import { affinityOf } from "@helixflow/runtime/Affinity"
import type { SessionId } from "@helixflow/schema/Ids"
import { OpenAiChatRequest } from "@helixflow/schema/OpenAiChat"
import { Effect } from "effect"
import { answerOf, ChatForm, encoderOf } from "./AnswerForm.ts"
import { grammarIssue, offeredTools } from "./AnswerGrammar.ts"
import { authenticated } from "./Authentication.ts"
import { toChatPrompt, toGenerationRequest } from "./ChatRequest.ts"
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

/** Who asks, where it is not by a request of their own: see `WebSocketRequests.ts`. */
interface Connected {
  readonly connection: string
  readonly request: string
  readonly order: number
  /** Is told what the completion is called, and whether it is kept, before it begins. */
  readonly begins: (completion: SessionId, kept: boolean) => void
}

/** Begins what a body asks for. */
export const accept = Effect.fnUntraced(function* (body: OpenAiChatRequest, connected?: Connected) {
  const spec = yield* modelFor(body.model, "text-generation", "chat completions", (cacheSalt) =>
    affinityOf({ cacheSalt, prompt: toChatPrompt(body.messages) })
  )
  const issue = grammarIssue(body)
  if (issue !== undefined) return yield* Effect.fail(issue)
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
    request: connected?.request,
    order: connected?.order,
    n: request.n,
    includeUsage: body.stream_options?.include_usage === true,
    logprobs: body.logprobs === true,
    tools: offeredTools(body).length > 0 ? { parallel: body.parallel_tool_calls !== false } : null
  })
  const keep = keeping(body, (yield* Principal).tenant, form, connected?.connection)
  connected?.begins(identity.id, keep !== undefined)
  return { form, generation: yield* begin("chat", identity.id, [request], keep) }
}, inParam("messages"))

const handler = Effect.gen(function* () {
  const body = yield* decode
  const { form, generation } = yield* accept(body)
  if (body.stream === true) return yield* eventStream(generation, encoderOf(form))
  const answer = answerOf(form)
  yield* forEachBatch(generation, (events) => {
    for (const event of events) answer.add(event)
    return Effect.void
  })
  return HttpServerResponse.unsafeJson(answer.body)
})

export const layer = endpoint("POST", "/v1/chat/completions", authenticated(relayed("/chat/completions", handler)))
