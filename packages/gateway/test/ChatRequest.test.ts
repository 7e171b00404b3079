import { assert, describe, it } from "@effect/vitest"
import { ModelId } from "@helixflow/schema/Ids"
import { OpenAiChatRequest } from "@helixflow/schema/OpenAiChat"
import { Schema } from "effect"
import { toGenerationRequest } from "../src/ChatRequest.ts"

const options = { model: ModelId.make("m"), seed: 42, queueTimeout: 1000, cacheSalt: "tenant" }

const generation = (more: object = {}) =>
  toGenerationRequest(
    Schema.decodeUnknownSync(OpenAiChatRequest)({ model: "m", messages: [{ role: "user", content: "hi" }], ...more }),
    options
  )

describe("A chat completion request", () => {
  it("leaves to the model what it does not say", () => {
    const { logprobs, n, sampling, stopping } = generation()
    assert.strictEqual(n, 1)
    assert.isNull(logprobs)
    assert.deepStrictEqual(
      { ...stopping },
      { maxTokens: null, minTokens: 0, stop: [], stopTokenIds: [], ignoreEos: false }
    )
    for (const field of ["temperature", "topP", "topK", "minP", "typicalP", "repetitionPenalty"] as const)
      assert.isUndefined(sampling[field])
    assert.strictEqual(sampling.seed, 42)
  })

  it("shares computed prefixes within its tenant only", () => {
    assert.strictEqual(generation().cacheSalt, "tenant")
  })

  it("takes null for what is not said", () => {
    const parameters = [
      "temperature",
      "top_p",
      "n",
      "seed",
      "stop",
      "max_tokens",
      "logit_bias",
      "logprobs",
      "stream_options"
    ]
    assert.deepStrictEqual(generation(Object.fromEntries(parameters.map((name) => [name, null]))), generation())
  })

  it("hands on what it says", () => {
    const { logprobs, sampling, stopping } = generation({
      temperature: 0,
      top_p: 0.5,
      top_k: -1,
      min_p: 0.1,
      typical_p: 0.9,
      repetition_penalty: 1.1,
      presence_penalty: 1,
      frequency_penalty: -1,
      logit_bias: { "7": -100 },
      seed: -3,
      stop: "end",
      max_completion_tokens: 5,
      min_tokens: 2,
      stop_token_ids: [9],
      ignore_eos: true,
      logprobs: true
    })
    assert.deepStrictEqual(
      { ...sampling },
      {
        temperature: 0,
        topP: 0.5,
        topK: 0,
        minP: 0.1,
        typicalP: 0.9,
        repetitionPenalty: 1.1,
        presencePenalty: 1,
        frequencyPenalty: -1,
        logitBias: { "7": -100 },
        seed: -3
      }
    )
    assert.deepStrictEqual(
      { ...stopping },
      { maxTokens: 5, minTokens: 2, stop: ["end"], stopTokenIds: [9], ignoreEos: true }
    )
    assert.strictEqual(logprobs, 0)
    assert.strictEqual(generation({ logprobs: true, top_logprobs: 3 }).logprobs, 3)
    assert.strictEqual(generation({ max_tokens: 4 }).stopping.maxTokens, 4)
  })

  it("makes one text of a message's parts", () => {
    const parts = [
      { type: "text", text: "a " },
      { type: "text", text: "b" }
    ]
    const { prompt } = generation({ messages: [{ role: "developer", content: parts, name: "me" }] })
    assert.strictEqual(prompt._tag, "Chat")
    if (prompt._tag === "Chat") {
      assert.deepStrictEqual(
        prompt.messages.map((message) => ({ ...message })),
        [{ role: "developer", content: "a b", name: "me" }]
      )
    }
  })

  it("gives the template its tools, the calls of earlier answers and their results", () => {
    const described = { name: "f", parameters: { type: "object" } }
    const tools = [{ type: "function", function: { ...described, strict: false } }]
    const tool_calls = [{ id: "call_1", type: "function", function: { name: "f", arguments: '{"x": 1}' } }]
    const messages = [
      { role: "user", content: "hi" },
      { role: "assistant", content: null, tool_calls },
      { role: "tool", content: "2", tool_call_id: "call_1" }
    ]
    const { prompt } = generation({ messages, tools, tool_choice: "auto" })
    assert.strictEqual(prompt._tag, "Chat")
    if (prompt._tag !== "Chat") return
    // how strictly it is held to its schema isn't the model's business
    assert.deepStrictEqual(prompt.tools, [{ type: "function", function: described }])
    const [, answer, result] = prompt.messages
    assert.strictEqual(answer?.content, "")
    assert.deepStrictEqual(answer?.tool_calls, [
      { id: "call_1", type: "function", function: { name: "f", arguments: { x: 1 } } }
    ])
    assert.strictEqual(result?.tool_call_id, "call_1")
    const without = generation({ tools, tool_choice: "none" }).prompt
    assert.isFalse("tools" in without)
  })
})
