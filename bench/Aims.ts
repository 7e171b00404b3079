/** What the engine's tables are to show, and whether they do. Pure. */
import { type Report, type Row, shown } from "./Report.ts"

interface Aim {
  /** The part of `engine` that shows it. */
  readonly part: string
  readonly aim: string
  /** What is compared with the aim, in the order of the models that it is about. */
  readonly ratios: (rows: ReadonlyArray<Row>) => ReadonlyArray<Ratio>
  readonly meets: (ratio: number) => boolean
}

interface Ratio {
  readonly model: string
  readonly ratio: number
}

const numberOf = (row: Row | undefined, column: string): number => Number(row?.[column] ?? Number.NaN)

/** A column of the rows in which another one has a value. */
const column =
  (name: string, where: string, value: string, models = /./) =>
  (rows: ReadonlyArray<Row>): ReadonlyArray<Ratio> =>
    rows
      .filter((row) => row[where] === value && models.test(String(row["model"])))
      .map((row) => ({ model: String(row["model"]), ratio: numberOf(row, name) }))

const times = (computed: string, models?: RegExp) => column("HelixFlow is, times", "computed", computed, models)

const modelsOf = (rows: ReadonlyArray<Row>) => [...new Set(rows.map((row) => String(row["model"])))]

/** The first token of the tenth turn with the prefix cache, of that without. */
const turn = (rows: ReadonlyArray<Row>): ReadonlyArray<Ratio> =>
  modelsOf(rows).map((model) => {
    const millis = (cache: string) => {
      const row = rows.find((one) => one["model"] === model && one["prefix cache"] === cache)
      return numberOf(row, "first token of turn 10, ms")
    }
    return { model, ratio: millis("with") / millis("without") }
  })

/** The cell that is farthest from what was charged, of each model. */
const farthest = (rows: ReadonlyArray<Row>): ReadonlyArray<Ratio> =>
  modelsOf(rows).map((model) => {
    const ratios = rows.filter((row) => row["model"] === model).map((row) => numberOf(row, "of the charge"))
    return { model, ratio: ratios.reduce((worst, one) => (Math.abs(one - 1) > Math.abs(worst - 1) ? one : worst), 1) }
  })

/** Tokens that are computed before it is known that prompts share them. */
const CHUNK = 128

export const aims: ReadonlyArray<Aim> = [
  {
    part: "a",
    aim: "≥ 4 times transformers.js, one after the other",
    ratios: times("transformers.js, one after the other"),
    meets: (ratio) => ratio >= 4
  },
  {
    part: "a",
    aim: "≥ 1.2 times its one padded batch",
    ratios: times("transformers.js, one padded batch"),
    meets: (ratio) => ratio >= 1.2
  },
  {
    part: "a",
    aim: "≥ 3.5 times the raw loop, in single precision",
    ratios: times("raw onnxruntime-node loop", /fp32/),
    meets: (ratio) => ratio >= 3.5
  },
  {
    part: "a",
    aim: "≥ 0.95 times the engine alone",
    ratios: times("the engine alone"),
    meets: (ratio) => ratio >= 0.95
  },
  {
    part: "b",
    aim: "≥ 0.95 times the raw loop, one stream",
    ratios: times("raw onnxruntime-node loop"),
    meets: (ratio) => ratio >= 0.95
  },
  {
    part: "c",
    aim: "≥ 2.3 times the raw loop, long prompts",
    ratios: times("raw onnxruntime-node loop"),
    meets: (ratio) => ratio >= 2.3
  },
  {
    part: "d",
    aim: "the first token of turn 10 in ≤ 0.25 times what it takes without the prefix cache",
    ratios: turn,
    meets: (ratio) => ratio <= 0.25
  },
  {
    part: "d",
    aim: `of a shared prompt ≤ ${CHUNK} tokens more are computed than are not shared`,
    ratios: column("more than not shared", "prefix cache", "with"),
    meets: (tokens) => tokens <= CHUNK
  },
  {
    part: "e",
    aim: "p99 between tokens ≤ 2 times while a long prompt comes in",
    ratios: column("of p99 without", "4 streams", "while the prompt comes in"),
    meets: (ratio) => ratio <= 2
  },
  {
    part: "f",
    aim: "≤ 0.3 s longer than fork and load",
    ratios: (rows) => rows.map((row) => ({ model: String(row["model"]), ratio: numberOf(row, "longer by, s") })),
    meets: (seconds) => seconds <= 0.3
  },
  {
    part: "g",
    aim: "resident within a tenth of the charge; of each model the farthest",
    ratios: farthest,
    meets: (ratio) => ratio >= 0.9 && ratio <= 1.1
  },
  {
    part: "h",
    aim: "guesses pay where a text repeats itself",
    ratios: column("faster, times", "text", "repeats itself"),
    meets: (ratio) => ratio >= 1
  },
  {
    part: "h",
    aim: "and cost at most a twentieth where it doesn't",
    ratios: column("faster, times", "text", "drawn at random"),
    meets: (ratio) => ratio >= 0.95
  }
]

/** A row for each aim that a report is about. */
export const judge = ({ bench, rows }: Report): ReadonlyArray<Row> =>
  aims
    .filter(({ part }) => bench === `engine ${part}`)
    .map(({ aim, meets, part, ratios }) => {
      const reached = ratios(rows)
      const missed = reached.filter(({ ratio }) => !meets(ratio))
      const verdict =
        missed.length === 0
          ? "met"
          : missed.length === reached.length
            ? "missed"
            : `missed by ${missed.map(({ model }) => model).join(" and ")}`
      return { part, aim, reached: reached.map(({ ratio }) => shown(ratio)).join(" / "), verdict }
    })
