/** What the text of a chat completion is held to. Pure. */
import { compile } from "@helixflow/runtime/Grammars"
import { UnsupportedSchema } from "@helixflow/runtime/JsonSchemaGrammar"
import { InvalidRequest } from "@helixflow/schema/Errors"
import type { Grammar } from "@helixflow/schema/Grammar"
import type { OpenAiChatRequest } from "@helixflow/schema/OpenAiChat"
import { namedIn, type OpenAiTool } from "@helixflow/schema/OpenAiTools"
import { Array as Arr } from "effect"

type Body = Pick<OpenAiChatRequest, "tools" | "tool_choice" | "parallel_tool_calls" | "response_format">

/** What the model may call; nothing where it is told not to. */
export const offeredTools = ({ tool_choice, tools }: Body): ReadonlyArray<OpenAiTool> =>
  tool_choice === "none" ? [] : (tools ?? [])

/** The JSON that is wanted; null where any text is. */
const formatOf = ({ response_format: format }: Body) => {
  switch (format?.type) {
    case "json_object":
      return { _tag: "JsonObject" } as const
    case "json_schema":
      return {
        _tag: "JsonSchema",
        schema: format.json_schema.schema,
        strict: format.json_schema.strict === true
      } as const
    default:
      return null
  }
}

const noParameters = { type: "object", properties: {}, required: [], additionalProperties: false }

const callable = ({ function: { name, parameters, strict } }: OpenAiTool) => ({
  name,
  parameters: strict === true ? (parameters ?? noParameters) : null
})

/** Undefined where any text will do. */
export const grammarOf = (body: Body): Grammar | undefined => {
  const { parallel_tool_calls: parallel, tool_choice: choice } = body
  const format = formatOf(body)
  const names = namedIn(choice ?? "auto")
  const tools = offeredTools(body).filter((tool) => names?.includes(tool.function.name) ?? true)
  if (!Arr.isNonEmptyReadonlyArray(tools)) return format ?? undefined
  const isObject = typeof choice === "object" && choice !== null
  const isNamed = isObject && choice.type === "function"
  const isRequired =
    isNamed ||
    choice === "required" ||
    (isObject && choice.type === "allowed_tools" && choice.allowed_tools.mode === "required")
  const isFree = !isRequired && format === null && names === null
  if (isFree && !tools.some((tool) => tool.function.strict === true)) return undefined
  return {
    _tag: "ToolCalls",
    functions: Arr.map(tools, callable),
    parallel: parallel !== false && !isNamed,
    besides: isRequired ? { _tag: "Nothing" } : (format ?? { _tag: "Text" })
  }
}

const refusal = (grammar: Grammar, what: string, param: string, code: string): InvalidRequest | undefined => {
  try {
    compile(grammar)
    return undefined
  } catch (cause) {
    const at = cause instanceof UnsupportedSchema && cause.path !== "" ? ` (at ${cause.path.slice(0, 200)})` : ""
    const reason = cause instanceof Error ? cause.message : String(cause)
    return new InvalidRequest({ reason: `Invalid schema for ${what}: ${reason}${at}.`, param, code })
  }
}

/** Why the text can't be held to what the body says; undefined if it can. */
export const grammarIssue = (body: Body): InvalidRequest | undefined => {
  const grammar = grammarOf(body)
  if (grammar === undefined) return undefined
  const format = formatOf(body)
  if (format !== null) {
    const issue = refusal(format, "response_format", "response_format", "invalid_json_schema")
    if (issue !== undefined || grammar._tag !== "ToolCalls") return issue
  }
  for (const [index, tool] of offeredTools(body).entries()) {
    const { name, parameters: schema } = callable(tool)
    if (schema === null) continue
    const param = `tools[${index}].function.parameters`
    const issue = refusal({ _tag: "JsonSchema", schema, strict: true }, `function '${name}'`, param, invalidFunction)
    if (issue !== undefined) return issue
  }
  return refusal(grammar, "the tools together", "tools", invalidFunction)
}

const invalidFunction = "invalid_function_parameters"
