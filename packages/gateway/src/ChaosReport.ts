/** What came of a run of `helixflow chaos`, and whether it is as it must be. Pure. */
import { type Harm, type Kind, kinds } from "./ChaosPlan.ts"

/** What was answered; the undisturbed run of the same question is what it must have been. */
export interface Answer {
  /** Texts and calls of tools, choice by choice. */
  readonly text: string
  readonly finish: string | null
  /** Log probabilities, or the elements of embeddings. */
  readonly numbers: ReadonlyArray<number>
  readonly promptTokens: number
  readonly completionTokens: number
}

export interface Outcome {
  readonly question: number
  readonly kind: Kind
  readonly millis: number
  readonly answer: Answer | { readonly error: string }
}

/** The server's process at some moment, in milliseconds since the load began. */
export interface Sample {
  readonly at: number
  /** But for connections that a client has open. */
  readonly descriptors: number
  /** Each has some of the descriptors. */
  readonly workers: number
  readonly residentBytes: number
}

export interface Findings {
  readonly undisturbed: ReadonlyArray<Answer>
  readonly outcomes: ReadonlyArray<Outcome>
  readonly harms: Readonly<Record<Harm, number>>
  /** When nothing was asked of it: before the load and after. */
  readonly before: Sample
  readonly after: Sample
  /** While the load ran. */
  readonly samples: ReadonlyArray<Sample>
  readonly zombies: number
  /** Owners of slots that are still claimed with nothing running and the models loaded. */
  readonly slotsLeft: ReadonlyArray<string>
  /** Bytes that devices still have claimed, and workers that are still there, after the models were unloaded. */
  readonly claimedBytes: number
  readonly workersLeft: number
  readonly serverEnded: string | null
}

/** Engines that compute sequences in other batches may differ in the last bits. */
const tolerance = 1e-3

/** A worker's socket, and its channel to its parent. */
const descriptorsOfWorker = 2

/** What may be left open by a process that has grown warm. */
const spareDescriptors = 8

/** Growth per minute that is more than the noise of a garbage collector. */
const steepBytes = 16 * 2 ** 20
const steepDescriptors = 8

/** Of fewer samples nothing is said. */
const enoughSamples = 8

const isNear = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): boolean =>
  a.length === b.length && a.every((number, index) => Math.abs(number - (b[index] ?? 0)) <= tolerance)

/** What differs between an answer and what it must have been; null: nothing. */
const difference = (answer: Answer, expected: Answer): string | null => {
  if (answer.text !== expected.text) return `another text ${where(answer, expected)}`
  if (answer.finish !== expected.finish) return `finished as ${answer.finish}`
  if (!isNear(answer.numbers, expected.numbers)) return "other numbers"
  const isSame = answer.promptTokens === expected.promptTokens && answer.completionTokens === expected.completionTokens
  return isSame ? null : "another usage"
}

/**
 * How much a figure of the server's second half grows in a minute: the median of the slopes between all pairs of samples (Theil and
 * Sen), which no single peak moves. Null where there are too few.
 */
export const growth = (samples: ReadonlyArray<Sample>, figure: (sample: Sample) => number): number | null => {
  const late = samples.slice(Math.floor(samples.length / 2))
  if (late.length < enoughSamples) return null
  const slopes = late.flatMap((a, index) =>
    late.slice(index + 1).map((b) => ((figure(b) - figure(a)) / (b.at - a.at)) * 60_000)
  )
  return slopes.sort((a, b) => a - b)[Math.floor(slopes.length / 2)] ?? null
}

const descriptorsOf = ({ descriptors, workers }: Sample) => descriptors - workers * descriptorsOfWorker
const bytesOf = ({ residentBytes }: Sample) => residentBytes

/** One line for each deviation; none: all is well. */
export const deviations = (findings: Findings): ReadonlyArray<string> => {
  const { after, before, claimedBytes, outcomes, samples, serverEnded, slotsLeft, undisturbed, workersLeft, zombies } =
    findings
  const found: Array<string> = []
  for (const { answer, kind, question } of outcomes) {
    const expected = undisturbed[question]
    if (expected === undefined) continue
    const what = "error" in answer ? answer.error : difference(answer, expected)
    if (what !== null) found.push(`question ${question} (${kind}): ${what}`)
  }
  if (serverEnded !== null) found.push(`the server ended: ${serverEnded}`)
  if (outcomes.length === 0) found.push("no stream came to its end")
  if (zombies > 0) found.push(`${zombies} zombies`)
  for (const owner of slotsLeft) found.push(`a slot is claimed with nothing running, by ${owner}`)
  if (claimedBytes > 0) found.push(`${claimedBytes} bytes are claimed with nothing loaded`)
  if (workersLeft > 0) found.push(`${workersLeft} workers are there with nothing loaded`)
  if (descriptorsOf(after) > descriptorsOf(before) + spareDescriptors) {
    found.push(`descriptors grew from ${descriptorsOf(before)} to ${descriptorsOf(after)}, but for those of workers`)
  }
  const descriptors = growth(samples, descriptorsOf)
  if (descriptors !== null && descriptors > steepDescriptors) {
    found.push(`descriptors grow by ${descriptors.toFixed(1)} a minute`)
  }
  const bytes = growth(samples, bytesOf)
  if (bytes !== null && bytes > steepBytes) found.push(`memory grows by ${mebibytes(bytes)} MiB a minute`)
  return found
}

const where = ({ text }: Answer, { text: other }: Answer): string => {
  let at = 0
  while (at < text.length && text[at] === other[at]) at++
  return `from character ${at} of ${other.length} on`
}

const mebibytes = (bytes: number): number => Math.round(bytes / 2 ** 20)

/** What was done and seen, for a person. */
export const summary = (findings: Findings): string => {
  const { after, before, harms, outcomes, samples } = findings
  const millis = outcomes.map((outcome) => outcome.millis).sort((a, b) => a - b)
  const at = (share: number) => ((millis[Math.floor(share * (millis.length - 1))] ?? 0) / 1_000).toFixed(1)
  const errors = outcomes.filter(({ answer }) => "error" in answer).length
  const told = (slope: number | null, unit: string) => (slope === null ? "" : `, ${slope.toFixed(1)}${unit} a minute`)
  const byKind = kinds.map((kind) => `${outcomes.filter((outcome) => outcome.kind === kind).length} ${kind}`)
  const memory = growth(samples, bytesOf)
  return [
    `answers      ${outcomes.length}, of which ${errors} failed; ${at(0.5)} s each (median), ${at(1)} s the longest`,
    `             ${byKind.join(", ")}`,
    `harm done    ${harms.kill} killed, ${harms.freeze} frozen, ${harms.starve} starved`,
    `descriptors  ${descriptorsOf(before)} before, ${descriptorsOf(after)} after, but for those of workers` +
      told(growth(samples, descriptorsOf), ""),
    `memory       ${mebibytes(before.residentBytes)} MiB before, ${mebibytes(after.residentBytes)} MiB after` +
      told(memory === null ? null : memory / 2 ** 20, " MiB")
  ].join("\n")
}
