import { describe, expect, it } from "@effect/vitest"
import { TokenId } from "@helixflow/schema/Ids"
import * as FastCheck from "effect/FastCheck"
import { drain, sequence, stopping } from "./sequences.ts"
import { CRASH, completionOf, makeEngine, NONSENSE, promptOf, successor } from "./tokenDecoder.ts"

describe("ContinuousBatching", () => {
  const work = FastCheck.array(
    FastCheck.record({
      arrival: FastCheck.nat({ max: 20 }),
      // prompts of a family begin alike
      family: FastCheck.nat({ max: 3 }),
      prompt: FastCheck.integer({ min: 1, max: 300 }),
      completion: FastCheck.integer({ min: 1, max: 12 }),
      cancel: FastCheck.option(FastCheck.nat({ max: 25 })),
      emitted: FastCheck.nat({ max: 6 })
    }),
    { minLength: 1, maxLength: 12 }
  )

  it("gives every sequence the tokens it has alone, whoever joins, leaves or continues", () =>
    FastCheck.assert(
      FastCheck.asyncProperty(
        work,
        FastCheck.integer({ min: 1, max: 5 }),
        FastCheck.nat(99),
        async (work, slots, kept) => {
          const { engine } = makeEngine(slots, kept)
          const sequences = work.map(({ arrival, cancel, completion, emitted, family, prompt }, id) => {
            const tokens = promptOf(family, prompt)
            const whole = completionOf(tokens, completion).map((token) => TokenId.make(token))
            return {
              id: `${id}`,
              arrival,
              cancel,
              tokens,
              whole,
              emitted: whole.slice(0, Math.min(emitted, completion - 1))
            }
          })
          const said = new Map<string, Array<number>>()
          for (let step = 0; step <= 25 || engine.active > 0; step++) {
            for (const { id, arrival, cancel, tokens, whole, emitted } of sequences) {
              if (arrival === step) {
                engine.submit(sequence(id, tokens, { emitted, stopping: stopping({ maxTokens: whole.length }) }))
              }
              if (cancel === step) engine.cancel(id)
            }
            const { batches, failures } = await engine.step()
            expect(failures).toEqual([])
            for (const { request, tokens } of batches) said.set(request, [...(said.get(request) ?? []), ...tokens])
          }
          for (const { id, arrival, cancel, whole, emitted } of sequences) {
            const rest = whole.slice(emitted.length)
            const tokens = said.get(id) ?? []
            const isCancelled = cancel !== null && cancel >= arrival
            expect(tokens).toEqual(isCancelled ? rest.slice(0, tokens.length) : rest)
          }
        }
      )
    ))

  it("takes sequences in and lets them go while it computes", () =>
    FastCheck.assert(
      FastCheck.asyncProperty(work, FastCheck.integer({ min: 1, max: 5 }), async (work, slots) => {
        const sequences = work.map(({ arrival, prompt, completion, cancel }, id) => {
          const tokens = promptOf(id, prompt)
          return { id: `${id}`, arrival, cancel, tokens, whole: completionOf(tokens, completion) }
        })
        let computations = 0
        const act = () => {
          for (const { id, arrival, cancel, tokens, whole } of sequences) {
            if (arrival === computations) {
              engine.submit(sequence(id, tokens, { stopping: stopping({ maxTokens: whole.length }) }))
            }
            if (cancel === computations) engine.cancel(id)
          }
          computations++
        }
        const { engine } = makeEngine(slots, 8, async () => {
          await Promise.resolve()
          act()
        })
        const said = new Map<string, Array<number>>()
        while (computations <= 25 || engine.active > 0) {
          if (engine.active === 0) act()
          const { batches, failures } = await engine.step()
          expect(failures).toEqual([])
          for (const { request, tokens } of batches) said.set(request, [...(said.get(request) ?? []), ...tokens])
        }
        for (const { id, arrival, cancel, whole } of sequences) {
          const tokens = said.get(id) ?? []
          const isCancelled = cancel !== null && cancel >= arrival
          expect(tokens).toEqual(isCancelled ? whole.slice(0, tokens.length) : whole)
        }
      })
    ))

  it("stops computing a prompt that is cancelled, and doesn't begin one", async () => {
    const cancels = ["a", "c"]
    const { engine, decoder } = makeEngine(4, 0, async () => engine.cancel(cancels.shift() ?? ""))
    Reflect.deleteProperty(decoder, "begin")
    const prompt = promptOf(1, 50)
    for (const id of ["a", "b", "c"]) engine.submit(sequence(id, prompt, { stopping: stopping({ maxTokens: 2 }) }))
    const { transcripts, failures } = await drain(engine)
    expect(decoder.calls).toEqual(["prefill 50", "abort", "prefill 50", "decode 1"])
    expect([...failures]).toEqual([])
    expect([...transcripts.keys()]).toEqual(["b"])
    expect(transcripts.get("b")?.tokens).toEqual(completionOf(prompt, 2))
  })

  it("stops a run of several prompts once nobody wants any of them", async () => {
    const cancels = [["a"], ["b", "c"]]
    const cancel = async () => {
      for (const id of cancels.shift() ?? []) engine.cancel(id)
    }
    const { engine, decoder } = makeEngine(2, 0, cancel)
    const submit = (id: string) =>
      engine.submit(sequence(id, promptOf(1, 20), { stopping: stopping({ maxTokens: 1 }) }))
    for (const id of ["a", "d", "b", "c"]) submit(id)
    const { transcripts, failures } = await drain(engine)
    expect(decoder.calls).toEqual(["begin 20 20", "begin 20 20", "abort"])
    expect([...failures]).toEqual([])
    expect([...transcripts.keys()]).toEqual(["d"])
  })

  it.each([
    ["computes nonsense in the prompt", [NONSENSE, NONSENSE], "the model's logits are not finite"],
    ["fails in the prompt", [TokenId.make(1), CRASH], "index out of range"],
    // a single token is computed together with the tokens of the others
    ["computes nonsense in a common step", [NONSENSE], "the model's logits are not finite"],
    ["fails in a common step", [CRASH], "index out of range"]
  ])("fails the sequence with which the model %s, and no other", async (_, prompt, reason) => {
    const { engine } = makeEngine(4)
    for (const [index, token] of [1, 2, 3].entries()) engine.submit(sequence(`${index}`, [TokenId.make(token)]))
    engine.submit(sequence("broken", prompt))
    const drained = await drain(engine)
    expect([...drained.failures]).toEqual([["broken", reason]])
    for (const [index, token] of [1, 2, 3].entries()) {
      expect(drained.transcripts.get(`${index}`)?.tokens).toEqual(completionOf([token], 24))
    }
  })

  it("computes a beginning that several prompts share once, and says how much was found", async () => {
    const { engine, decoder } = makeEngine(4, 99)
    const shared = promptOf(1, 200)
    const prompts = [3, 5, 7, 9].map((own) => [...shared, ...promptOf(own, 10)])
    for (const [index, prompt] of prompts.entries()) engine.submit(sequence(`${index}`, prompt))
    const found = new Map<string, number>()
    while (engine.active > 0) {
      for (const { cachedTokens, request } of (await engine.step()).batches) {
        found.set(request, (found.get(request) ?? 0) + cachedTokens)
      }
    }
    const computed = decoder.calls.flatMap((call) => (call.startsWith("prefill ") ? [Number(call.slice(8))] : []))
    // the second prompt begins in the step in which the first ends, and has computed a part by then
    expect(computed.reduce((sum, count) => sum + count, 0)).toBeLessThan(200 + 4 * 10 + 128)
    expect(found.get("0")).toBe(0)
    for (const other of ["2", "3"]) expect(found.get(other)).toBe(200)
  })

  it("computes the prompt of several choices once", async () => {
    const { engine, decoder } = makeEngine(4, 99)
    const prompt = promptOf(1, 90)
    for (const choice of [0, 1, 2]) engine.submit({ ...sequence(`${choice}`, prompt), choice })
    const { transcripts } = await drain(engine)
    const computed = decoder.calls.filter((call) => /^(prefill|begin)/.test(call))
    // 88 tokens are in whole blocks
    expect(computed).toEqual(["prefill 90", "prefill 2", "prefill 2"])
    for (const choice of [0, 1, 2]) {
      expect(transcripts.get(`${choice}`)?.tokens).toEqual(completionOf(prompt, 24))
    }
  })

  it("computes only what is new in the next turn of a conversation", async () => {
    const { engine, decoder } = makeEngine(1, 99)
    const first = promptOf(1, 50)
    engine.submit(sequence("first", first, { stopping: stopping({ maxTokens: 8 }) }))
    await drain(engine)
    const next = [...first, ...completionOf(first, 8).map((token) => TokenId.make(token)), ...promptOf(2, 6)]
    decoder.calls.length = 0
    engine.submit(sequence("next", next, { stopping: stopping({ maxTokens: 3 }) }))
    const { transcripts } = await drain(engine)
    // 57 tokens were in the slot, 56 of them in whole blocks
    expect(decoder.calls[0]).toBe("prefill 8")
    expect(transcripts.get("next")?.tokens).toEqual(completionOf(next, 3))
  })

  it("shares nothing between tenants", async () => {
    const { engine, decoder } = makeEngine(1, 99)
    for (const cacheSalt of ["one", "other"]) {
      engine.submit({ ...sequence(cacheSalt, promptOf(1, 50)), cacheSalt })
      await drain(engine)
    }
    expect(decoder.calls.filter((call) => call === "prefill 50")).toHaveLength(2)
  })

  it("keeps nothing of a sequence whose numbers were broken", async () => {
    const { engine } = makeEngine(1, 99)
    const prompt = [...promptOf(1, 40), NONSENSE]
    for (const attempt of ["first", "second"]) {
      engine.submit(sequence(attempt, prompt))
      expect([...(await drain(engine)).failures.keys()]).toEqual([attempt])
    }
    engine.submit(sequence("whole", promptOf(1, 40), { stopping: stopping({ maxTokens: 3 }) }))
    expect((await drain(engine)).transcripts.get("whole")?.tokens).toEqual(completionOf(promptOf(1, 40), 3))
  })

  it("checks guesses where a text repeats itself, and says what it would have said", async () => {
    // counts to nine again and again
    const counting = (tokens: ReadonlyArray<number>) => 110 + (((tokens.at(-1) ?? 0) - 110 + 1) % 10)
    const { engine, decoder } = makeEngine(2, 0, undefined, counting)
    engine.submit(sequence("counts", [TokenId.make(110)], { stopping: stopping({ maxTokens: 80 }) }))
    const { transcripts } = await drain(engine)
    expect(transcripts.get("counts")?.tokens).toEqual(Array.from({ length: 80 }, (_, at) => 110 + ((at + 1) % 10)))
    expect(transcripts.get("counts")?.finish).toBe("length")
    expect(decoder.calls.filter((call) => call.startsWith("verify"))).not.toEqual([])
    expect(decoder.calls.length).toBeLessThan(30)
  })

  it("stops checking guesses that are wrong", async () => {
    // ends like an earlier text and then goes on in another way
    const misleading = (tokens: ReadonlyArray<number>) =>
      tokens.length % 4 === 0 ? 110 + ((tokens.length * 7) % 90) : 200 + (tokens.length % 4)
    const { engine, decoder } = makeEngine(1, 0, undefined, misleading)
    engine.submit(sequence("misleads", [TokenId.make(1)], { stopping: stopping({ maxTokens: 200 }) }))
    await drain(engine)
    const verified = decoder.calls.filter((call) => call.startsWith("verify")).length
    expect(verified).toBeGreaterThan(0)
    expect(verified).toBeLessThan(20)
  })

  it("gives running sequences their tokens between pieces of a long prompt that take no longer than they do", async () => {
    let time = 0
    const takes = () => {
      const [kind, tokens] = decoder.calls.at(-1)?.split(" ") ?? []
      return kind === "prefill" ? Number(tokens) : 50
    }
    const compute = async () => {
      time += takes()
    }
    const { engine, decoder } = makeEngine(2, 0, compute, successor, () => time)
    engine.submit(sequence("running", promptOf(1, 40), { stopping: stopping({ maxTokens: 40 }) }))
    for (let step = 0; step < 9; step++) await engine.step()
    decoder.calls.length = 0
    engine.submit(sequence("long", promptOf(2, 490), { stopping: stopping({ maxTokens: 2 }) }))
    const { transcripts } = await drain(engine)
    const pieces = decoder.calls.filter((call) => call.startsWith("prefill")).map((call) => Number(call.slice(8)))
    expect(pieces.reduce((sum, count) => sum + count, 0)).toBe(490)
    // what a piece takes is known from the first
    for (const piece of pieces.slice(1)) expect(piece).toBeLessThanOrEqual(50)
    for (const [index, call] of decoder.calls.entries()) {
      if (call.startsWith("prefill")) expect(decoder.calls[index + 1]).toMatch(/^decode/)
    }
    expect(transcripts.get("long")?.tokens).toEqual(completionOf(promptOf(2, 490), 2))
  })

  it("computes a prompt at once that takes little, and a burst before the few that run", async () => {
    const { engine, decoder } = makeEngine(6)
    engine.submit(sequence("running", promptOf(1, 40), { stopping: stopping({ maxTokens: 40 }) }))
    for (let step = 0; step < 9; step++) await engine.step()
    decoder.calls.length = 0
    for (const id of [2, 3, 4, 5, 6]) engine.submit(sequence(`${id}`, promptOf(id, 200)))
    await drain(engine)
    const first = decoder.calls.slice(0, 5)
    expect(first.filter((call) => call === "prefill 200").length).toBeGreaterThanOrEqual(4)
    expect(decoder.calls).toContain("decode 6")
  })

  it("computes short prompts in one run, whatever their order, and decodes all sequences together", async () => {
    const { engine, decoder } = makeEngine(5)
    for (const length of [6, 70, 9, 5]) engine.submit(sequence(`${length}`, promptOf(length, length)))
    await engine.step()
    await engine.step()
    expect(decoder.calls).toEqual(["begin 5 6 9", "prefill 70", "decode 4"])
    const { transcripts } = await drain(engine)
    for (const length of [6, 70, 9, 5]) {
      const all = completionOf(promptOf(length, length), 24)
      expect(transcripts.get(`${length}`)?.tokens).toEqual(all.slice(2))
    }
  })

  it("computes prompts alone where the decoder can't share runs", async () => {
    const { engine, decoder } = makeEngine(4)
    Reflect.deleteProperty(decoder, "begin")
    for (const length of [6, 9, 5]) engine.submit(sequence(`${length}`, promptOf(length, length)))
    await engine.step()
    expect(decoder.calls).toEqual(["prefill 5", "prefill 6", "prefill 9"])
  })

  it("computes prompts alone that share a run with one that breaks it", async () => {
    const { engine, decoder } = makeEngine(4)
    engine.submit(sequence("first", promptOf(1, 5)))
    engine.submit(sequence("broken", [...promptOf(2, 5), CRASH]))
    engine.submit(sequence("nonsense", [...promptOf(3, 6), NONSENSE]))
    const { failures, transcripts } = await drain(engine)
    expect(decoder.calls.slice(0, 4)).toEqual(["begin 5 6 7", "prefill 5", "prefill 6", "prefill 7"])
    expect([...failures.keys()].sort()).toEqual(["broken", "nonsense"])
    expect(transcripts.get("first")?.tokens).toEqual(completionOf(promptOf(1, 5), 24))
  })
})
