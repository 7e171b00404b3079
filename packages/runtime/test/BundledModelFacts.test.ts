import * as fs from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { helixflowFacts } from "../models/recipe/HelixFlowFacts.ts"

const repository = (file: string) => fs.readFileSync(new URL(`../../../${file}`, import.meta.url), "utf8")
const answers = helixflowFacts.map(({ answer, word }) => `${answer} ${word ?? ""}`).join("\n")
const all = (pattern: RegExp) => [...new Set(answers.match(pattern) ?? [])].sort()

/** Variables of the contract that this version does not read yet. */
const promised = ["HELIX_REDIS_URL"]

describe("what helix-demo is taught of HelixFlow", () => {
  it("names variables that exist", () => {
    const documented: ReadonlyArray<string> = repository("docs/configuration.md").match(/HELIX_[A-Z_]+/g) ?? []
    const named = all(/HELIX_[A-Z_]+/g)
    expect(named.length).toBeGreaterThan(5)
    expect(named.filter((name) => !documented.includes(name))).toEqual(promised)
  })

  it("names commands that exist", () => {
    const { scripts } = JSON.parse(repository("package.json"))
    const named = all(/npm (\w+)/g).map((command) => command.slice("npm ".length))
    expect(named).toEqual(["start", "test"])
    expect(named.filter((script) => !(script in scripts))).toEqual([])
  })

  it("names the ports and the data folder that are the defaults", () => {
    const configuration = repository("docs/configuration.md")
    for (const [variable, value] of [
      ["HELIX_HTTP_PORT", "8080"],
      ["HELIX_HTTPS_PORT", "8443"],
      ["HELIX_DATA_DIR", ".helix"]
    ]) {
      expect(configuration).toContain(`| \`${variable}\` | \`${value}\``)
      expect(answers).toContain(value)
    }
    expect(all(/\b\d{4}\b/g)).toEqual(["8080", "8443"])
  })

  it("answers every question in one way", () => {
    const questions = helixflowFacts.flatMap(({ phrases }) => phrases)
    expect(questions.filter((question, i) => questions.indexOf(question) !== i)).toEqual([])
  })
})
