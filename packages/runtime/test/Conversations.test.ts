import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { ChatMessage } from "@helixflow/schema/Generation"
import { ReplicaId } from "@helixflow/schema/Ids"
import { blinded, Conversations, keyOf, named } from "../src/Conversations.ts"

const [one, two] = [ReplicaId.make("local/cpu:0/m#0"), ReplicaId.make("local/cpu:1/m#0")]

const chat = (cacheSalt: string, conversation: string | undefined, ...contents: ReadonlyArray<string>) => ({
  cacheSalt,
  conversation,
  prompt: { _tag: "Chat" as const, messages: contents.map((content) => new ChatMessage({ role: "user", content })) }
})

describe("The key of a conversation", () => {
  it("is told from how it begins, and is another for another tenant", () => {
    assert.strictEqual(keyOf(chat("a", undefined, "hello", "and now?")), keyOf(chat("a", undefined, "hello")))
    assert.notStrictEqual(keyOf(chat("a", undefined, "goodbye")), keyOf(chat("a", undefined, "hello")))
    assert.notStrictEqual(keyOf(chat("b", undefined, "hello")), keyOf(chat("a", undefined, "hello")))
  })

  it("is what the client calls it, if it does, whatever the prompt", () => {
    assert.strictEqual(keyOf(chat("a", named("a", "mine"), "hello")), keyOf(chat("a", named("a", "mine"), "goodbye")))
    assert.notStrictEqual(named("a", "mine"), named("a", "other"))
    assert.notStrictEqual(named("a", "mine"), named("b", "mine"))
  })
})

describe("What the scheduler is told of a conversation", () => {
  it("is always the same, and can't be told from how it begins", () => {
    const key = keyOf(chat("a", undefined, "hello"))
    assert.strictEqual(blinded(key), blinded(keyOf(chat("a", undefined, "hello", "and now?"))))
    assert.notStrictEqual(blinded(key), blinded(keyOf(chat("b", undefined, "hello"))))
    const program = `import("./packages/runtime/src/Conversations.ts").then(({ blinded }) => console.log(blinded(${JSON.stringify(key)})))`
    const elsewhere = execFileSync(process.execPath, ["--import=tsx", "--conditions=source", "--eval", program], {
      cwd: fileURLToPath(new URL("../../..", import.meta.url)),
      encoding: "utf8"
    })
    assert.match(elsewhere, /^[\w-]{22}\n$/)
    assert.notStrictEqual(elsewhere.trim(), blinded(key))
  })
})

describe("Where conversations were last", () => {
  it("is known until there are too many, the one that was used longest ago first", () => {
    const conversations = new Conversations(2)
    assert.isUndefined(conversations.at("a"))
    conversations.went("a", one)
    conversations.went("b", one)
    conversations.went("a", two)
    conversations.went("c", one)
    assert.deepStrictEqual(
      ["a", "b", "c"].map((key) => conversations.at(key)),
      [two, undefined, one]
    )
  })
})
