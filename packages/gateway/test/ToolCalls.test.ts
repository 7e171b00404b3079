import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { type Parsed, ToolCallParser } from "../src/ToolCalls.ts"

const call = (name: string, args: string) => `<tool_call>{"name": "${name}", "arguments": ${args}}</tool_call>`

/** What all pieces give together. */
const parse = (pieces: ReadonlyArray<string>, parallel = true): Parsed => {
  const parser = new ToolCallParser(parallel)
  const parts = pieces.map((piece, i) => parser.add(piece, i === pieces.length - 1))
  assert.strictEqual(
    parser.calls,
    parts.reduce((sum, { calls }) => sum + calls.length, 0)
  )
  return { content: parts.map(({ content }) => content).join(""), calls: parts.flatMap(({ calls }) => calls) }
}

describe("Calls in a model's text", () => {
  it("are found, and the text before them is kept", () => {
    assert.deepStrictEqual(parse([`Let me look.${call("get_weather", '{"city": "Oslo"}')}`]), {
      content: "Let me look.",
      calls: [{ name: "get_weather", arguments: '{"city":"Oslo"}' }]
    })
  })

  it("may be several, with line breaks around them that are no text", () => {
    const text = `${call("a", "{}")}\n${call("b", '{"n": 1}')}\n`
    assert.deepStrictEqual(parse([text]), {
      content: "",
      calls: [
        { name: "a", arguments: "{}" },
        { name: "b", arguments: '{"n":1}' }
      ]
    })
    assert.lengthOf(parse([text], false).calls, 1)
  })

  it("may lack arguments", () => {
    assert.deepStrictEqual(parse(['<tool_call>\n{"name": "now"}\n</tool_call>']).calls, [
      { name: "now", arguments: "{}" }
    ])
  })

  it("are text, as it came, where they are none", () => {
    for (const text of [
      "<tool_call>nothing</tool_call>",
      '<tool_call>{"name": 1}</tool_call> and more',
      '<tool_call>{"name": "a", "arguments": {',
      "a < b, <tool",
      "<tool_cal"
    ]) {
      assert.deepStrictEqual(parse([text]), { content: text, calls: [] })
      assert.deepStrictEqual(parse([...text, ""]), { content: text, calls: [] })
    }
  })

  it("let text pass as soon as it can be no call", () => {
    const parser = new ToolCallParser(true)
    assert.strictEqual(parser.add("It is 1 <", false).content, "It is 1 ")
    assert.strictEqual(parser.add(" 2", false).content, "< 2")
  })

  it.prop(
    "do not depend on how the text is cut",
    [
      FastCheck.array(
        FastCheck.constantFrom(call("f", '{"x": "</tool>"}'), "<tool_call>", "</tool_call>", "Hi ", "<", "\n"),
        { maxLength: 8 }
      ),
      FastCheck.array(FastCheck.nat(20), { minLength: 1, maxLength: 40 })
    ],
    ([texts, cuts]) => {
      const text = texts.join("")
      const pieces: Array<string> = []
      for (let at = 0, i = 0; at < text.length; i++) {
        const size = 1 + (cuts[i % cuts.length] ?? 0)
        pieces.push(text.slice(at, at + size))
        at += size
      }
      assert.deepStrictEqual(parse([...pieces, ""]), parse([text]))
    }
  )
})
