/** The bundled models behind the API, as a newcomer meets them. */
import { fileURLToPath } from "node:url"
import { NodeContext } from "@effect/platform-node"
import { assert, layer, vi } from "@effect/vitest"
import { Effect, Layer } from "effect"
import type OpenAI from "openai"
import { startServer } from "./Program.ts"
import { openai, Target } from "./Target.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const key = "hx-a-key-of-the-suite"
const models = fileURLToPath(new URL("../../runtime/models", import.meta.url))

const bundled = Layer.scoped(
  Target,
  Effect.map(startServer({ HELIX_BOOTSTRAP_KEY: key, HELIX_MODELS_DIR: models }), ({ url }) =>
    Target.of({ url, key, chatModel: "helix-demo", embeddingModel: "helix-demo-embed" })
  )
).pipe(Layer.provide(NodeContext.layer))

type Params = OpenAI.Chat.Completions.ChatCompletionCreateParamsNonStreaming

const plain = (client: OpenAI, params: Params) =>
  Effect.map(
    Effect.promise(() => client.chat.completions.create(params)),
    ({ choices }) => choices[0]?.message.content ?? ""
  )

layer(bundled, { timeout: 120_000, excludeTestServices: true })("a tool", (it) => {
  const tools: Params["tools"] = [
    {
      type: "function",
      function: {
        name: "get_weather",
        description: "Get the weather",
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
      }
    }
  ]
  const question: Params = {
    model: "helix-demo",
    messages: [{ role: "user", content: "What is the weather in Paris?" }],
    tools,
    temperature: 0
  }

  it.effect("is called, and its result answers the question", () =>
    Effect.gen(function* () {
      const client = yield* openai
      const { choices } = yield* Effect.promise(() => client.chat.completions.create(question))
      const message = choices[0]?.message
      assert.strictEqual(choices[0]?.finish_reason, "tool_calls")
      const [call] = message?.tool_calls ?? []
      if (message === undefined || call?.type !== "function") return assert.fail("no call")
      assert.deepStrictEqual(call.function, { name: "get_weather", arguments: '{"city":"Paris"}' })
      const result = { role: "tool" as const, tool_call_id: call.id, content: '{"temperature":17,"condition":"sunny"}' }
      const answer = yield* plain(client, { ...question, messages: [...question.messages, message, result] })
      assert.match(answer, /17 degrees .*Paris/)
    })
  )

  it.effect("is called in a stream as the client's own helper reads it", () =>
    Effect.gen(function* () {
      const client = yield* openai
      const whole = yield* Effect.promise(() =>
        client.chat.completions.stream({ ...question, stream: true }).finalChatCompletion()
      )
      const [call] = whole.choices[0]?.message.tool_calls ?? []
      assert.strictEqual(whole.choices[0]?.finish_reason, "tool_calls")
      assert.strictEqual(call?.function.name, "get_weather")
      assert.match(call?.id ?? "", /^call_[0-9a-f]{32}_0_0$/)
    })
  )

  it.effect("is not called where the choice is none", () =>
    Effect.gen(function* () {
      const client = yield* openai
      const { choices } = yield* Effect.promise(() =>
        client.chat.completions.create({ ...question, tool_choice: "none" })
      )
      assert.isUndefined(choices[0]?.message.tool_calls)
      assert.strictEqual(choices[0]?.finish_reason, "stop")
    })
  )
})
