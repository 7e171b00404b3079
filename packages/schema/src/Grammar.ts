/** What the text of a generation is held to, while it is drawn. */
import { Schema } from "effect"

/** Any JSON object. */
const JsonObject = Schema.TaggedStruct("JsonObject", {})

/** JSON that a JSON Schema describes. */
const JsonSchema = Schema.TaggedStruct("JsonSchema", {
  schema: Schema.Unknown,
  /** Whether the schema itself keeps to OpenAI's rules: closed objects, all of whose properties are required. */
  strict: Schema.Boolean
})

const CallableFunction = Schema.Struct({
  name: Schema.String,
  /** The JSON Schema that the arguments are held to; null: they are any object. */
  parameters: Schema.NullOr(Schema.Unknown)
})

/** Calls of tools, in the notation of `ToolCallNotation.ts`. */
const ToolCalls = Schema.TaggedStruct("ToolCalls", {
  functions: Schema.NonEmptyArray(CallableFunction),
  /** Whether there may be more than one. */
  parallel: Schema.Boolean,
  /** What there may be besides calls: text around them, JSON in place of them, or nothing, so that there is a call. */
  besides: Schema.Union(Schema.TaggedStruct("Text", {}), Schema.TaggedStruct("Nothing", {}), JsonObject, JsonSchema)
})

export const Grammar = Schema.Union(JsonObject, JsonSchema, ToolCalls)
export type Grammar = typeof Grammar.Type
