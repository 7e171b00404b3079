/** What came of a run of `helixflow chaos`, and whether it is as it must be. Pure. */
import type { Harm } from "./ChaosPlan.ts"

/** What a stream gave; the undisturbed run of the same question is what it must have given. */
export interface Answer {
  readonly text: string
  readonly promptTokens: number
  readonly completionTokens: number
  readonly finish: string | null
}

export interface Outcome {
  readonly question: number
  readonly millis: number
  readonly answer: Answer | { readonly error: string }
}

/** The server's process when nothing is asked of it. */
export interface Footprint {
  readonly descriptors: number
  readonly residentBytes: number
}

export interface Findings {
  readonly undisturbed: ReadonlyArray<Answer>
  readonly outcomes: ReadonlyArray<Outcome>
  readonly harms: Readonly<Record<Harm, number>>
  readonly before: Footprint
  readonly after: Footprint
  readonly zombies: number
  /** Bytes that devices still have claimed, and workers that are still there, after the model was unloaded. */
  readonly claimedBytes: number
  readonly workersLeft: number
  readonly serverEnded: string | null
}

/** What may be left open or kept by a process that has grown warm. */
const spareDescriptors = 16
const spareBytes = 96 * 2 ** 20

/** One line for each deviation; none: all is well. */
export const deviations = (findings: Findings): ReadonlyArray<string> => {
  const { after, before, claimedBytes, outcomes, serverEnded, undisturbed, workersLeft, zombies } = findings
  const found: Array<string> = []
  for (const { answer, question } of outcomes) {
    const expected = undisturbed[question]
    if ("error" in answer) found.push(`question ${question}: ${answer.error}`)
    else if (answer.text !== expected?.text) found.push(`question ${question}: another text ${where(answer, expected)}`)
    else if (answer.finish !== expected.finish) found.push(`question ${question}: finished as ${answer.finish}`)
    else if (answer.promptTokens !== expected.promptTokens || answer.completionTokens !== expected.completionTokens) {
      found.push(`question ${question}: another usage`)
    }
  }
  if (serverEnded !== null) found.push(`the server ended: ${serverEnded}`)
  if (outcomes.length === 0) found.push("no stream came to its end")
  if (zombies > 0) found.push(`${zombies} zombies`)
  if (claimedBytes > 0) found.push(`${claimedBytes} bytes are claimed with nothing loaded`)
  if (workersLeft > 0) found.push(`${workersLeft} workers are there with nothing loaded`)
  if (after.descriptors > before.descriptors + spareDescriptors) {
    found.push(`descriptors grew from ${before.descriptors} to ${after.descriptors}`)
  }
  if (after.residentBytes > before.residentBytes + spareBytes) {
    found.push(`memory grew from ${mebibytes(before)} to ${mebibytes(after)} MiB`)
  }
  return found
}

const where = ({ text }: Answer, expected: Answer | undefined): string => {
  const other = expected?.text ?? ""
  let at = 0
  while (at < text.length && text[at] === other[at]) at++
  return `from character ${at} of ${other.length} on`
}

const mebibytes = ({ residentBytes }: Footprint): number => Math.round(residentBytes / 2 ** 20)

/** What was done and seen, for a person. */
export const summary = (findings: Findings): string => {
  const { after, before, harms, outcomes } = findings
  const millis = outcomes.map((outcome) => outcome.millis).sort((a, b) => a - b)
  const at = (share: number) => ((millis[Math.floor(share * (millis.length - 1))] ?? 0) / 1_000).toFixed(1)
  const errors = outcomes.filter(({ answer }) => "error" in answer).length
  return [
    `streams      ${outcomes.length}, of which ${errors} failed; ${at(0.5)} s each (median), ${at(1)} s the longest`,
    `harm done    ${harms.kill} killed, ${harms.freeze} frozen, ${harms.starve} starved`,
    `descriptors  ${before.descriptors} before, ${after.descriptors} after`,
    `memory       ${mebibytes(before)} MiB before, ${mebibytes(after)} MiB after`
  ].join("\n")
}
