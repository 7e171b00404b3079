import { describe, expect, it } from "@effect/vitest"
import { InvalidRequest } from "@helixflow/schema/Errors"
import { ChatMessage } from "@helixflow/schema/Generation"
import { ChatTemplate } from "../src/ChatTemplate.ts"

const messages = [
  ChatMessage.make({ role: "system", content: "Be brief." }),
  ChatMessage.make({ role: "user", content: "Hi" })
]

const plain = (source: string) => new ChatTemplate({ default: source, toolUse: null }, {})

describe("ChatTemplate", () => {
  it("has a template of its own for tools, or one that asks for them", () => {
    const tools = [{ type: "function", function: { name: "weather" } }]
    const asking = "{% if tools is not none %}{{ tools | tojson }}{% else %}none{% endif %} {{ documents is none }}"
    const both = new ChatTemplate({ default: asking, toolUse: "{{ tools[0].function.name }}" }, {})
    expect(both.render({ messages })).toBe("none true")
    expect(both.render({ messages, tools })).toBe("weather")
    expect(plain(asking).render({ messages, tools })).toContain('"weather"')
    expect(plain("{{ documents[0].text }}").render({ messages, documents: [{ text: "facts" }] })).toBe("facts")
  })

  it("refuses tools where it has no place for them", () => {
    const template = plain("{{ messages[1].content }}")
    expect(template.render({ messages })).toBe("Hi")
    expect(() => template.render({ messages, tools: [{ type: "function", function: { name: "weather" } }] })).toThrow(
      new InvalidRequest({ reason: "The model's chat template has no place for tools.", param: "tools" })
    )
  })

  it("can ask for the date", () => {
    const year = plain("{{ strftime_now('%Y') }}").render({ messages })
    expect(Number(year)).toBeGreaterThan(2024)
  })

  it("renders the messages up to where the answer begins", () => {
    const source =
      "{{ bos_token }}{% for message in messages %}<{{ message.role }}>{{ message.content | trim }}{{ eos_token }}" +
      "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    const template = new ChatTemplate(
      { default: source, toolUse: null },
      { bos_token: "<s>", eos_token: { content: "</s>" } }
    )
    expect(template.render({ messages })).toBe("<s><system>Be brief.</s><user>Hi</s><assistant>")
  })

  it("passes a template's own refusal on to the client", () => {
    const template = plain("{{ raise_exception('system role not supported') }}")
    expect(() => template.render({ messages })).toThrow(
      new InvalidRequest({
        reason: "The model's chat template refuses the messages: system role not supported",
        param: "messages"
      })
    )
  })
})
