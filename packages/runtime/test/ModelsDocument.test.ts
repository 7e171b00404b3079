import { readFileSync } from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { Either } from "effect"
import { Dtype } from "../src/ModelGraph.ts"
import { decode, ModelSettings, PlacingSettings } from "../src/ModelSettings.ts"

const document = readFileSync(new URL("../../../docs/models.md", import.meta.url), "utf8")
/** What is below a heading, up to the next one. */
const section = (heading: string) => document.split(`${heading}\n`)[1]?.split(/\n##+ /)[0] ?? ""
const graphs = section("## Which graph is loaded")
const settings = section("## `helixflow.json`")
const placing = section("### `placing`")
const columns = (text: string, column: number) =>
  text
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .flatMap((line) => (line.split("|")[column] ?? "").match(/(?<=`)[^`]+(?=`)/g) ?? [])

describe("docs/models.md", () => {
  it("has a row for every setting of helixflow.json, and none left over", () => {
    expect(columns(settings, 1).sort()).toEqual(Object.keys(ModelSettings.fields).sort())
    expect(columns(placing, 1).sort()).toEqual(Object.keys(PlacingSettings.fields).sort())
  })

  it("has a row for every precision", () => {
    expect(columns(graphs, 2).sort()).toEqual([...Dtype].sort())
  })

  it("shows a helixflow.json that is one", () => {
    for (const shown of [settings, placing]) {
      const [, example = ""] = shown.split(/```json|```/)
      expect(Either.isRight(decode(example))).toBe(true)
    }
  })
})
