/** Calls of tools as models write them, and the text around them. */
import type { Grammar } from "@helixflow/schema/Grammar"
import { CLOSE, OPEN } from "@helixflow/schema/ToolCallNotation"
import { choice, optional, type Part, repeat, sequence, text } from "./ByteAutomaton.ts"
import { jsonSchema } from "./JsonSchemaGrammar.ts"
import * as Json from "./JsonSyntax.ts"

type ToolCalls = Extract<Grammar, { readonly _tag: "ToolCalls" }>

const line = optional(text("\n"))

/** One call, from behind its opening mark on. */
const callOf = ({ functions }: ToolCalls): Part => {
  const bodies = functions.map(({ name, parameters }) =>
    Json.objectOf([
      Json.member("name", Json.literal(name), "once"),
      Json.member("arguments", parameters === null ? Json.anyObject : jsonSchema(parameters, { strict: true }), "once")
    ])
  )
  return sequence(line, choice(...bodies), line, text(CLOSE))
}

/** Calls, and nothing else. */
const onlyCalls = (calls: ToolCalls): Part => {
  const one = sequence(text(OPEN), callOf(calls))
  return calls.parallel ? sequence(one, repeat(sequence(line, one), 0, null)) : one
}

/** Any text, in which an opening mark begins a call. */
const textWithCalls =
  (calls: ToolCalls): Part =>
  (automaton, from) => {
    const end = automaton.node()
    // the node of index i: the text ends with the first i characters of the mark
    const nodes = [...OPEN].map(() => automaton.node())
    const begin = automaton.add(from, { _tag: "Empty", to: nodes[0] ?? from })
    const opened = automaton.node()
    for (const [index, node] of nodes.entries()) {
      automaton.add(node, { _tag: "Empty", to: end })
      for (let byte = 0; byte < 256; byte++) {
        const to = nodes[matched(OPEN.slice(0, index), byte)] ?? opened
        automaton.add(node, { _tag: "Bytes", low: byte, high: byte, to })
      }
    }
    automaton.add(callOf(calls)(automaton, opened), { _tag: "Empty", to: calls.parallel ? begin : end })
    return end
  }

/** How much of the mark a text ends with that ended with `before` of it. */
const matched = (before: string, byte: number): number => {
  const ending = before + String.fromCharCode(byte)
  for (let length = ending.length; length > 0; length--) if (OPEN.startsWith(ending.slice(-length))) return length
  return 0
}

export const toolCalls = (calls: ToolCalls): Part => {
  const { besides } = calls
  switch (besides._tag) {
    case "Nothing":
      return onlyCalls(calls)
    case "Text":
      return textWithCalls(calls)
    case "JsonObject":
      return choice(Json.anyObject, onlyCalls(calls))
    case "JsonSchema":
      return choice(jsonSchema(besides.schema, besides), onlyCalls(calls))
  }
}
