/**
 * Tools of a chat completion, and the calls that assistants make of them.
 * Source: https://platform.openai.com/docs/api-reference/chat/create
 */
import { Option, Schema } from "effect"
import { expected, NonEmptyText, neutral, nullish, Text, Unsupported, UnsupportedId } from "./OpenAiParameter.ts"

const FunctionName = Schema.String.pipe(
  Schema.pattern(/^[A-Za-z0-9_-]{1,64}$/),
  expected("a name of 1 to 64 letters, digits, underscores and hyphens")
)

const AnyObject = Schema.Record({ key: Schema.String, value: Schema.Unknown }).pipe(expected("an object"))

const FunctionTool = Schema.Struct({
  type: Schema.Literal("function"),
  function: Schema.Struct({
    name: FunctionName,
    description: nullish(Text),
    /** A JSON Schema, which the model is shown and nobody enforces. */
    parameters: nullish(AnyObject),
    strict: neutral(Schema.Literal(false), "What a model calls is not held to a schema.")
  }).pipe(expected("an object with a name"))
})

/** Tools that OpenAI knows, so that they are refused as such, whatever they contain. */
const CustomTool = Schema.Struct(
  { type: Schema.Literal("custom") },
  Schema.Record({ key: Schema.String, value: Schema.Unknown })
).pipe(
  Schema.filter((_tool): _tool is never => false),
  Schema.annotations({
    [UnsupportedId]: Unsupported.make({ what: "value", reason: "Only tools of type 'function' are supported." })
  })
)

export const OpenAiTool = Schema.Union(FunctionTool, CustomTool).pipe(
  expected("a tool: an object with a type and a function")
)
export type OpenAiTool = typeof OpenAiTool.Type

/** More are refused: a prompt has to hold them all. */
const MOST_TOOLS = 128

export const OpenAiToolList = Schema.Array(OpenAiTool).pipe(
  Schema.maxItems(MOST_TOOLS),
  expected(`an array of at most ${MOST_TOOLS} tools`)
)

/** Whether the model may call: it decides by itself, or it never does. */
export const OpenAiToolChoice = Schema.Literal("none", "auto")

/** Arguments as a template shows them. */
export const parseArguments = Schema.decodeUnknownOption(
  Schema.parseJson(Schema.Record({ key: Schema.String, value: Schema.Unknown }))
)

const ArgumentsText = Schema.String.pipe(
  Schema.filter((text) => Option.isSome(parseArguments(text))),
  expected("a JSON object, as a string")
)

/** A call that an earlier answer made. */
export const OpenAiToolCall = Schema.Struct({
  id: NonEmptyText,
  type: Schema.Literal("function"),
  function: Schema.Struct({ name: NonEmptyText, arguments: ArgumentsText })
}).pipe(expected("a tool call: an object with an id, a type and a function"))
export type OpenAiToolCall = typeof OpenAiToolCall.Type
