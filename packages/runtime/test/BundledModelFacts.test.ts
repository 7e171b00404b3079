import * as fs from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import { helixflowFacts } from "../models/recipe/HelixFlowFacts.ts"
import { identity } from "../models/recipe/Manners.ts"

const repository = (file: string) => fs.readFileSync(new URL(`../../../${file}`, import.meta.url), "utf8")
const answers = helixflowFacts.map(({ answer, word }) => `${answer} ${word ?? ""}`).join("\n")
const all = (pattern: RegExp) => [...new Set(answers.match(pattern) ?? [])].sort()

describe("what helix-demo is taught of HelixFlow", () => {
  it("names variables that exist", () => {
    const documented: ReadonlyArray<string> = repository("docs/configuration.md").match(/HELIX_[A-Z_]+/g) ?? []
    const named = all(/HELIX_[A-Z_]+/g)
    expect(named.length).toBeGreaterThan(5)
    expect(named.filter((name) => !documented.includes(name))).toEqual([])
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

  it("says what the README says", () => {
    const readme = repository("README.md")
    const named = (pattern: RegExp) => [...new Set(readme.match(pattern) ?? [])].sort()
    expect(named(/npm (?:start|test|run \w+)/g)).toEqual(all(/npm (?:start|test|run \w+)/g))
    const urls = named(/http:\/\/127\.0\.0\.1:\d+\/v1(?=")/g)
    expect(urls).toHaveLength(1)
    for (const url of urls) expect(answers).toContain(url)
    const ports = named(/(?<=127\.0\.0\.1:)\d+/g)
    expect(ports).toEqual(["8080"])
    for (const port of ports) expect(answers).toContain(`HTTP listens on port ${port}`)
    const [, node] = /Node\.js (\d+) or newer/.exec(readme) ?? []
    expect(answers).toContain(`needs Node ${node} or newer`)
    const documented = repository("docs/configuration.md")
    // HELIX_KEY is a variable of the example's own.
    expect(named(/HELIX_[A-Z_]+/g).filter((name) => name !== "HELIX_KEY" && !documented.includes(name))).toEqual([])
    expect(readme).toContain(".helix/")
  })

  it("says how large the model is", () => {
    const config = JSON.parse(repository("packages/runtime/models/helix-demo/config.json"))
    const { head_dim: dim, hidden_size: size, intermediate_size: inner } = config
    const attention = 2 * size * dim * (config.num_attention_heads + config.num_key_value_heads)
    const layer = attention + 3 * size * inner + 2 * size
    const parameters = config.vocab_size * size + config.num_hidden_layers * layer + size
    expect(Math.round(parameters / 1e6)).toBe(2)
    expect(identity.map(({ answer }) => answer)).toContain("I am tiny: about two million parameters.")
  })

  it("answers every question in one way", () => {
    const questions = helixflowFacts.flatMap(({ phrases }) => phrases)
    expect(questions.filter((question, i) => questions.indexOf(question) !== i)).toEqual([])
  })
})
