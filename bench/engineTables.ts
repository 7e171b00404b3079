/**
 * Puts what the parts of `engine` have found into `docs/benchmarks.md`: each part's table between its markers, and whether the aims were
 * reached. Parts that were not measured stay as they are.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { judge } from "./Aims.ts"
import { rows as rowsFile } from "./Arguments.ts"
import * as Hardware from "./Hardware.ts"
import { type Report, type Row, table } from "./Report.ts"

const document = fileURLToPath(new URL("../docs/benchmarks.md", import.meta.url))

const begin = (name: string) => `<!-- ${name}: made by npm run bench -- engine -->\n`
const END = "<!-- end -->"

/** What is between a part's markers. */
const between = (text: string, name: string): readonly [start: number, end: number] => {
  const marker = begin(name)
  const start = text.indexOf(marker)
  const end = text.indexOf(END, start)
  if (start < 0 || end < 0) throw new Error(`docs/benchmarks.md has no markers for ${name}`)
  return [start + marker.length, end]
}

const replace = (text: string, name: string, content: string): string => {
  const [start, end] = between(text, name)
  return `${text.slice(0, start)}\n${content}\n\n${text.slice(end)}`
}

const COLUMNS = ["part", "aim", "reached", "verdict"]

/** The rows of aims that are in the document. */
const known = (text: string): ReadonlyArray<Row> =>
  text
    .slice(...between(text, "aims"))
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .slice(1)
    .map((line) => {
      const cells = line.split("|").map((cell) => cell.trim())
      return Object.fromEntries(COLUMNS.map((column, index) => [column, cells[index + 1] ?? ""]))
    })

const reports: ReadonlyArray<Report> = readFileSync(rowsFile ?? "", "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line))

let text = readFileSync(document, "utf8")
const judged = reports.flatMap(judge)
const kept = known(text).filter(({ part }) => judged.every((row) => row["part"] !== part))
const all = [...judged, ...kept].sort((one, other) => String(one["part"]).localeCompare(String(other["part"])))
text = replace(text, "aims", table(all))
for (const { bench, hardware, rows } of reports) {
  text = replace(text, bench, `${Hardware.line(hardware)}\n\n${table(rows)}`)
}
writeFileSync(document, text)
console.log(`\n${table(all)}\n\nThe tables are in docs/benchmarks.md.`)
