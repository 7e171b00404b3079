import { describe, expect, it } from "vitest"
import { type Answer, deviations, type Findings, summary } from "../src/ChaosReport.ts"

const answer: Answer = { text: "as it was", promptTokens: 5, completionTokens: 3, finish: "length" }
const well: Findings = {
  undisturbed: [answer],
  outcomes: [{ question: 0, millis: 1_500, answer }],
  harms: { kill: 2, freeze: 1, starve: 0 },
  before: { descriptors: 20, residentBytes: 2 ** 27 },
  after: { descriptors: 21, residentBytes: 2 ** 27 },
  zombies: 0,
  claimedBytes: 0,
  workersLeft: 0,
  serverEnded: null
}
const answered = (change: Partial<Answer> | { readonly error: string }): Findings => ({
  ...well,
  outcomes: [{ question: 0, millis: 1, answer: "error" in change ? change : { ...answer, ...change } }]
})

describe("a chaos", () => {
  it("that nobody noticed has no deviation", () => {
    expect(deviations(well)).toEqual([])
    expect(summary(well)).toContain("streams      1, of which 0 failed; 1.5 s each")
    expect(summary(well)).toContain("2 killed, 1 frozen, 0 starved")
  })

  it.each<[string, Findings, string]>([
    ["an error", answered({ error: "boom" }), "question 0: boom"],
    ["another text", answered({ text: "as it is" }), "question 0: another text from character 6 of 9 on"],
    ["a text that goes on", answered({ text: "as it was and" }), "question 0: another text from character 9 of 9 on"],
    ["another finish", answered({ finish: "stop" }), "question 0: finished as stop"],
    ["another usage", answered({ completionTokens: 4 }), "question 0: another usage"],
    ["no stream", { ...well, outcomes: [] }, "no stream came to its end"],
    ["the server's end", { ...well, serverEnded: "SIGKILL" }, "the server ended: SIGKILL"],
    ["zombies", { ...well, zombies: 2 }, "2 zombies"],
    ["a claim", { ...well, claimedBytes: 9 }, "9 bytes are claimed with nothing loaded"],
    ["workers", { ...well, workersLeft: 1 }, "1 workers are there with nothing loaded"],
    ["descriptors", { ...well, after: { ...well.after, descriptors: 40 } }, "descriptors grew from 20 to 40"],
    ["memory", { ...well, after: { ...well.after, residentBytes: 2 ** 28 } }, "memory grew from 128 to 256 MiB"]
  ])("that left %s is told of", (_, findings, deviation) => {
    expect(deviations(findings)).toEqual([deviation])
  })
})
