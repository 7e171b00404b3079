/** What every text engine must do, whatever computes below it. A new engine is one more call of {@link textEngineSuite}. */
import * as path from "node:path"
import { ContextLengthExceeded, EngineFailed } from "@helixflow/schema/Errors"
import { Sampling, type SequenceRequest, type TokenBatch } from "@helixflow/schema/Generation"
import type { Grammar } from "@helixflow/schema/Grammar"
import { TokenId } from "@helixflow/schema/Ids"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { LoadEngine, TextEngine } from "../src/Engine.ts"
import { tinyLlama, writeTinyChatModel } from "../src/TestModels.ts"
import { drain, emptyTranscript, greedy, sequence, stopping, type Transcript } from "./sequences.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

/** Wide enough for roundings to matter, and for sums to be taken in parts. */
export const wideLlama = {
  ...tinyLlama,
  hidden_size: 128,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 32,
  intermediate_size: 256,
  num_hidden_layers: 3
}

const SLOTS = 16

/** `variant`: the kind of graph that the engine is given. */
export function textEngineSuite(
  name: string,
  load: LoadEngine,
  variant: Parameters<typeof writeTinyChatModel>[1] = {}
): void {
  describe(name, () => {
    const folder = path.join(temporaryFolder(), "tiny")
    let engine: TextEngine
    beforeAll(async () => {
      writeTinyChatModel(folder, variant)
      const loaded = await load({
        model: "tiny",
        path: folder,
        task: "text-generation",
        context: 512,
        slots: SLOTS,
        threads: 1
      })
      if (loaded.task !== "text-generation") throw new Error("not a text engine")
      engine = loaded
    })
    afterAll(() => engine.close())

    const encode = (text: string) => engine.tokenize({ _tag: "Text", text, addSpecialTokens: true })
    // from one token to more than two chunks, so that sequences join and leave at different steps
    const prompts = () =>
      Array.from({ length: SLOTS }, (_, index) => encode(`${index} `.concat("some words of a prompt ".repeat(index))))
    const run = async (request: SequenceRequest) => {
      engine.submit(request)
      const { transcripts, failures } = await drain(engine)
      expect([...failures]).toEqual([])
      return transcripts.get(request.request) ?? emptyTranscript()
    }

    const samplings = { greedy, sampled: Sampling.make({ ...greedy, temperature: 0.9, topP: 0.95, seed: 42 }) }
    it.each(Object.entries(samplings))("gives the same %s text alone and in a batch", async (_, sampling) => {
      const alone: Array<Transcript> = []
      for (const [index, prompt] of prompts().entries())
        alone.push(await run(sequence(`a${index}`, prompt, { sampling })))
      for (const [index, prompt] of prompts().entries()) engine.submit(sequence(`b${index}`, prompt, { sampling }))
      const { transcripts } = await drain(engine)
      expect(alone.map((_, index) => transcripts.get(`b${index}`))).toEqual(alone)
      expect(new Set(alone.map(({ text }) => text)).size).toBeGreaterThan(SLOTS / 2)
    })

    it.each(Object.entries(samplings))("gives the same %s text with a prefix that is known", async (_, sampling) => {
      const options = {
        model: "tiny",
        path: folder,
        task: "text-generation",
        context: 512,
        slots: SLOTS,
        threads: 1
      } as const
      const warm = await load({ ...options, prefixCache: 2 ** 22 })
      if (warm.task !== "text-generation") throw new Error("not a text engine")
      const ask = async (id: string, prompt: ReadonlyArray<TokenId>) => {
        warm.submit(sequence(id, prompt, { sampling }))
        let found = 0
        const { transcripts } = await drain(warm, (_, { batches }) => {
          for (const { cachedTokens } of batches) found += cachedTokens
        })
        return { found, transcript: transcripts.get(id) }
      }
      for (const [index, prompt] of prompts().entries()) {
        const cold = await run(sequence(`cold${index}`, prompt, { sampling }))
        await ask(`first${index}`, prompt)
        const again = await ask(`again${index}`, prompt)
        expect(again.transcript).toEqual(cold)
        expect(again.found).toBe(Math.floor((prompt.length - 1) / 16) * 16)
      }
      await warm.close()
    })

    it.each(Object.entries(samplings))("continues a %s text from any token on", async (_, sampling) => {
      const prompt = encode("continue")
      const options = {
        sampling: Sampling.make({ ...sampling, frequencyPenalty: 0.3 }),
        // a possible stop string, so that text is held back
        stopping: stopping({ stop: ["aq"] })
      }
      const whole = await run(sequence("whole", prompt, options))
      for (let cut = 1; cut < whole.tokens.length; cut++) {
        const emitted = whole.tokens.slice(0, cut)
        const rest = await run(sequence(`cut${cut}`, prompt, { ...options, emitted, epoch: 1 }))
        expect([...emitted, ...rest.tokens]).toEqual(whole.tokens)
        expect(rest.pieces).toEqual(whole.pieces.slice(cut))
        expect(rest.finish).toBe(whole.finish)
      }
    })

    const grammar: Grammar = {
      _tag: "JsonSchema",
      strict: false,
      schema: {
        type: "object",
        properties: {
          name: { type: "string", maxLength: 8 },
          tags: { type: "array", items: { enum: ["red", "green"] }, minItems: 1, maxItems: 3 },
          size: { type: "integer" },
          note: { anyOf: [{ type: "string", maxLength: 5 }, { type: "null" }] }
        },
        required: ["name", "tags", "note"]
      }
    }
    const described = (text: string) => {
      const { name, note, size = 0, tags, ...others } = JSON.parse(text)
      const isText = (value: unknown, most: number) => typeof value === "string" && [...value].length <= most
      const areTags = Array.isArray(tags) && tags.length >= 1 && tags.length <= 3
      return {
        isDescribed:
          isText(name, 8) &&
          (note === null || isText(note, 5)) &&
          Number.isInteger(size) &&
          areTags &&
          tags.every((tag) => tag === "red" || tag === "green") &&
          Object.keys(others).length === 0
      }
    }
    it.each(Object.entries(samplings))(
      "holds a %s text to its grammar: the same alone, in a batch and continued from any token on",
      async (_, sampling) => {
        // nothing tempts out of a grammar: neither an end nor a token with no text
        const tempted = Sampling.make({ ...sampling, logitBias: { "3": 50, "1": 100 } })
        const options = { sampling: tempted, grammar, stopping: stopping({ maxTokens: 300 }), logprobs: 0 }
        const some = prompts().slice(0, 4)
        const alone: Array<Transcript> = []
        for (const [index, prompt] of some.entries()) alone.push(await run(sequence(`a${index}`, prompt, options)))
        for (const { finish, text } of alone) {
          expect(finish).toBe("stop")
          expect(described(text), text).toEqual({ isDescribed: true })
        }
        for (const [index, prompt] of some.entries()) {
          engine.submit(sequence(`b${index}`, prompt, options))
          // others without a grammar among them
          if (index % 4 === 0) engine.submit(sequence(`free${index}`, prompt))
        }
        const { transcripts } = await drain(engine)
        const without = ({ logprobs: _, ...transcript }: Transcript) => transcript
        expect(alone.map((_, index) => without(transcripts.get(`b${index}`) ?? emptyTranscript()))).toEqual(
          alone.map(without)
        )
        const [prompt = []] = some
        const whole = without(alone[0] ?? emptyTranscript())
        for (let cut = 1; cut < whole.tokens.length; cut++) {
          const emitted = whole.tokens.slice(0, cut)
          const rest = await run(sequence(`cut${cut}`, prompt, { ...options, emitted, epoch: 1 }))
          expect([...emitted, ...rest.tokens]).toEqual(whole.tokens)
          expect(rest.pieces).toEqual(whole.pieces.slice(cut))
          expect(rest.finish).toBe("stop")
        }
      }
    )

    it("cuts a text that is held to a grammar at max_tokens, and refuses a grammar that is none", async () => {
      const cut = await run(sequence("cut", encode("cut"), { grammar, stopping: stopping({ maxTokens: 9 }) }))
      expect(cut.finish).toBe("length")
      expect(cut.text.startsWith('{"name":')).toBe(true)
      const unknown: Grammar = { _tag: "JsonSchema", strict: false, schema: { type: "string", pattern: "a" } }
      expect(() => engine.submit(sequence("none", encode("none"), { grammar: unknown }))).toThrow(/'pattern'/)
      expect(engine.active).toBe(0)
    })

    it("says of a sequence that had all its tokens only how it finished", async () => {
      const prompt = encode("done")
      const whole = await run(sequence("first", prompt))
      expect(await run(sequence("again", prompt, { emitted: whole.tokens, epoch: 1 }))).toMatchObject({
        tokens: [],
        finish: "length"
      })
    })

    it("finishes at max_tokens, and where the context ends", async () => {
      const limited = await run(sequence("limited", encode("x"), { stopping: stopping({ maxTokens: 5 }) }))
      expect(limited).toMatchObject({ finish: "length" })
      expect(limited.tokens).toHaveLength(5)
      const long = encode("x".repeat(500))
      const filled = await run(sequence("filled", long, { stopping: stopping({ maxTokens: null }) }))
      expect(long.length + filled.tokens.length).toBe(512)
      expect(filled.finish).toBe("length")
    })

    it("finishes at a stop string across tokens, without showing any of it", async () => {
      const whole = await run(sequence("whole", encode("stop here")))
      const stop = whole.text.slice(5, 12)
      const stopped = await run(sequence("stopped", encode("stop here"), { stopping: stopping({ stop: [stop] }) }))
      expect(stopped.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)))
      expect(stopped.finish).toBe("stop")
      expect(stopped.tokens.length).toBeLessThan(whole.tokens.length)
    })

    it("finishes at a stop token and at the end of the text, which is counted but has no text", async () => {
      const prompt = encode("end")
      const whole = await run(sequence("whole", prompt))
      const stopTokenIds = [whole.tokens[4] ?? TokenId.make(0)]
      const first = whole.tokens.indexOf(stopTokenIds[0] ?? TokenId.make(0))
      const stopped = await run(sequence("token", prompt, { stopping: stopping({ stopTokenIds }) }))
      expect(stopped.tokens).toEqual(whole.tokens.slice(0, first + 1))
      expect(stopped.finish).toBe("stop")

      const eager = Sampling.make({ ...greedy, logitBias: { "3": 100 } })
      expect(await run(sequence("eos", prompt, { sampling: eager }))).toMatchObject({
        tokens: [3],
        text: "",
        finish: "stop"
      })
      const ignoring = stopping({ maxTokens: 3, ignoreEos: true })
      expect((await run(sequence("ignore", prompt, { sampling: eager, stopping: ignoring }))).tokens).toEqual([3, 3, 3])
      const patient = await run(sequence("min", prompt, { sampling: eager, stopping: stopping({ minTokens: 4 }) }))
      expect(patient.tokens).toHaveLength(5)
      expect(patient.tokens.slice(0, 4)).not.toContain(3)
    })

    it("reports the log probability of a token and its likeliest alternatives", async () => {
      const { tokens, logprobs } = await run(sequence("logprobs", encode("how likely"), { logprobs: 3 }))
      expect(logprobs.map(({ token }) => token)).toEqual(tokens)
      for (const { token, logprob, top } of logprobs) {
        expect(top[0]).toMatchObject({ token, logprob })
        expect(top).toHaveLength(3)
        const values = top.map((alternative) => alternative.logprob)
        expect(values).toEqual([...values].sort((a, b) => b - a))
        expect(values.reduce((sum, value) => sum + Math.exp(value), 0)).toBeLessThanOrEqual(1.000001)
      }
      expect(logprobs.every(({ bytes, text }) => new TextDecoder().decode(Uint8Array.from(bytes)) === text)).toBe(true)
    })

    it("reports the log probabilities of a prompt's tokens: those that they have as completions", async () => {
      const prompt = encode("the tokens of a prompt, a few more than are computed at once")
      const options = { logprobs: 2, promptLogprobs: true, stopping: stopping({ maxTokens: 2 }) }
      if (variant.merged === "tokenwise") {
        expect(() => engine.submit(sequence("refused", prompt, options))).toThrow(/log probabilities of the tokens/)
        return
      }
      const told: Array<TokenBatch> = []
      engine.submit(sequence("scored", prompt, options))
      const { transcripts } = await drain(engine, (_, { batches }) => told.push(...batches))
      const [first, ...later] = told
      const scored = first?.promptLogprobs ?? []
      expect(later.map(({ promptLogprobs }) => promptLogprobs)).toEqual([undefined])
      expect(scored.map(({ token }) => token)).toEqual(prompt)
      expect(scored[0]).toMatchObject({ logprob: null, top: [] })
      for (const at of [1, 2, 15, 16, 17, 31, 32, prompt.length - 1]) {
        const token = prompt[at] ?? TokenId.make(0)
        const forced = Sampling.make({ ...greedy, logitBias: { [token]: 100 } })
        const { logprobs } = await run(
          sequence(`as completion ${at}`, prompt.slice(0, at), {
            sampling: forced,
            logprobs: 2,
            stopping: stopping({ maxTokens: 1 })
          })
        )
        expect(scored[at]?.logprob).toBeCloseTo(logprobs[0]?.logprob ?? 0, 1)
        expect(scored[at]?.top).toHaveLength(2)
      }
      // what is asked besides changes nothing, and an attempt that goes on says nothing of the prompt
      const plain = await run(sequence("plain", prompt, { stopping: stopping({ maxTokens: 2 }) }))
      expect(transcripts.get("scored")?.tokens).toEqual(plain.tokens)
      const again: Array<TokenBatch> = []
      engine.submit(sequence("continued", prompt, { ...options, emitted: plain.tokens.slice(0, 1), epoch: 1 }))
      await drain(engine, (_, { batches }) => again.push(...batches))
      expect(again.map(({ promptLogprobs }) => promptLogprobs)).toEqual([undefined])
    })

    it("reports no log probability of a token that ends the text", async () => {
      const eager = Sampling.make({ ...greedy, logitBias: { "3": 100 } })
      const options = { sampling: eager, stopping: stopping({ minTokens: 2 }), logprobs: 0 }
      const { tokens, logprobs } = await run(sequence("ended", encode("how likely"), options))
      expect(tokens).toHaveLength(3)
      expect(logprobs.map(({ token }) => token)).toEqual(tokens.slice(0, 2))
    })

    it("goes on with the others when one is cancelled, and says nothing more of it", async () => {
      for (const [index, prompt] of prompts().entries()) engine.submit(sequence(`c${index}`, prompt))
      let cancelled = -1
      const late: Array<number> = []
      const { transcripts } = await drain(engine, (step, { batches }) => {
        if (cancelled >= 0 && batches.some(({ request }) => request === "c1")) late.push(step)
        if (step === 6) {
          engine.cancel("c1")
          cancelled = step
        }
      })
      expect(late).toEqual([])
      expect(transcripts.get("c1")?.finish).toBeNull()
      for (const index of [0, 2, 15]) {
        expect(transcripts.get(`c${index}`)).toEqual(await run(sequence(`again${index}`, prompts()[index] ?? [])))
      }
    })

    it("lets sequences wait for a slot", async () => {
      const count = SLOTS * 2 + 3
      for (let index = 0; index < count; index++) engine.submit(sequence(`w${index}`, encode(`waiting ${index}`)))
      expect(engine.active).toBe(count)
      const { transcripts } = await drain(engine)
      expect([...transcripts.values()].filter(({ finish }) => finish === "length")).toHaveLength(count)
    })

    it("computes a long prompt beside running sequences, and each has the text that it has alone", async () => {
      const running = (id: string) => sequence(id, encode("x"), { stopping: stopping({ maxTokens: 30 }) })
      const long = (id: string) => sequence(id, encode("y".repeat(480)), { stopping: stopping({ maxTokens: 9 }) })
      const alone = [await run(running("running alone")), await run(long("long alone"))]
      engine.submit(running("running"))
      const first = await engine.step()
      engine.submit(long("long"))
      const { transcripts } = await drain(engine)
      expect(first.batches.flatMap(({ tokens }) => tokens)).toEqual(alone[0]?.tokens.slice(0, 1))
      expect(transcripts.get("running")?.tokens).toEqual(alone[0]?.tokens.slice(1))
      expect(transcripts.get("long")).toEqual(alone[1])
    })

    it("takes the same request once, and a later attempt instead of an earlier one", async () => {
      const prompt = encode("twice")
      engine.submit(sequence("twice", prompt))
      engine.submit(sequence("twice", prompt))
      expect(engine.active).toBe(1)
      engine.submit(sequence("twice", prompt, { epoch: 1 }))
      const epochs = new Set<number>()
      await drain(engine, (_, { batches }) => {
        for (const { epoch } of batches) epochs.add(epoch)
      })
      expect([...epochs]).toEqual([1])
    })

    it("refuses what can't be computed", () => {
      const long = encode("x".repeat(500))
      expect(() => engine.submit(sequence("long", long, { stopping: stopping({ maxTokens: 100 }) }))).toThrow(
        new ContextLengthExceeded({ context: 512, promptTokens: 500, maxTokens: 100, param: "prompt" })
      )
      expect(() => engine.submit(sequence("empty", []))).toThrow(EngineFailed)
      expect(() => engine.submit(sequence("unknown", [TokenId.make(320)]))).toThrow(/outside of the vocabulary/)
      expect(engine.active).toBe(0)
    })

    it("turns text into tokens and back", () => {
      const text = "naïve 世界 😀"
      expect(engine.detokenize(encode(text))).toBe(text)
    })
  })
}
