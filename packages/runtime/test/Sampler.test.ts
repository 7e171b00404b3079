import { describe, expect, it } from "@effect/vitest"
import { Sampling } from "@helixflow/schema/Generation"
import * as FastCheck from "effect/FastCheck"
import { NonFiniteLogits } from "../src/Candidates.ts"
import { uniformAt } from "../src/CounterRandom.ts"
import { type DrawOptions, Sampler } from "../src/Sampler.ts"
import { greatest } from "../src/TopLogits.ts"

const neutral = Sampling.make({
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  typicalP: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  logitBias: {},
  seed: 0
})

const noHistory = { emitted: new Map<number, number>(), prompt: new Set<number>() }

const drawFrom = (row: Float32Array, sampling: Partial<Sampling>) => {
  const sampler = new Sampler(row.length)
  const chosen = Sampling.make({ ...neutral, ...sampling })
  return (options: Partial<DrawOptions>) =>
    sampler.draw(row, {
      sampling: chosen,
      choice: 0,
      position: 0,
      history: noHistory,
      forbidden: [],
      constraint: null,
      ...options
    })
}

const draw = (logits: ReadonlyArray<number>, sampling: Partial<Sampling>, options: Partial<DrawOptions> = {}) =>
  drawFrom(Float32Array.from(logits), sampling)(options)

/** How often each token is drawn at the first positions. */
const frequencies = (logits: ReadonlyArray<number>, sampling: Partial<Sampling>, draws = 4000) => {
  const counts = logits.map(() => 0)
  const next = drawFrom(Float32Array.from(logits), sampling)
  for (let position = 0; position < draws; position++) {
    const token = next({ position })
    counts[token] = (counts[token] ?? 0) + 1
  }
  return counts.map((count) => count / draws)
}

const support = (logits: ReadonlyArray<number>, sampling: Partial<Sampling>) =>
  frequencies(logits, sampling, 2000).flatMap((frequency, token) => (frequency > 0 ? [token] : []))

describe("greedy", () => {
  it("takes the greatest logit, and of equal ones the lowest id", () => {
    expect(draw([0, 3, 1, 3], { temperature: 0 })).toBe(1)
  })

  it("applies bias and penalties first", () => {
    const history = { emitted: new Map([[1, 2]]), prompt: new Set([3]) }
    expect(draw([0, 3, 2.5, 2.9], { temperature: 0, logitBias: { "0": 5 } })).toBe(0)
    expect(draw([0, 3, 2.5, 2.9], { temperature: 0, presencePenalty: 0.2 }, { history })).toBe(3)
    expect(draw([0, 3, 2.5, 2.9], { temperature: 0, frequencyPenalty: 0.1 }, { history })).toBe(3)
    expect(draw([0, 3, 2.5, 2.9], { temperature: 0, repetitionPenalty: 1.3 }, { history })).toBe(2)
  })

  it("moves negative logits away too when they repeat", () => {
    const history = { emitted: new Map([[0, 1]]), prompt: new Set<number>() }
    expect(draw([-1, -1.5], { temperature: 0, repetitionPenalty: 2 }, { history })).toBe(1)
  })

  it("counts a token of prompt and completion once in the repetition penalty", () => {
    const history = { emitted: new Map([[0, 1]]), prompt: new Set([0]) }
    expect(draw([4, 1.5], { temperature: 0, repetitionPenalty: 2 }, { history })).toBe(0)
  })

  it("never takes a forbidden token", () => {
    expect(draw([0, 3, 1], { temperature: 0 }, { forbidden: [1] })).toBe(2)
  })

  it("draws only what a grammar leaves, and ends only where it may", () => {
    const row = [0, 3, 1, 2, 9]
    const allowed = (ids: ReadonlyArray<number>, ends: ReadonlyArray<number> = []) => ({
      constraint: { mask: { says: "allowed" as const, ids: Uint32Array.from(ids) }, ends }
    })
    const forbidden = (ids: ReadonlyArray<number>, ends: ReadonlyArray<number> = []) => ({
      constraint: { mask: { says: "forbidden" as const, ids: Uint32Array.from(ids) }, ends }
    })
    for (const temperature of [0, 1]) {
      for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
        const among = (options: Parameters<typeof draw>[2]) => draw(row, { temperature, seed }, options)
        expect([0, 2]).toContain(among(allowed([0, 2])))
        expect([0, 4]).toContain(among(allowed([0], [4])))
        expect([0, 2]).toContain(among(forbidden([1, 3, 4])))
        expect([2, 4]).toContain(among(forbidden([0, 1, 3, 4], [4])))
      }
    }
    expect(draw(row, { temperature: 0 }, allowed([0, 2]))).toBe(2)
    expect(draw(row, { temperature: 0, logitBias: { "1": 100, "0": 5 } }, allowed([0, 2]))).toBe(0)
    expect(draw(row, { temperature: 0 }, forbidden([4]))).toBe(1)
    expect(() => draw(row, { temperature: 0 }, allowed([]))).toThrow(/no token of the vocabulary/)
  })

  it("ignores a bias on a token that the model doesn't have", () => {
    expect(draw([0, 3, 1], { temperature: 0, logitBias: { "7": 100 } })).toBe(1)
  })
})

describe("sampling", () => {
  const logits = [0.4, 0.3, 0.2, 0.1].map(Math.log)

  it("draws in proportion to the probabilities", () => {
    for (const [token, frequency] of frequencies(logits, {}).entries()) {
      expect(frequency).toBeCloseTo(Math.exp(logits[token] ?? 0), 1)
    }
  })

  it("sharpens with a low temperature and flattens with a high one", () => {
    const [cold, warm] = [frequencies(logits, { temperature: 0.5 }), frequencies(logits, { temperature: 2 })]
    expect(cold[0]).toBeCloseTo(0.16 / 0.3, 1)
    expect(warm[0]).toBeLessThan(0.36)
  })

  it("is a function of seed, choice and position", () => {
    const at = (sampling: Partial<Sampling>, options: Partial<DrawOptions>) =>
      Array.from({ length: 50 }, (_, position) => draw(logits, sampling, { position, ...options })).join("")
    expect(at({ seed: 1 }, {})).toBe(at({ seed: 1 }, {}))
    expect(at({ seed: 1 }, {})).not.toBe(at({ seed: 2 }, {}))
    expect(at({ seed: 1 }, { choice: 0 })).not.toBe(at({ seed: 1 }, { choice: 1 }))
  })

  it("keeps what top_k, top_p and min_p leave", () => {
    expect(support(logits, { topK: 2 })).toEqual([0, 1])
    expect(support(logits, { topP: 0.65 })).toEqual([0, 1])
    expect(support(logits, { topP: 0.75 })).toEqual([0, 1, 2])
    expect(support(logits, { topP: 0 })).toEqual([0])
    expect(support(logits, { minP: 0.6 })).toEqual([0, 1])
    expect(support(logits, { minP: 1 })).toEqual([0])
  })

  it("keeps the same by a long top_k as by a short one", () => {
    const many = Array.from({ length: 300 }, (_, id) => (id * 7) % 300)
    const drawn = (topK: number) =>
      new Set(
        support(
          many.map((logit) => logit / 400),
          { topK }
        )
      )
    expect([...drawn(128)].every((id) => (many[id] ?? 0) >= 300 - 128)).toBe(true)
    expect([...drawn(150)].every((id) => (many[id] ?? 0) >= 300 - 150)).toBe(true)
  })

  it("takes top_p of what top_k has left", () => {
    // of 0.4 and 0.3 the first alone is 57 %
    expect(support(logits, { topK: 2, topP: 0.55 })).toEqual([0])
  })

  it("refuses logits that are no numbers", () => {
    expect(() => draw([0, Number.NaN, 1], {})).toThrow(NonFiniteLogits)
    expect(() => draw([0, Number.POSITIVE_INFINITY], {})).toThrow(NonFiniteLogits)
    expect(() => draw([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY], {})).toThrow(NonFiniteLogits)
  })

  it("never draws a token of probability zero", () => {
    expect(support([0, Number.NEGATIVE_INFINITY, 0], {})).toEqual([0, 2])
  })
})

describe("logSumExp", () => {
  it.prop(
    "is the logarithm of the sum of exponentials",
    [FastCheck.nat(), FastCheck.integer({ min: 1, max: 500 })],
    ([seed, count]) => {
      const row = normal(count, 4, seed)
      const exact = Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0))
      expect(new Sampler(count).logSumExp(Float32Array.from(row))).toBeCloseTo(exact, 5)
    }
  )
})

describe("greatest", () => {
  const row = FastCheck.array(FastCheck.integer({ min: -5, max: 5 }), { minLength: 1, maxLength: 40 })

  it.prop(
    "is what sorting puts first, of equal logits those with the lowest ids",
    [row, FastCheck.nat({ max: 50 })],
    ([row, count]) => {
      const sorted = row.map((logit, id) => ({ logit, id })).sort((a, b) => b.logit - a.logit || a.id - b.id)
      expect(greatest(Float32Array.from(row), count)).toEqual(sorted.slice(0, count).map(({ id }) => id))
    }
  )
})

/** What the sampler does, said as plainly as possible: the tokens that are left in the order of their ids, with their probabilities. */
const naive = (logits: ReadonlyArray<number>, { temperature, minP, topK, typicalP, topP }: Sampling) => {
  const max = Math.max(...logits)
  let left = logits.map((logit, id) => ({ id, logit, weight: Math.exp((logit - max) / temperature) }))
  const total = () => left.reduce((sum, { weight }) => sum + weight, 0)
  const byRank = () => left.toSorted((a, b) => b.logit - a.logit || a.id - b.id)
  const fewest = (sorted: typeof left, share: number) => {
    const need = share * total()
    let mass = 0
    return sorted.filter(({ weight }, index) => {
      const kept = index === 0 || mass < need
      mass += weight
      return kept
    })
  }
  left = left.filter(({ logit }) => Math.exp((logit - max) / temperature) >= minP)
  if (topK > 0) left = byRank().slice(0, topK)
  if (typicalP < 1) {
    const whole = total()
    const surprisals = new Map(left.map(({ id, weight }) => [id, -Math.log(weight / whole)]))
    const entropy = left.reduce((sum, { id, weight }) => sum + (weight / whole) * (surprisals.get(id) ?? 0), 0)
    const strangeness = ({ id }: { readonly id: number }) => Math.abs((surprisals.get(id) ?? 0) - entropy)
    left = fewest(
      left.filter(({ weight }) => weight > 0).toSorted((a, b) => strangeness(a) - strangeness(b) || a.id - b.id),
      typicalP
    )
  }
  if (topP < 1) left = fewest(byRank(), topP)
  const whole = total()
  return left.toSorted((a, b) => a.id - b.id).map(({ id, weight }) => ({ id, probability: weight / whole }))
}

const naiveDraw = (logits: ReadonlyArray<number>, sampling: Sampling, uniform: number) => {
  let rest = uniform
  for (const { id, probability } of naive(logits, sampling)) {
    rest -= probability
    if (rest < 0) return id
  }
  return undefined
}

/** Numbers of a normal distribution. */
const normal = (count: number, deviation: number, seed: number) =>
  Array.from({ length: count }, (_, index) => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniformAt(seed, 1, index)))
    return Math.fround(deviation * radius * Math.cos(2 * Math.PI * uniformAt(seed, 2, index)))
  })

describe("the sampler is the naive one", () => {
  const sampling = FastCheck.record({
    temperature: FastCheck.double({ min: 0.05, max: 2, noNaN: true }),
    topK: FastCheck.oneof(FastCheck.constant(0), FastCheck.integer({ min: 1, max: 400 })),
    minP: FastCheck.oneof(FastCheck.constant(0), FastCheck.double({ min: 0, max: 1, noNaN: true })),
    typicalP: FastCheck.oneof(FastCheck.constant(1), FastCheck.double({ min: 0.01, max: 1, noNaN: true })),
    topP: FastCheck.oneof(FastCheck.constant(1), FastCheck.double({ min: 0, max: 1, noNaN: true })),
    seed: FastCheck.nat()
  })
  const logits = FastCheck.tuple(
    FastCheck.integer({ min: 1, max: 700 }),
    FastCheck.double({ min: 0.01, max: 8, noNaN: true }),
    FastCheck.nat()
  ).map(([count, deviation, seed]) => normal(count, deviation, seed))
  // the two round differently, by less than a millionth: with these seeds no random number falls between them
  const fixed = { fastCheck: { seed: 7, numRuns: 400 } }

  it.prop(
    "draws the same token for the same random number",
    [logits, sampling],
    ([row, some]) => {
      const chosen = Sampling.make({ ...neutral, ...some })
      const sampler = new Sampler(row.length)
      for (let position = 0; position < 20; position++) {
        const options = { sampling: chosen, choice: 0, position, history: noHistory, forbidden: [], constraint: null }
        const uniform = uniformAt(chosen.seed, 0, position)
        expect(sampler.draw(Float32Array.from(row), options)).toBe(naiveDraw(row, chosen, uniform))
      }
    },
    fixed
  )

  const ties = FastCheck.array(FastCheck.constantFrom(-1, 0, 1), { minLength: 1, maxLength: 300 })
  it.prop(
    "keeps those with the lowest ids of equal ones",
    [ties, FastCheck.integer({ min: 1, max: 300 }), FastCheck.nat()],
    ([row, topK, seed]) => {
      const chosen = Sampling.make({ ...neutral, topK, seed })
      expect(draw(row, chosen)).toBe(naiveDraw(row, chosen, uniformAt(seed, 0, 0)))
    },
    fixed
  )

  it("does so with a vocabulary of 32,000, whatever it drew from before", () => {
    const sampler = new Sampler(32_000)
    const all: ReadonlyArray<Partial<Sampling>> = [
      {},
      { topP: 0.95 },
      { topK: 50 },
      { topK: 2000, topP: 0.9 },
      { minP: 0.05, temperature: 0.7 },
      { typicalP: 0.9 },
      { typicalP: 0.5, topK: 1000, topP: 0.8, minP: 0.001 }
    ]
    for (const [index, some] of [...all, ...all.toReversed()].entries()) {
      const chosen = Sampling.make({ ...neutral, ...some, seed: index })
      const row = normal(32_000, index % 2 === 0 ? 1 : 3, index)
      const options = { sampling: chosen, choice: 0, position: 0, history: noHistory, forbidden: [], constraint: null }
      expect(sampler.draw(Float32Array.from(row), options)).toBe(naiveDraw(row, chosen, uniformAt(index, 0, 0)))
    }
  })

  it("draws each token as often as its probability says (chi-square, 1 in 1,000)", () => {
    const row = normal(20, 1.5, 3)
    for (const some of [{}, { topP: 0.8 }, { typicalP: 0.7 }, { topK: 8, minP: 0.02, temperature: 1.3 }]) {
      const chosen = Sampling.make({ ...neutral, ...some, seed: 5 })
      const expected = naive(row, chosen)
      const draws = 20_000
      const counts = frequencies(row, chosen, draws)
      const chiSquare = expected.reduce(
        (sum, { id, probability }) => sum + (draws * ((counts[id] ?? 0) - probability) ** 2) / probability,
        0
      )
      expect(expected.reduce((sum, { id }) => sum + (counts[id] ?? 0), 0)).toBeCloseTo(1)
      expect(chiSquare).toBeLessThan(criticalChiSquare(expected.length - 1))
    }
  })
})

/** What chi-square exceeds once in 1,000 times (Wilson and Hilferty 1931). */
const criticalChiSquare = (freedom: number) =>
  freedom * (1 - 2 / (9 * freedom) + 3.09 * Math.sqrt(2 / (9 * freedom))) ** 3
