/** `POST /v1/chat/completions`. Source: https://platform.openai.com/docs/api-reference/chat/create */
import { Schema } from "effect"
import {
  Bool,
  expected,
  IntegerBetween,
  Metadata,
  NonEmptyText,
  neutral,
  nullish,
  PositiveInteger,
  Text,
  Unsupported,
  UnsupportedId,
  unsupported
} from "./OpenAiParameter.ts"
import { queueFields } from "./OpenAiQueue.ts"
import { relatedIssue, samplingFields } from "./OpenAiSampling.ts"
import { AnyObject, FunctionName, namedIn, OpenAiToolCall, OpenAiToolChoice, OpenAiToolList } from "./OpenAiTools.ts"

const noFunctions = "Functions are not supported: use tools."
const nothingElse = Schema.Array(Schema.Unknown).pipe(
  Schema.filter((items) => items.length === 0),
  expected("an empty array")
)

const TextPart = Schema.Struct({ type: Schema.Literal("text"), text: Text })

/** Parts that OpenAI knows, so that they are refused as such, whatever they contain. */
const OtherPart = Schema.Struct(
  { type: Schema.Literal("image_url", "input_audio", "file", "refusal") },
  Schema.Record({ key: Schema.String, value: Schema.Unknown })
).pipe(
  Schema.filter((_part): _part is never => false),
  Schema.annotations({
    [UnsupportedId]: Unsupported.make({ what: "value", reason: "Only parts of type 'text' are supported." })
  })
)

const Content = Schema.Union(
  Schema.String,
  Schema.Array(Schema.Union(TextPart, OtherPart)).pipe(Schema.minItems(1), expected("a non-empty array of text parts"))
).pipe(expected("a string or an array of text parts"))

const message = <Role extends string>(role: Role) => ({
  role: Schema.Literal(role),
  content: Content,
  name: nullish(Text)
})

/** An answer of this API is taken back: its text, its calls, and what else it has as long as that is empty. */
const AssistantMessage = Schema.Struct({
  ...message("assistant"),
  content: nullish(Content),
  refusal: unsupported("Refusals are not supported."),
  audio: unsupported("Audio is not supported."),
  annotations: neutral(nothingElse, "Annotations are not supported."),
  tool_calls: nullish(Schema.Array(OpenAiToolCall).pipe(expected("an array of tool calls"))),
  function_call: unsupported(noFunctions)
}).pipe(
  Schema.filter(({ content, tool_calls }) =>
    content == null && !tool_calls?.length
      ? { path: ["content"], message: "'content' may only be left out where there are 'tool_calls'." }
      : undefined
  )
)

const ToolMessage = Schema.Struct({ ...message("tool"), tool_call_id: Text })

export const OpenAiChatMessage = Schema.Union(
  Schema.Struct(message("system")),
  Schema.Struct(message("developer")),
  Schema.Struct(message("user")),
  AssistantMessage,
  ToolMessage
).pipe(expected("a message: an object with a role and content"))
export type OpenAiChatMessage = typeof OpenAiChatMessage.Type

export const OpenAiChatMessages = Schema.Array(OpenAiChatMessage).pipe(
  Schema.minItems(1),
  expected("a non-empty array of messages")
)

/** What the answer's text is held to. Source: https://platform.openai.com/docs/guides/structured-outputs */
export const OpenAiResponseFormat = Schema.Union(
  Schema.Struct({ type: Schema.Literal("text") }),
  Schema.Struct({ type: Schema.Literal("json_object") }),
  Schema.Struct({
    type: Schema.Literal("json_schema"),
    json_schema: Schema.Struct({
      name: FunctionName,
      description: nullish(Text),
      schema: AnyObject,
      strict: nullish(Bool)
    }).pipe(expected("an object with a name and a schema"))
  })
).pipe(expected("an object with a type: 'text', 'json_object' or 'json_schema'"))

export const OpenAiChatRequest = Schema.Struct({
  model: NonEmptyText,
  messages: OpenAiChatMessages,
  ...samplingFields,
  ...queueFields,
  max_completion_tokens: nullish(PositiveInteger),
  logprobs: nullish(Bool),
  top_logprobs: nullish(IntegerBetween(0, 20)),
  parallel_tool_calls: nullish(Bool),

  response_format: nullish(OpenAiResponseFormat),
  modalities: neutral(Schema.Tuple(Schema.Literal("text")), 'Only ["text"] is supported.'),
  tools: nullish(OpenAiToolList),
  tool_choice: nullish(OpenAiToolChoice),
  functions: neutral(nothingElse, noFunctions),
  function_call: neutral(Schema.Literal("none"), noFunctions),
  store: nullish(Bool),
  reasoning_effort: neutral(Schema.Literal("none"), "Only 'none' is supported."),
  verbosity: neutral(Schema.Literal("medium"), "Only 'medium' is supported."),
  audio: unsupported("Audio is not supported."),
  prediction: unsupported("Predicted outputs are not supported."),
  web_search_options: unsupported("Web search is not supported."),
  moderation: unsupported("Moderation is not supported."),

  /** Names the conversation, which had better stay on one replica. */
  prompt_cache_key: nullish(Text),

  // Without an effect on the output.
  metadata: nullish(Metadata),
  safety_identifier: nullish(Text),
  prompt_cache_retention: nullish(Text),
  prompt_cache_options: nullish(Schema.Object.pipe(expected("an object")))
}).pipe(
  expected("a JSON object"),
  Schema.filter((body) => {
    const both = body.max_tokens && body.max_completion_tokens
    if (both && body.max_tokens !== body.max_completion_tokens) {
      return { path: ["max_tokens"], message: "'max_tokens' and 'max_completion_tokens' differ; give only the latter." }
    }
    if (body.top_logprobs && body.logprobs !== true) {
      return { path: ["top_logprobs"], message: "'top_logprobs' is only allowed when 'logprobs' is true." }
    }
    if (body.tool_choice != null && !body.tools?.length && body.tool_choice !== "none") {
      return { path: ["tool_choice"], message: "'tool_choice' is only allowed with 'tools'." }
    }
    const unknown = namedIn(body.tool_choice ?? "auto")?.find(
      (name) => !body.tools?.some((tool) => tool.function.name === name)
    )
    if (unknown !== undefined) {
      return { path: ["tool_choice"], message: `'tool_choice' names '${unknown}', which is none of the 'tools'.` }
    }
    const isJson = body.response_format != null && body.response_format.type !== "text"
    const hasToCall = body.tool_choice === "required" || typeof body.tool_choice === "object"
    if ((isJson || (body.tool_choice != null && hasToCall)) && (body.min_tokens || body.ignore_eos)) {
      const name = body.ignore_eos ? "ignore_eos" : "min_tokens"
      const what = isJson ? "JSON as 'response_format'" : "this 'tool_choice'"
      return { path: [name], message: `'${name}' is not allowed with ${what}: the answer ends by itself.` }
    }
    return relatedIssue({ ...body, max_tokens: body.max_completion_tokens ?? body.max_tokens })
  })
)
export type OpenAiChatRequest = typeof OpenAiChatRequest.Type
