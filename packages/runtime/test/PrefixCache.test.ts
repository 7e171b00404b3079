import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { PrefixCache } from "../src/PrefixCache.ts"

const blockTokens = 2
/** A block's data is the tokens up to its end: what it stands for. */
const keep = (cache: PrefixCache, salt: string, tokens: ReadonlyArray<number>, length = tokens.length) =>
  cache.insert(salt, tokens, length, (from) => Float32Array.from(tokens.slice(0, from + blockTokens)))
const matched = (cache: PrefixCache, salt: string, tokens: ReadonlyArray<number>) =>
  cache.match(salt, tokens).map(({ data }) => [...data])

describe("the prefix cache", () => {
  it("finds the longest beginning that was computed, in whole blocks", () => {
    const cache = new PrefixCache({ blockTokens, capacity: 8 })
    keep(cache, "", [1, 2, 3, 4, 5])
    assert.deepStrictEqual(matched(cache, "", [1, 2, 3, 4, 9, 9, 9]), [
      [1, 2],
      [1, 2, 3, 4]
    ])
    assert.deepStrictEqual(matched(cache, "", [1, 2, 9, 4, 5]), [[1, 2]])
    assert.deepStrictEqual(matched(cache, "", [3, 4, 5]), [])
  })

  it("leaves the last token of a prompt to be computed, for its logits", () => {
    const cache = new PrefixCache({ blockTokens, capacity: 8 })
    keep(cache, "", [1, 2, 3, 4])
    assert.lengthOf(cache.match("", [1, 2, 3, 4]), 1)
    assert.lengthOf(cache.match("", [1, 2, 3, 4, 5]), 2)
  })

  it("keeps only what is computed", () => {
    const cache = new PrefixCache({ blockTokens, capacity: 8 })
    keep(cache, "", [1, 2, 3, 4, 5, 6], 3)
    assert.strictEqual(cache.size, 1)
  })

  it("shares nothing between tenants", () => {
    const cache = new PrefixCache({ blockTokens, capacity: 8 })
    keep(cache, "one", [1, 2, 3, 4])
    assert.deepStrictEqual(matched(cache, "other", [1, 2, 3, 4, 5]), [])
    assert.lengthOf(matched(cache, "one", [1, 2, 3, 4, 5]), 2)
  })

  it("evicts what was not used for longest", () => {
    const cache = new PrefixCache({ blockTokens, capacity: 2 })
    keep(cache, "", [1, 1])
    keep(cache, "", [2, 2])
    cache.match("", [1, 1, 0])
    keep(cache, "", [3, 3])
    assert.lengthOf(cache.match("", [1, 1, 0]), 1)
    assert.lengthOf(cache.match("", [2, 2, 0]), 0)
    // two blocks of two numbers
    assert.strictEqual(cache.bytes, 16)
  })

  it("is off without capacity", () => {
    const cache = new PrefixCache({ blockTokens, capacity: 0 })
    keep(cache, "", [1, 2, 3, 4])
    assert.strictEqual(cache.size, 0)
  })

  it("never exceeds its capacity, never mixes up prompts, and always gives an unbroken beginning", () => {
    const token = FastCheck.integer({ min: 0, max: 2 })
    const use = FastCheck.record({
      salt: FastCheck.constantFrom("a", "b"),
      tokens: FastCheck.array(token, { maxLength: 9 }),
      insert: FastCheck.boolean()
    })
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(use, { maxLength: 60 }),
        FastCheck.integer({ min: 0, max: 6 }),
        (uses, capacity) => {
          const cache = new PrefixCache({ blockTokens, capacity })
          const kept = new Set<string>()
          for (const { insert, salt, tokens } of uses) {
            if (insert) {
              keep(cache, salt, tokens)
              for (let end = blockTokens; end <= tokens.length; end += blockTokens)
                kept.add(salt + tokens.slice(0, end))
            }
            const found = cache.match(salt, tokens)
            for (const [index, block] of found.entries()) {
              const beginning = tokens.slice(0, (index + 1) * blockTokens)
              assert.deepStrictEqual([...block.data], beginning)
              assert.isTrue(kept.has(salt + beginning))
            }
            assert.isAtMost(cache.size, capacity)
          }
        }
      )
    )
  })
})
