/**
 * Tools of a chat completion, and the calls that assistants make of them.
 * Source: https://platform.openai.com/docs/api-reference/chat/create
 */
import { Option, Schema } from "effect"
import { Bool, expected, NonEmptyText, nullish, Text, Unsupported, UnsupportedId } from "./OpenAiParameter.ts"

export const FunctionName = Schema.String.pipe(
  Schema.pattern(/^[A-Za-z0-9_-]{1,64}$/),
  expected("a name of 1 to 64 letters, digits, underscores and hyphens")
)

export const AnyObject = Schema.Record({ key: Schema.String, value: Schema.Unknown }).pipe(expected("an object"))

const FunctionTool = Schema.Struct({
  type: Schema.Literal("function"),
  function: Schema.Struct({
    name: FunctionName,
    description: nullish(Text),
    /** A JSON Schema, which the model is shown. */
    parameters: nullish(AnyObject),
    /** Whether the arguments of calls are held to it. */
    strict: nullish(Bool)
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

const NamedFunction = Schema.Struct({
  type: Schema.Literal("function"),
  function: Schema.Struct({ name: FunctionName }).pipe(expected("an object with a name"))
})

const AllowedTools = Schema.Struct({
  type: Schema.Literal("allowed_tools"),
  allowed_tools: Schema.Struct({
    mode: Schema.Literal("auto", "required"),
    tools: Schema.NonEmptyArray(NamedFunction).pipe(expected("a non-empty array of named functions"))
  }).pipe(expected("an object with a mode and tools"))
})

/** Whether the model may call: it decides by itself, it never does, or it has to; any tool, one, or some of them. */
export const OpenAiToolChoice = Schema.Union(
  Schema.Literal("none", "auto", "required"),
  NamedFunction,
  AllowedTools
).pipe(expected("'none', 'auto', 'required', a named function or allowed tools"))
export type OpenAiToolChoice = typeof OpenAiToolChoice.Type

/** The functions that a choice names; null where it names none. */
export const namedIn = (choice: OpenAiToolChoice): ReadonlyArray<string> | null => {
  if (typeof choice === "string") return null
  const named = choice.type === "function" ? [choice] : choice.allowed_tools.tools
  return named.map((one) => one.function.name)
}

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
