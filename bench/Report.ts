/** How a question is answered: the hardware line, a table in Markdown, and the same as one line of JSON. */
import { appendFileSync } from "node:fs"
import { rows as rowsFile } from "./Arguments.ts"
import * as Hardware from "./Hardware.ts"

export type Row = Readonly<Record<string, string | number>>

/** What one program found. */
export interface Report {
  /** What was asked: `engine a`. */
  readonly bench: string
  readonly hardware: Hardware.Hardware
  readonly rows: ReadonlyArray<Row>
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  const upper = sorted[Math.floor(middle)] ?? Number.NaN
  return Number.isInteger(middle) ? (upper + (sorted[middle - 1] ?? Number.NaN)) / 2 : upper
}

/** To three digits: more are noise. */
export const shown = (value: string | number): string =>
  typeof value === "string" ? value : String(value >= 100 ? Math.round(value) : Number(value.toPrecision(3)))

/** In Markdown. */
export const table = (rows: ReadonlyArray<Row>): string => {
  const columns = Object.keys(rows[0] ?? {})
  const cells = [columns, ...rows.map((row) => columns.map((column) => shown(row[column] ?? "")))]
  const widths = columns.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)))
  const lines = cells.map((row) => `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`)
  lines.splice(1, 0, `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`)
  return lines.join("\n")
}

export const print = (bench: string, question: string, hardware: Hardware.Hardware, rows: ReadonlyArray<Row>): void => {
  const json = JSON.stringify({ bench, hardware, rows } satisfies Report)
  console.log(`\n${question}\n${Hardware.line(hardware)}\n\n${table(rows)}\n\n${json}`)
  if (rowsFile !== undefined) appendFileSync(rowsFile, `${json}\n`)
}
