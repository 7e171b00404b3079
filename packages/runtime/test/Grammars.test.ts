import { describe, expect, it } from "@effect/vitest"
import type { Grammar } from "@helixflow/schema/Grammar"
import { Grammars } from "../src/Grammars.ts"

const grammarOf = (value: number): Grammar => ({ _tag: "JsonSchema", strict: false, schema: { const: value } })

describe("Grammars", () => {
  it("keep those that were used last", () => {
    const grammars = new Grammars(2)
    const [first, second] = [grammars.startOf(grammarOf(1)), grammars.startOf(grammarOf(2))]
    expect(grammars.startOf(grammarOf(1))).toBe(first)
    grammars.startOf(grammarOf(3))
    expect(grammars.startOf(grammarOf(1))).toBe(first)
    expect(grammars.startOf(grammarOf(2))).not.toBe(second)
  })

  it("keep nothing of one that is refused", () => {
    const grammars = new Grammars(2)
    const none: Grammar = { _tag: "JsonSchema", strict: true, schema: { type: "string" } }
    expect(() => grammars.startOf(none)).toThrow(/of type 'object'/)
    expect(() => grammars.startOf(none)).toThrow(/of type 'object'/)
  })
})
