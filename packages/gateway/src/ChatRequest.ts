/** From a chat completion request to a generation. Pure. */
import { named as namedConversation } from "@helixflow/runtime/Conversations"
import { ChatMessage, GenerationRequest, type Prompt } from "@helixflow/schema/Generation"
import type { OpenAiChatMessage, OpenAiChatRequest } from "@helixflow/schema/OpenAiChat"
import { type OpenAiTool, parseArguments } from "@helixflow/schema/OpenAiTools"
import { Option } from "effect"
import { grammarOf, offeredTools } from "./AnswerGrammar.ts"
import { toSampling, toStopping } from "./SamplingParameters.ts"

type Content = string | ReadonlyArray<{ readonly text: string }> | null | undefined

const textOf = (content: Content): string =>
  typeof content === "string" ? content : (content ?? []).map((part) => part.text).join("")

const toolCalls = (message: OpenAiChatMessage): ChatMessage["tool_calls"] =>
  message.role === "assistant" && message.tool_calls?.length
    ? message.tool_calls.map(({ function: { arguments: text, name }, id, type }) => ({
        id,
        type,
        function: { name, arguments: Option.getOrElse(parseArguments(text), () => ({})) }
      }))
    : undefined

/** Parts of a text are one text: chat templates know no parts. */
const toMessage = (message: OpenAiChatMessage): ChatMessage => {
  const calls = toolCalls(message)
  return new ChatMessage(
    {
      role: message.role,
      content: textOf(message.content),
      name: message.name ?? undefined,
      ...(calls !== undefined && { tool_calls: calls }),
      ...(message.role === "tool" && { tool_call_id: message.tool_call_id })
    },
    { disableValidation: true }
  )
}

/** A tool as the model is shown it: how strictly its calls are held to it is none of the model's business. */
const shown = ({ function: { strict: _, ...described }, type }: OpenAiTool) => ({ type, function: described })

export const toChatPrompt = (
  messages: ReadonlyArray<OpenAiChatMessage>,
  tools: ReadonlyArray<OpenAiTool> = []
): Prompt => ({
  _tag: "Chat",
  messages: messages.map(toMessage),
  ...(tools.length > 0 && { tools: tools.map(shown) })
})

export const toGenerationRequest = (
  body: OpenAiChatRequest,
  options: Pick<GenerationRequest, "model" | "queueTimeout" | "caller" | "cacheSalt"> & {
    readonly seed: number
    readonly progress?: boolean
  }
): GenerationRequest =>
  new GenerationRequest(
    {
      model: options.model,
      prompt: toChatPrompt(body.messages, offeredTools(body)),
      n: body.n ?? 1,
      sampling: toSampling(body, options.seed),
      stopping: toStopping(body, body.max_completion_tokens ?? body.max_tokens ?? null),
      logprobs: body.logprobs === true ? (body.top_logprobs ?? 0) : null,
      grammar: grammarOf(body),
      queueTimeout: options.queueTimeout,
      caller: options.caller,
      progress: options.progress ?? false,
      cacheSalt: options.cacheSalt,
      ...(body.prompt_cache_key && { conversation: namedConversation(options.cacheSalt, body.prompt_cache_key) })
    },
    { disableValidation: true }
  )
