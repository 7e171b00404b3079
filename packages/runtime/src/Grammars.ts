/** Grammars of requests, ready to be used. Those that were used last are kept: what was found out of a schema serves all who ask for it. */
import type { Grammar } from "@helixflow/schema/Grammar"
import type { Part } from "./ByteAutomaton.ts"
import { CompiledGrammar, type GrammarState } from "./GrammarState.ts"
import { jsonSchema } from "./JsonSchemaGrammar.ts"
import { anyObject } from "./JsonSyntax.ts"
import { toolCalls } from "./ToolCallGrammar.ts"

const partOf = (grammar: Grammar): Part => {
  switch (grammar._tag) {
    case "JsonObject":
      return anyObject
    case "JsonSchema":
      return jsonSchema(grammar.schema, grammar)
    case "ToolCalls":
      return toolCalls(grammar)
  }
}

/** Where a text of this grammar begins. Throws `UnsupportedSchema`, and an `Error` for a schema that is too large or describes nothing. */
export const compile = (grammar: Grammar): GrammarState => new CompiledGrammar(partOf(grammar)).start

export class Grammars {
  /** By what they were made of, those used last at the end. */
  readonly #kept = new Map<string, GrammarState>()

  constructor(readonly most: number) {}

  /** As {@link compile} does. */
  startOf(grammar: Grammar): GrammarState {
    const key = JSON.stringify(grammar)
    const start = this.#kept.get(key) ?? compile(grammar)
    this.#kept.delete(key)
    this.#kept.set(key, start)
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > this.most && oldest !== undefined) this.#kept.delete(oldest)
    return start
  }
}
