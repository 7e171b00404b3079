/** From a chat completion request to a generation. Pure. */
import { ChatMessage, GenerationRequest, type Prompt } from "@helixflow/schema/Generation"
import type { OpenAiChatMessage, OpenAiChatRequest } from "@helixflow/schema/OpenAiChat"
import { toSampling, toStopping } from "./SamplingParameters.ts"

const textOf = (content: OpenAiChatMessage["content"]): string =>
  typeof content === "string" ? content : content.map((part) => part.text).join("")

/** Parts of a text are one text: chat templates know no parts. */
export const toChatPrompt = (messages: ReadonlyArray<OpenAiChatMessage>): Prompt => ({
  _tag: "Chat",
  messages: messages.map(
    ({ role, content, name }) =>
      new ChatMessage({ role, content: textOf(content), name: name ?? undefined }, { disableValidation: true })
  )
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
      prompt: toChatPrompt(body.messages),
      n: body.n ?? 1,
      sampling: toSampling(body, options.seed),
      stopping: toStopping(body, body.max_completion_tokens ?? body.max_tokens ?? null),
      logprobs: body.logprobs === true ? (body.top_logprobs ?? 0) : null,
      queueTimeout: options.queueTimeout,
      caller: options.caller,
      progress: options.progress ?? false,
      cacheSalt: options.cacheSalt
    },
    { disableValidation: true }
  )
