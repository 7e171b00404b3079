import { describe, expect, it } from "vitest"
import { type Answer, deviations, type Findings, growth, type Sample, summary } from "../src/ChaosReport.ts"

const answer: Answer = { text: "as it was", numbers: [-0.5, 2], promptTokens: 5, completionTokens: 3, finish: "length" }
const sample: Sample = { at: 0, descriptors: 20, workers: 4, residentBytes: 2 ** 27 }

/** Samples every five seconds for two minutes, of figures that follow from the minute. */
const sampled = (figures: (minute: number) => Partial<Sample>) =>
  Array.from({ length: 24 }, (_, n) => ({ ...sample, at: n * 5_000, ...figures(n / 12) }))

const well: Findings = {
  undisturbed: [answer],
  outcomes: [{ question: 0, kind: "greedy", millis: 1_500, answer }],
  harms: { kill: 2, freeze: 1, starve: 0 },
  before: sample,
  after: { ...sample, descriptors: 21 },
  samples: sampled(() => ({})),
  zombies: 0,
  slotsLeft: [],
  claimedBytes: 0,
  workersLeft: 0,
  serverEnded: null
}
const answered = (change: Partial<Answer> | { readonly error: string }): Findings => ({
  ...well,
  outcomes: [{ question: 0, kind: "greedy", millis: 1, answer: "error" in change ? change : { ...answer, ...change } }]
})

describe("a chaos", () => {
  it("that nobody noticed has no deviation", () => {
    expect(deviations(well)).toEqual([])
    expect(summary(well)).toContain("answers      1, of which 0 failed; 1.5 s each")
    expect(summary(well)).toContain("1 greedy, 0 sampled")
    expect(summary(well)).toContain("2 killed, 1 frozen, 0 starved")
    expect(summary(well)).toContain("128 MiB after, 0.0 MiB a minute")
  })

  it("may have more workers than before, with what they need", () => {
    expect(deviations({ ...well, after: { ...well.after, workers: 40, descriptors: 21 + 2 * 36 } })).toEqual([])
  })

  it("takes numbers for the same that differ in their last bits", () => {
    expect(deviations(answered({ numbers: [-0.500_001, 2.000_01] }))).toEqual([])
  })

  const question = "question 0 (greedy)"
  it.each<[string, Findings, string]>([
    ["an error", answered({ error: "boom" }), `${question}: boom`],
    ["another text", answered({ text: "as it is" }), `${question}: another text from character 6 of 9 on`],
    ["a text that goes on", answered({ text: "as it was and" }), `${question}: another text from character 9 of 9 on`],
    ["another finish", answered({ finish: "stop" }), `${question}: finished as stop`],
    ["another number", answered({ numbers: [-0.5, 2.1] }), `${question}: other numbers`],
    ["a number less", answered({ numbers: [-0.5] }), `${question}: other numbers`],
    ["another usage", answered({ completionTokens: 4 }), `${question}: another usage`],
    ["no stream", { ...well, outcomes: [] }, "no stream came to its end"],
    ["the server's end", { ...well, serverEnded: "SIGKILL" }, "the server ended: SIGKILL"],
    ["zombies", { ...well, zombies: 2 }, "2 zombies"],
    ["a slot", { ...well, slotsLeft: ["m@1"] }, "a slot is claimed with nothing running, by m@1"],
    ["a claim", { ...well, claimedBytes: 9 }, "9 bytes are claimed with nothing loaded"],
    ["workers", { ...well, workersLeft: 1 }, "1 workers are there with nothing loaded"],
    [
      "descriptors",
      { ...well, after: { ...well.after, descriptors: 40 } },
      "descriptors grew from 12 to 32, but for those of workers"
    ],
    [
      "descriptors that grow",
      { ...well, samples: sampled((minute) => ({ descriptors: 20 + 12 * minute })) },
      "descriptors grow by 12.0 a minute"
    ],
    [
      "memory that grows",
      { ...well, samples: sampled((minute) => ({ residentBytes: 2 ** 27 + 30 * 2 ** 20 * minute })) },
      "memory grows by 30 MiB a minute"
    ]
  ])("that left %s is told of", (_, findings, deviation) => {
    expect(deviations(findings)).toEqual([deviation])
  })
})

describe("growth", () => {
  const bytes = ({ residentBytes }: Sample) => residentBytes

  it("is that of the second half, whatever it took to get warm, and no peak moves it", () => {
    const warmed = sampled((minute) => ({ residentBytes: minute < 1 ? 1_000 * minute : 1_000 + 60 * (minute - 1) }))
    expect(growth(warmed, bytes)).toBeCloseTo(60, 6)
    const peaked = warmed.map((one, n) => (n === 20 ? { ...one, residentBytes: 1e9 } : one))
    expect(growth(peaked, bytes)).toBeCloseTo(60, 6)
  })

  it("is not known of a few samples", () => {
    expect(growth(sampled(() => ({})).slice(0, 14), bytes)).toBe(null)
  })
})
