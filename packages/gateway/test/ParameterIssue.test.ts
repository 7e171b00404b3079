import { assert, describe, it } from "@effect/vitest"
import { OpenAiChatRequest } from "@helixflow/schema/OpenAiChat"
import { OpenAiCompletionRequest } from "@helixflow/schema/OpenAiCompletions"
import { OpenAiEmbeddingRequest } from "@helixflow/schema/OpenAiEmbeddings"
import { Either, FastCheck, ParseResult, type Schema } from "effect"
import { spellPath, toInvalidRequest } from "../src/ParameterIssue.ts"

const refusal =
  <A, I>(schema: Schema.Schema<A, I>) =>
  (input: unknown) => {
    const decode = ParseResult.decodeUnknownEither(schema, { errors: "first", onExcessProperty: "error" })
    const { code, message, param } = toInvalidRequest(Either.getOrThrow(Either.flip(decode(input))))
    return [param, code, message]
  }

const messages = [{ role: "user", content: "hi" }]
const chat = (more: object) => refusal(OpenAiChatRequest)({ model: "m", messages, ...more })
const completion = (more: object) => refusal(OpenAiCompletionRequest)({ model: "m", prompt: "p", ...more })
const embedding = (input: unknown) => refusal(OpenAiEmbeddingRequest)({ model: "m", input })

describe("A refusal", () => {
  it("names what is missing", () => {
    assert.deepStrictEqual(refusal(OpenAiChatRequest)({}), [
      "model",
      "missing_required_parameter",
      "Missing required parameter: 'model'."
    ])
    assert.deepStrictEqual(chat({ messages: [{ role: "user" }] }).slice(0, 2), [
      "messages[0].content",
      "missing_required_parameter"
    ])
  })

  it("names what nobody knows", () => {
    assert.deepStrictEqual(chat({ temprature: 1 }), [
      "temprature",
      "unknown_parameter",
      "Unknown parameter: 'temprature'."
    ])
    assert.deepStrictEqual(
      chat({ messages: [...messages, { role: "user", content: "a", other: 1 }] })[0],
      "messages[1].other"
    )
  })

  it("says what was expected, and whether the type or the value is wrong", () => {
    assert.deepStrictEqual(chat({ temperature: "hot" }), [
      "temperature",
      "invalid_type",
      `Invalid type for 'temperature': expected a number between 0 and 2, but got "hot" instead.`
    ])
    assert.deepStrictEqual(chat({ temperature: 2.5 }), [
      "temperature",
      "invalid_value",
      "Invalid value for 'temperature': expected a number between 0 and 2, but got 2.5 instead."
    ])
    assert.deepStrictEqual(chat({ messages: [] }), [
      "messages",
      "invalid_value",
      "Invalid value for 'messages': expected a non-empty array of messages, but got an empty array instead."
    ])
    assert.deepStrictEqual(chat({ messages: [{ role: "robot", content: "a" }] }).slice(0, 2), [
      "messages[0].role",
      "invalid_value"
    ])
  })

  it("follows the alternative that was meant, and no other", () => {
    assert.deepStrictEqual(chat({ stop: ["a", 1] })[0], "stop[1]")
    assert.deepStrictEqual(
      chat({ messages: [{ role: "user", content: [{ type: "text", text: 1 }] }] })[0],
      "messages[0].content[0].text"
    )
    assert.deepStrictEqual(chat({ messages: [{ role: "user", content: 1 }] })[0], "messages[0].content")
    assert.deepStrictEqual(completion({ prompt: [1, "a"] }).slice(0, 2), ["prompt[1]", "invalid_type"])
    // Texts and tokens fail alike here: what was meant cannot be told.
    assert.deepStrictEqual(completion({ prompt: [true] }).slice(0, 2), ["prompt", "invalid_type"])
    assert.deepStrictEqual(embedding(["a", ""]).slice(0, 2), ["input[1]", "invalid_value"])
  })

  it("tells apart what OpenAI has and HelixFlow does not", () => {
    assert.deepStrictEqual(chat({ prediction: { type: "content", content: "a" } }), [
      "prediction",
      "unsupported_parameter",
      "Unsupported parameter: 'prediction'. Predicted outputs are not supported."
    ])
    assert.deepStrictEqual(chat({ tools: [{ type: "custom" }] }).slice(0, 2), ["tools[0]", "unsupported_value"])
    assert.deepStrictEqual(chat({ reasoning_effort: "high" }), [
      "reasoning_effort",
      "unsupported_value",
      `Unsupported value for 'reasoning_effort': "high". Only 'none' is supported.`
    ])
    const image = [{ type: "image_url", image_url: { url: "data:" } }]
    assert.deepStrictEqual(chat({ messages: [{ role: "user", content: image }] }), [
      "messages[0].content[0]",
      "unsupported_value",
      "Unsupported value for 'messages[0].content[0]': an object. Only parts of type 'text' are supported."
    ])
  })

  it("names one of two parameters that do not go together", () => {
    assert.deepStrictEqual(chat({ max_tokens: 1, max_completion_tokens: 2 })[0], "max_tokens")
    assert.deepStrictEqual(chat({ top_logprobs: 2 })[0], "top_logprobs")
    assert.deepStrictEqual(chat({ tool_choice: "auto" })[0], "tool_choice")
    assert.deepStrictEqual(chat({ tool_choice: "required" })[0], "tool_choice")
    const tools = [{ type: "function", function: { name: "f" } }]
    const named = (name: string) => ({ type: "function", function: { name } })
    assert.deepStrictEqual(chat({ tools, tool_choice: named("g") }), [
      "tool_choice",
      "invalid_value",
      "'tool_choice' names 'g', which is none of the 'tools'."
    ])
    const allowed_tools = { mode: "auto", tools: [named("f"), named("h")] }
    assert.deepStrictEqual(chat({ tools, tool_choice: { type: "allowed_tools", allowed_tools } })[0], "tool_choice")
    assert.deepStrictEqual(chat({ response_format: { type: "json_object" }, min_tokens: 1 })[0], "min_tokens")
    assert.deepStrictEqual(chat({ response_format: { type: "json_object" }, ignore_eos: true })[0], "ignore_eos")
    assert.deepStrictEqual(chat({ tools, tool_choice: "required", ignore_eos: true })[0], "ignore_eos")
    assert.deepStrictEqual(chat({ stream_options: { include_usage: true } })[0], "stream_options")
    assert.deepStrictEqual(chat({ max_tokens: 1, min_tokens: 2 })[0], "min_tokens")
    assert.deepStrictEqual(completion({ n: 2, best_of: 1 })[0], "best_of")
  })

  it("says what a response format has to be", () => {
    const schema = { type: "object", properties: {}, required: [], additionalProperties: false }
    for (const [format, param] of [
      ["json", "response_format"],
      [{ type: "xml" }, "response_format.type"],
      [{ type: "json_object", schema }, "response_format.schema"],
      [{ type: "json_schema" }, "response_format.json_schema"],
      [{ type: "json_schema", json_schema: { schema } }, "response_format.json_schema.name"],
      [{ type: "json_schema", json_schema: { name: "a b", schema } }, "response_format.json_schema.name"],
      [{ type: "json_schema", json_schema: { name: "a" } }, "response_format.json_schema.schema"],
      [{ type: "json_schema", json_schema: { name: "a", schema: [] } }, "response_format.json_schema.schema"],
      [{ type: "json_schema", json_schema: { name: "a", schema, strict: 1 } }, "response_format.json_schema.strict"],
      [{ type: "json_schema", json_schema: { name: "a", schema, other: 1 } }, "response_format.json_schema.other"]
    ] as const) {
      assert.strictEqual(chat({ response_format: format })[0], param, JSON.stringify(format))
    }
  })

  it("stays short, whatever was sent", () => {
    const long = "a".repeat(100_000)
    for (const [param, , message] of [
      chat({ [long]: 1 }),
      chat({ temperature: long }),
      chat({ stop: { [long]: long } })
    ]) {
      assert.isBelow((param ?? "").length, 100)
      assert.isBelow((message ?? "").length, 300)
    }
  })

  it("is there for any value of any parameter that is refused", () => {
    const decode = ParseResult.decodeUnknownEither(OpenAiChatRequest, { errors: "first", onExcessProperty: "error" })
    const names = FastCheck.constantFrom(
      "messages",
      "stop",
      "logit_bias",
      "stream_options",
      "tools",
      "n",
      "response_format",
      "x"
    )
    FastCheck.assert(
      FastCheck.property(names, FastCheck.jsonValue(), (name, value) => {
        const decoded = decode({ model: "m", messages, [name]: value })
        if (Either.isRight(decoded)) return
        const { param } = toInvalidRequest(decoded.left)
        assert.isTrue(param?.startsWith(name), `${param} for ${name} = ${JSON.stringify(value)}`)
      }),
      { seed: 7, numRuns: 500 }
    )
  })
})

describe("A path", () => {
  it("is spelled as OpenAI does", () => {
    assert.isNull(spellPath([]))
    assert.strictEqual(spellPath(["messages", 0, "content", 12, "text"]), "messages[0].content[12].text")
  })
})
