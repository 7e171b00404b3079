import { describe, expect, it } from "@effect/vitest"
import type { Grammar } from "@helixflow/schema/Grammar"
import type { GrammarState } from "../src/GrammarState.ts"
import { compile } from "../src/Grammars.ts"

type ToolCalls = Extract<Grammar, { readonly _tag: "ToolCalls" }>

const weather = {
  name: "get_weather",
  parameters: {
    type: "object",
    properties: { city: { enum: ["Oslo", "Rome"] } },
    required: ["city"],
    additionalProperties: false
  }
}
const grammarOf = (options: Partial<ToolCalls> = {}): ToolCalls => ({
  _tag: "ToolCalls",
  functions: [weather, { name: "get_time", parameters: null }],
  parallel: true,
  besides: { _tag: "Nothing" },
  ...options
})
const after = (grammar: Grammar, text: string): GrammarState | null => {
  let state: GrammarState | null = compile(grammar)
  for (const byte of new TextEncoder().encode(text)) state = state?.next(byte) ?? null
  return state
}
/** `end`: may end, and go on; `over`: must end; `on`: must go on. */
const where = (grammar: Grammar, text: string) => {
  const state = after(grammar, text)
  if (state === null) return "refused"
  return state.mustEnd ? "over" : state.mayEnd ? "end" : "on"
}
const call = '<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}</tool_call>'
const other = '<tool_call>\n{"name":"get_time","arguments":{"any":[{"thing":1}]}}\n</tool_call>'

describe("calls of tools", () => {
  it.each([
    ["", "on"],
    ["Hello", "refused"],
    [call, "end"],
    [other, "end"],
    [`${call}\n${other}${call}`, "end"],
    [`${call} and`, "refused"],
    [call.replace("Oslo", "Bonn"), "refused"],
    [call.replace("get_weather", "get_wealth"), "refused"],
    ['<tool_call>{"arguments"', "refused"]
  ])("are all there is where a call is required: %j %s", (text, expected) => {
    expect(where(grammarOf(), text)).toBe(expected)
  })

  it("are one where they may not be parallel", () => {
    expect(where(grammarOf({ parallel: false }), call)).toBe("over")
    expect(where(grammarOf({ parallel: false, besides: { _tag: "Text" } }), `I look. ${call}`)).toBe("over")
  })

  it.each([
    ["", "end"],
    ["Any <text> with <tool_ca and </tool_call>, 世", "end"],
    ["<<tool_call", "end"],
    ["<<tool_call>", "on"],
    ["<tool_<tool_call>", "on"],
    [`Let me see. ${call}`, "end"],
    [`${call}${call} So. ${other}!`, "end"],
    [`So. ${call.replace("Oslo", "Bonn")}`, "refused"],
    ["<tool_call>Hello", "refused"]
  ])("begin in any text where they are allowed: %j %s", (text, expected) => {
    expect(where(grammarOf({ besides: { _tag: "Text" } }), text)).toBe(expected)
  })

  it("may be instead of JSON", () => {
    const besides = { _tag: "JsonSchema" as const, strict: false, schema: { type: "object", properties: { a: {} } } }
    expect(where(grammarOf({ besides }), '{"a":1}')).toBe("over")
    expect(where(grammarOf({ besides }), call)).toBe("end")
    expect(where(grammarOf({ besides }), "Hi")).toBe("refused")
    expect(where(grammarOf({ besides: { _tag: "JsonObject" } }), '{"b":[]}')).toBe("over")
  })
})
