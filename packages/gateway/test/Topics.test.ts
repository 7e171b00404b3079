import { assert, describe, it } from "@effect/vitest"
import { keyOf, ruleOf } from "../src/TopicRules.ts"
import { Topics } from "../src/Topics.ts"

const listener = (isFull = false) => {
  const told: Array<{ seq: number; data: unknown }> = []
  return {
    isFull,
    send: (text: string) => {
      const { data, seq } = JSON.parse(text)
      told.push({ data, seq })
    },
    told
  }
}

describe("Events of a topic", () => {
  it("are numbered on when all have left and somebody comes back, with a gap for what was missed", () => {
    const topics = new Topics()
    const [first, second] = [listener(), listener()]
    const leave = topics.subscribe("t", first)
    topics.publish("t", "t", "1")
    leave()
    leave()
    assert.isFalse(topics.hasSubscribers("t"))
    topics.publish("t", "t", "2")
    topics.subscribe("t", second)
    topics.publish("t", "t", "3")
    assert.deepStrictEqual(first.told, [{ seq: 1, data: 1 }])
    assert.deepStrictEqual(second.told, [{ seq: 3, data: 3 }])
  })

  it("are left out for who has no room", () => {
    const topics = new Topics()
    const [full, free] = [listener(true), listener()]
    topics.subscribe("t", full)
    topics.subscribe("t", free)
    topics.publish("t", "t", "1")
    assert.deepStrictEqual([full.told, free.told], [[], [{ seq: 1, data: 1 }]])
  })

  it("are forgotten of the oldest topics that nobody listens to, and of no others", () => {
    const topics = new Topics(2)
    const [kept, late] = [listener(), listener()]
    topics.subscribe("kept", kept)
    for (const key of ["kept", "a", "b", "c"]) topics.publish(key, key, "1")
    for (const key of ["kept", "a", "c"]) {
      topics.subscribe(key, late)
      topics.publish(key, key, "2")
    }
    assert.deepStrictEqual(
      late.told.map(({ seq }) => seq),
      [2, 1, 2]
    )
  })
})

describe("A topic", () => {
  it("is the tenant's own, unless it is the server's or the operators'", () => {
    assert.notStrictEqual(keyOf("a", "room"), keyOf("b", "room"))
    assert.notStrictEqual(keyOf("a", "streams"), keyOf("b", "streams"))
    // no tenant can name itself into another's topics
    assert.notStrictEqual(keyOf('a" x', "y"), keyOf("a", 'x" y'))
    for (const shared of ["models", "devices", "broadcast"]) assert.strictEqual(keyOf("a", shared), keyOf("b", shared))
    assert.deepInclude(ruleOf("devices"), { listen: "admin", speak: null })
    assert.deepInclude(ruleOf("broadcast"), { listen: "inference", speak: "admin" })
    assert.deepInclude(ruleOf("room"), { listen: "inference", speak: "inference" })
  })
})
