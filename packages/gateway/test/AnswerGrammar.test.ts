import { assert, describe, it } from "@effect/vitest"
import { OpenAiChatRequest } from "@helixflow/schema/OpenAiChat"
import { Schema } from "effect"
import { grammarIssue, grammarOf } from "../src/AnswerGrammar.ts"

const body = (more: object) =>
  Schema.decodeUnknownSync(OpenAiChatRequest)({ model: "m", messages: [{ role: "user", content: "hi" }], ...more })

const closed = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false
}
const tool = (name: string, more: object = {}) => ({ type: "function", function: { name, ...more } })
const strict = tool("strict", { parameters: closed, strict: true })
const tools = [tool("loose", { parameters: { type: "string", pattern: "a" } }), strict]
const loose = { name: "loose", parameters: null }
const held = { name: "strict", parameters: closed }
const named = (name: string) => ({ type: "function", function: { name } })
const json = { type: "json_schema", json_schema: { name: "place", schema: closed, strict: true } }

describe("what a chat completion is held to", () => {
  it("is nothing where any text will do", () => {
    for (const free of [
      {},
      { response_format: { type: "text" } },
      { tools: [tool("loose")] },
      { tools, tool_choice: "none" },
      { tools: [], response_format: null }
    ]) {
      assert.isUndefined(grammarOf(body(free)), JSON.stringify(free))
    }
  })

  it("is JSON, any or of a schema", () => {
    assert.deepStrictEqual(grammarOf(body({ response_format: { type: "json_object" } })), { _tag: "JsonObject" })
    const grammar = { _tag: "JsonSchema", schema: closed, strict: true } as const
    assert.deepStrictEqual(grammarOf(body({ response_format: json })), grammar)
    assert.deepStrictEqual(grammarOf(body({ response_format: json, tools, tool_choice: "none" })), grammar)
    assert.deepStrictEqual(grammarOf(body({ response_format: json, tools })), {
      _tag: "ToolCalls",
      functions: [loose, held],
      parallel: true,
      besides: grammar
    })
  })

  it.each([
    ["strict tools", { tools }, [loose, held], true, "Text"],
    ["strict tools, one call", { tools, parallel_tool_calls: false }, [loose, held], false, "Text"],
    ["any call", { tools, tool_choice: "required" }, [loose, held], true, "Nothing"],
    ["a named call", { tools, tool_choice: named("loose") }, [loose], false, "Nothing"],
    [
      "some calls",
      { tools, tool_choice: { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [named("loose")] } } },
      [loose],
      true,
      "Text"
    ],
    [
      "some of which one has to be",
      { tools, tool_choice: { type: "allowed_tools", allowed_tools: { mode: "required", tools: [named("strict")] } } },
      [held],
      true,
      "Nothing"
    ]
  ])("is %s", (_, more, functions, parallel, besides) => {
    const expected: unknown = { _tag: "ToolCalls", functions, parallel, besides: { _tag: besides } }
    assert.deepStrictEqual<unknown>(grammarOf(body(more)), expected)
  })

  it("gives a strict tool without parameters no arguments", () => {
    const grammar = grammarOf(body({ tools: [tool("f", { strict: true })] }))
    assert.strictEqual(grammar?._tag, "ToolCalls")
    assert.isUndefined(grammarIssue(body({ tools: [tool("f", { strict: true })] })))
  })

  it("is refused by the name of the parameter, the keyword and its place", () => {
    const format = (schema: object, more: object = {}) =>
      grammarIssue(body({ response_format: { type: "json_schema", json_schema: { name: "a", schema, ...more } } }))
    const pattern = { type: "object", properties: { a: { type: "string", pattern: "b" } } }
    const issue = format(pattern)
    assert.strictEqual(issue?.param, "response_format")
    assert.strictEqual(issue?.code, "invalid_json_schema")
    assert.strictEqual(
      issue?.reason,
      "Invalid schema for response_format: 'pattern' is not supported for type 'string' (at properties.a)."
    )
    assert.match(format({ type: "object" }, { strict: true })?.reason ?? "", /needs 'additionalProperties' to be false/)
    const refused = grammarIssue(body({ tools: [tool("f"), tool("g", { parameters: pattern, strict: true })] }))
    assert.strictEqual(refused?.param, "tools[1].function.parameters")
    assert.strictEqual(refused?.code, "invalid_function_parameters")
    assert.match(refused?.reason ?? "", /^Invalid schema for function 'g': /)
    assert.isUndefined(grammarIssue(body({ tools, response_format: json })))
  })

  it("is refused where the tools together are too much", () => {
    const large = { ...closed, properties: { city: { enum: Array.from({ length: 1_000 }, (_, n) => `place ${n}`) } } }
    const many = Array.from({ length: 20 }, (_, n) => tool(`f${n}`, { parameters: large, strict: true }))
    assert.isUndefined(grammarIssue(body({ tools: many.slice(0, 1) })))
    assert.strictEqual(grammarIssue(body({ tools: many }))?.param, "tools")
  })
})
