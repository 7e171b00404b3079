import { assert, describe, it } from "@effect/vitest"
import { ChatMessage, type Prompt } from "@helixflow/schema/Generation"
import { affinityOf } from "../src/Affinity.ts"

const chat = (...messages: ReadonlyArray<readonly [ChatMessage["role"], string]>): Prompt => ({
  _tag: "Chat",
  messages: messages.map(([role, content]) => new ChatMessage({ role, content }))
})
const key = (prompt: Prompt, cacheSalt = "tenant") => affinityOf({ cacheSalt, prompt })

describe("what draws requests to a replica", () => {
  const first = chat(["system", "be kind"], ["user", "hello"])

  it("is the same for all turns of a conversation", () => {
    const second = chat(["system", "be kind"], ["user", "hello"], ["assistant", "hi"], ["user", "and now?"])
    assert.strictEqual(key(second), key(first))
  })

  it("is another for another conversation, and for another tenant's", () => {
    assert.notStrictEqual(key(chat(["system", "be kind"], ["user", "goodbye"])), key(first))
    assert.notStrictEqual(key(first, "other"), key(first))
  })

  it("is the beginning of a text or of tokens, however long they are", () => {
    const text = (text: string) => key({ _tag: "Text", text, addSpecialTokens: true })
    assert.strictEqual(text(`${"x".repeat(300)}a`), text(`${"x".repeat(300)}b`))
    assert.notStrictEqual(text("a"), text("b"))
  })
})
