import { describe, expect, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { planStep, type SequenceView } from "../src/Batch.ts"

const sequence = (length: number, cached = 0, computed = cached): SequenceView => ({
  tokens: { length },
  cached,
  computed
})
const limits = { slots: 4, chunk: 256, rest: 128, spent: 0, quick: 0 }

describe("planStep", () => {
  it("gives free slots in the order of arrival", () => {
    const running = [sequence(10, 9), sequence(10, 9)]
    const waiting = [sequence(1000), sequence(5), sequence(5)]
    expect(planStep(running, waiting, limits).admit).toEqual(waiting.slice(0, 2))
  })

  it("computes at most a chunk of a long prompt between two decode steps of those that run", () => {
    const long = sequence(1000, 256)
    const ready = sequence(10, 9)
    const plan = planStep([ready, long], [], limits)
    expect(plan.prefill).toEqual([{ sequence: long, from: 256, count: 128 }])
    expect(plan.decode).toEqual([ready])
  })

  it("puts several short prompts into one step, and cuts none into small pieces", () => {
    const counts = (...lengths: ReadonlyArray<number>) =>
      planStep(
        [],
        lengths.map((length) => sequence(length)),
        limits
      ).prefill.map(({ count }) => count)
    expect(counts(50, 60, 70)).toEqual([50, 60, 70])
    expect(counts(50, 60, 200)).toEqual([50, 60, 136])
    expect(counts(100, 100, 100)).toEqual([100, 100])
    expect(counts(300)).toEqual([236])
    expect(counts(1000)).toEqual([256])
  })

  it("computes prompts before it decodes, for as long as running streams may be held up", () => {
    const ready = sequence(10, 9)
    const prompts = [sequence(200), sequence(200), sequence(200)]
    const plan = (rest: number, spent: number, from: number) =>
      planStep([ready, ...prompts.slice(from)], [], { ...limits, rest, spent })
    expect(plan(500, 0, 0).prefill.map(({ count }) => count)).toEqual([200])
    expect(plan(500, 0, 0).decode).toEqual([])
    expect(plan(500, 200, 1).decode).toEqual([])
    // what is left is too small a piece
    expect(plan(500, 400, 2)).toMatchObject({ decode: [ready], prefill: [{ count: 100 }] })
    expect(plan(500, 480, 2)).toMatchObject({ decode: [ready], prefill: [] })
    // none waits any more
    expect(plan(900, 400, 2)).toMatchObject({ decode: [ready], prefill: [{ count: 200 }] })
  })

  it("finishes a prompt at once that takes little, but no long one's end", () => {
    const ready = sequence(10, 9)
    const plan = (prompt: SequenceView, spent = 0) =>
      planStep([ready, prompt], [], { ...limits, rest: 20, quick: 300, spent })
    expect(plan(sequence(250))).toMatchObject({ decode: [ready], prefill: [{ count: 250 }] })
    // found, not computed
    expect(plan(sequence(1000, 800, 0))).toMatchObject({ decode: [ready], prefill: [{ count: 200 }] })
    // in two steps, between which streams wait
    expect(plan(sequence(300))).toMatchObject({ decode: [], prefill: [{ count: 236 }] })
    expect(plan(sequence(300, 236), 236)).toMatchObject({ decode: [ready], prefill: [{ count: 64 }] })
    expect(plan(sequence(310))).toMatchObject({ decode: [ready], prefill: [{ count: 20 }] })
    expect(plan(sequence(1000, 800))).toMatchObject({ decode: [ready], prefill: [{ count: 20 }] })
    // another has been finished already
    expect(plan(sequence(250), 60)).toMatchObject({ decode: [ready], prefill: [] })
  })

  it("decodes a prompt whose last token alone is missing, together with the others", () => {
    const [one, ready] = [sequence(1), sequence(10, 9)]
    const plan = planStep([ready], [one], limits)
    expect(plan.prefill).toEqual([])
    expect(plan.decode).toEqual([ready, one])
  })

  it("plans nothing for nobody", () => {
    expect(planStep([], [], limits)).toEqual({ admit: [], prefill: [], decode: [] })
  })

  const workload = FastCheck.array(
    FastCheck.record({
      arrival: FastCheck.nat({ max: 30 }),
      prompt: FastCheck.integer({ min: 1, max: 300 }),
      completion: FastCheck.integer({ min: 1, max: 20 })
    }),
    { minLength: 1, maxLength: 12 }
  )
  const bounds = FastCheck.record({
    slots: FastCheck.integer({ min: 1, max: 6 }),
    chunk: FastCheck.integer({ min: 16, max: 128 }),
    rest: FastCheck.integer({ min: 16, max: 300 }),
    quick: FastCheck.nat({ max: 300 })
  })

  it.prop("keeps to its limits, stalls nobody and lets every sequence finish", [workload, bounds], ([work, limits]) => {
    const arriving = work.map(({ arrival, prompt, completion }, id) => ({
      id,
      arrival,
      tokens: { length: prompt },
      cached: 0,
      computed: 0,
      end: prompt + completion
    }))
    let waiting: typeof arriving = []
    let running: typeof arriving = []
    const admitted: Array<number> = []
    const finished = new Set<number>()
    let spent = 0
    const total = work.reduce((sum, { prompt, completion }) => sum + prompt + completion, 0)
    for (let step = 0; finished.size < work.length; step++) {
      expect(step).toBeLessThan(31 + total)
      waiting.push(...arriving.filter(({ arrival }) => arrival === step))
      const plan = planStep(running, waiting, { ...limits, spent })
      admitted.push(...plan.admit.map(({ id }) => id))
      waiting = waiting.filter((sequence) => !plan.admit.includes(sequence))
      running = [...running, ...plan.admit]

      expect(running.length).toBeLessThanOrEqual(limits.slots)
      expect(plan.prefill.reduce((sum, { count }) => sum + count, 0)).toBeLessThanOrEqual(limits.chunk)
      const ready = running.filter(({ tokens, cached }) => tokens.length - cached === 1)
      const prefilled = plan.prefill.reduce((sum, { count }) => sum + count, 0)
      spent = ready.length === 0 ? 0 : spent + prefilled
      // whoever is ready waits for no more of prompts than may be, whatever arrives
      expect(spent).toBeLessThanOrEqual(Math.max(limits.rest, limits.quick))
      expect([[], ready]).toContainEqual(plan.decode)
      if (plan.decode.length > 0) spent = 0
      // a step is never idle, and the oldest prompt is first
      if (running.length > 0) expect(plan.prefill.length + plan.decode.length).toBeGreaterThan(0)
      const oldest = running.find(({ tokens, cached }) => tokens.length - cached > 1)
      if (plan.prefill.length > 0) expect(plan.prefill[0]?.sequence).toBe(oldest)

      for (const { sequence, from, count } of plan.prefill) {
        expect(from).toBe(sequence.cached)
        expect(count).toBeGreaterThan(0)
        sequence.cached += count
        sequence.computed += count
      }
      for (const sequence of plan.decode) sequence.cached += 1
      for (const sequence of running) if (sequence.cached === sequence.tokens.length) sequence.tokens.length += 1
      for (const { id, tokens, end } of running) if (tokens.length >= end) finished.add(id)
      running = running.filter(({ id }) => !finished.has(id))
    }
    const byArrival = [...arriving].sort((a, b) => a.arrival - b.arrival).map(({ id }) => id)
    expect(admitted).toEqual(byArrival)
  })
})
