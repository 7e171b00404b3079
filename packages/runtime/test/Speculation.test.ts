import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Sampling } from "@helixflow/schema/Generation"
import { TokenId } from "@helixflow/schema/Ids"
import * as FastCheck from "effect/FastCheck"
import { ContinuousBatching } from "../src/ContinuousBatching.ts"
import type { Decoder } from "../src/Decoder.ts"
import { loadDecoder } from "../src/LoadDecoder.ts"
import { describeModelFolder } from "../src/ModelFolder.ts"
import { PrefixCache } from "../src/PrefixCache.ts"
import { PromptLookup } from "../src/PromptLookup.ts"
import { SpeculationGate } from "../src/SpeculationGate.ts"
import { writeTinyChatModel } from "../src/TestModels.ts"
import { loadTokenizer } from "../src/Tokenizer.ts"
import { drain, greedy, sequence, stopping } from "./sequences.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

/** What followed the latest earlier occurrence of the last `order` tokens, looked for token by token. */
const naive = (tokens: ReadonlyArray<number>, order: number, count: number) => {
  const end = tokens.length - order
  for (let at = end - 1; at >= 0 && end >= 0; at--) {
    if (tokens.slice(end).every((token, index) => token === tokens[at + index])) {
      // one after the other, so that what is guessed may be followed by itself
      const text = [...tokens]
      for (let next = at + order; text.length < tokens.length + count; next++) text.push(text[next] ?? 0)
      return text.slice(tokens.length)
    }
  }
  return []
}

describe("prompt lookup", () => {
  it("guesses what followed the last time that the text ended like this", () => {
    const lookup = new PromptLookup([1, 2, 3, 9, 1, 2, 4, 5, 1, 2], 2)
    assert.deepStrictEqual(lookup.draft(3), [4, 5, 1])
  })

  it("guesses that what repeats itself does so again and again", () => {
    assert.deepStrictEqual(new PromptLookup([7, 1, 2, 1, 2, 1, 2], 2).draft(5), [1, 2, 1, 2, 1])
    assert.deepStrictEqual(new PromptLookup([3, 3, 3], 2).draft(4), [3, 3, 3, 3])
  })

  it("guesses nothing where the text is new", () => {
    assert.deepStrictEqual(new PromptLookup([1, 2, 3, 4], 2).draft(3), [])
    assert.deepStrictEqual(new PromptLookup([1], 2).draft(3), [])
  })

  it("finds what a search through the whole text would, at every length", () => {
    const text = FastCheck.array(FastCheck.integer({ min: 0, max: 2 }), { maxLength: 40 })
    FastCheck.assert(
      FastCheck.property(text, FastCheck.integer({ min: 1, max: 3 }), (text, order) => {
        const tokens: Array<number> = []
        const lookup = new PromptLookup(tokens, order)
        for (const token of text) {
          tokens.push(token)
          assert.deepStrictEqual(lookup.draft(4), naive(tokens, order, 4))
        }
      })
    )
  })
})

describe("the gate of speculation", () => {
  const seen = (plain: number, drafted: number, tokens: number) => {
    const gate = new SpeculationGate()
    gate.observePlain(plain)
    gate.observeDrafted(drafted, tokens)
    return gate
  }

  it("lets drafts pass while they yield more tokens per second than plain steps", () => {
    assert.isTrue(seen(10, 15, 2).admits())
    assert.isFalse(seen(10, 15, 1).admits())
  })

  it("waits until it knows what a plain step takes", () => {
    assert.isFalse(new SpeculationGate().admits())
  })

  it("tries again after a while", () => {
    const gate = seen(10, 30, 1)
    const answers = Array.from({ length: 32 }, () => gate.admits())
    assert.deepStrictEqual(answers.indexOf(true), 31)
  })

  it("tries less and less often while trying doesn't pay, and as often as at first with another text", () => {
    const gate = seen(10, 30, 1)
    const waits = () => {
      for (let wait = 1; ; wait++) if (gate.admits()) return wait
    }
    const trials = Array.from({ length: 7 }, () => {
      const wait = waits()
      gate.observeDrafted(30, 1)
      return wait
    })
    assert.deepStrictEqual(trials, [32, 64, 128, 256, 512, 1024, 1024])
    gate.begin()
    assert.strictEqual(waits(), 32)
  })

  it("opens again when drafts have become good", () => {
    const gate = seen(10, 15, 1)
    for (let n = 0; n < 20; n++) gate.observeDrafted(15, 5)
    assert.isTrue(gate.admits())
  })
})

describe.each(["ffi", "binding"] as const)("guesses that a graph checks, by %s", (engine) => {
  const root = temporaryFolder()
  const prompt = Array.from({ length: 24 }, (_, index) => TokenId.make(10 + (index % 8)))
  const samplings = { greedy, sampled: Sampling.make({ ...greedy, temperature: 0.4, topK: 3, seed: 11 }) }

  it.each(["gqa", "standard"] as const)("are kept where they are right, and change no text: %s", async (attention) => {
    const folder = path.join(root, attention)
    writeTinyChatModel(folder, { attention })
    const graph = path.join(folder, "onnx", "model.onnx")
    const options = { model: "tiny", slidingWindow: null, vocabulary: null, slots: 1, threads: 1, patch: true, engine }
    const decoder = await loadDecoder({ ...options, graph })
    const limits = { model: "tiny", vocabulary: decoder.vocabulary, context: 512 }
    const tokenizer = loadTokenizer(describeModelFolder(folder, "tiny"), limits)
    const textOf = async (computing: Decoder, sampling: Sampling) => {
      let time = 0
      const one = new ContinuousBatching({
        decoder: computing,
        tokenizer,
        context: 512,
        slots: 1,
        eosTokenIds: [],
        prefixCache: new PrefixCache({ blockTokens: 16, capacity: 0 }),
        // whatever is computed takes as long, so that guesses pay as soon as one is right
        now: () => ++time
      })
      one.submit(sequence("s", prompt, { sampling, stopping: stopping({ maxTokens: 120, ignoreEos: true }) }))
      let steps = 0
      const { transcripts } = await drain(one, () => steps++)
      return { tokens: transcripts.get("s")?.tokens ?? [], steps }
    }
    const { verify: _, ...unguessed } = decoder
    for (const [name, sampling] of Object.entries(samplings)) {
      const plain = await textOf(unguessed, sampling)
      const guessed = await textOf(decoder, sampling)
      assert.deepStrictEqual(guessed.tokens, plain.tokens)
      assert.strictEqual(plain.steps, 120)
      // a text without chance repeats itself here and there
      if (name === "greedy") assert.isBelow(guessed.steps, plain.steps)
    }
    await decoder.close()
  })
})
