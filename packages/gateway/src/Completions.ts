/** `POST /v1/completions`. */
import { HttpServerResponse } from "@effect/platform"
import { affinityOf } from "@helixflow/runtime/Affinity"
import { Runtime } from "@helixflow/runtime/Runtime"
import type { GenerationRequest } from "@helixflow/schema/Generation"
import { OpenAiCompletionRequest } from "@helixflow/schema/OpenAiCompletions"
import { Effect } from "effect"
import { answerOf, CompletionForm, encoderOf } from "./AnswerForm.ts"
import { authenticated } from "./Authentication.ts"
import { makeIdentity, randomSeed } from "./CompletionIds.ts"
import { generatedChoices, toGenerationRequests } from "./CompletionRequest.ts"
import { endpoint } from "./Endpoint.ts"
import { eventStream } from "./EventStream.ts"
import { begin, forEachBatch, inParam, modelFor } from "./Generations.ts"
import { keeping } from "./Keeping.ts"
import { Principal } from "./Principal.ts"
import { toPrompts } from "./PromptInput.ts"
import { queueing } from "./Queueing.ts"
import { relayed } from "./Relay.ts"
import { decodeBody } from "./RequestBody.ts"

const decode = decodeBody(OpenAiCompletionRequest)

/** The text of a request's prompt. */
const promptText = ({ model, prompt }: GenerationRequest) => {
  switch (prompt._tag) {
    case "Text":
      return Effect.succeed(prompt.text)
    case "Tokens":
      return Runtime.pipe(
        Effect.flatMap((runtime) => runtime.detokenize(model, prompt.tokens)),
        Effect.map(({ text }) => text)
      )
    case "Chat":
      return Effect.dieMessage("a legacy completion has no messages")
  }
}

const handler = Effect.gen(function* () {
  const body = yield* decode
  const spec = yield* modelFor(body.model, "text-generation", "completions", (cacheSalt) =>
    affinityOf({ cacheSalt, prompt: toPrompts(body.prompt)[0] })
  )
  const identity = yield* makeIdentity("cmpl", spec)
  const requests = toGenerationRequests(body, {
    model: spec.id,
    seed: yield* randomSeed,
    progress: body.stream_options?.include_progress === true,
    ...(yield* queueing(body)),
    // Computed prefixes are shared within a tenant only: how fast a prompt is answered would tell others of it.
    cacheSalt: (yield* Principal).tenant
  })
  const begun = yield* Effect.forEach(requests, (request) =>
    body.echo === true ? promptText(request) : Effect.succeed("")
  )
  const echoed = begun.flatMap((text) => Array.from({ length: generatedChoices(body) }, () => text))
  const form = CompletionForm.make({
    identity,
    echoed,
    includeUsage: body.stream_options?.include_usage === true,
    logprobs: typeof body.logprobs === "number",
    n: body.n ?? 1,
    bestOf: generatedChoices(body)
  })
  const generation = yield* begin(
    "text_completion",
    identity.id,
    requests,
    keeping(body, (yield* Principal).tenant, form)
  )
  if (body.stream === true) return yield* eventStream(generation, encoderOf(form))
  const answer = answerOf(form)
  yield* forEachBatch(generation, (events) => {
    for (const event of events) answer.add(event)
    return Effect.void
  })
  return HttpServerResponse.unsafeJson(answer.body)
}).pipe(inParam("prompt"))

export const layer = endpoint("POST", "/v1/completions", authenticated(relayed("/completions", handler)))
