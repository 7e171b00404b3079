/** Chat completions as OpenAI writes them, whole and in chunks. Pure. */
import type { FinishReason, TokenLogprob, TopLogprob } from "@helixflow/schema/Generation"
import type { Delta, SessionEvent } from "@helixflow/schema/SessionActor"
import type { CompletionIdentity } from "./CompletionIds.ts"
import type { EventEncoder } from "./EventStream.ts"
import { type ToolCall, ToolCallParser, type ToolUse } from "./ToolCalls.ts"
import { toUsageBody, type UsageBody } from "./UsageBody.ts"

const alternative = ({ text, logprob, bytes }: TopLogprob) => ({ token: text, logprob, bytes })

const logprobContent = (logprobs: ReadonlyArray<TokenLogprob>) =>
  logprobs.map((token) => ({ ...alternative(token), top_logprobs: token.top.map(alternative) }))

const toolCallBody = (identity: CompletionIdentity, choice: number, index: number, call: ToolCall) => ({
  id: `call_${identity.id.replace(/^.*-/, "")}_${choice}_${index}`,
  type: "function",
  function: call
})

/** A choice that ended by itself and calls tools ended for their sake. */
const finishReason = (finish: FinishReason | null, calls: number) =>
  finish === "stop" && calls > 0 ? "tool_calls" : finish

/**
 * The chunks of a stream. All that chunks share is written once; what is left per chunk is the text's JSON. A choice begins with
 * its role and ends with its finish reason, both in chunks of their own.
 */
export const chatEncoder = (
  identity: CompletionIdentity,
  n: number,
  includeUsage: boolean,
  tools: ToolUse | null = null
): EventEncoder => {
  const shared = JSON.stringify({
    id: identity.id,
    object: "chat.completion.chunk",
    created: identity.created,
    model: identity.model,
    system_fingerprint: identity.fingerprint,
    ...(identity.tier !== undefined && { service_tier: identity.tier })
  }).slice(0, -1)
  const end = includeUsage ? `}],"usage":null}` : "}]}"
  const choices = Array.from({ length: n }, (_, index) => {
    const start = `${shared},"choices":[{"index":${index},"delta":`
    return {
      role: `${start}{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null${end}`,
      content: `${start}{"content":`,
      calls: `${start}{"tool_calls":`,
      parser: tools === null ? null : new ToolCallParser(tools.parallel),
      finish: `${start}{},"logprobs":null,"finish_reason":`
    }
  })
  const afterContent = `},"logprobs":null,"finish_reason":null${end}`

  const encodeDelta = ({ choice, text: added, logprobs, finish }: Delta): ReadonlyArray<string> => {
    const parts = choices[choice]
    if (parts === undefined) return []
    const before = parts.parser?.calls ?? 0
    const parsed = parts.parser?.add(added, finish !== null)
    const text = parsed === undefined ? added : parsed.content
    const chunks: Array<string> = []
    if (logprobs !== null && logprobs.length > 0) {
      const content = JSON.stringify({ content: logprobContent(logprobs), refusal: null })
      chunks.push(`${parts.content}${JSON.stringify(text)}},"logprobs":${content},"finish_reason":null${end}`)
    } else if (text !== "") {
      chunks.push(parts.content + JSON.stringify(text) + afterContent)
    }
    if (parsed !== undefined && parsed.calls.length > 0) {
      const calls = parsed.calls.map((call, i) => ({
        index: before + i,
        ...toolCallBody(identity, choice, before + i, call)
      }))
      chunks.push(parts.calls + JSON.stringify(calls) + afterContent)
    }
    if (finish !== null) chunks.push(`${parts.finish}"${finishReason(finish, parts.parser?.calls ?? 0)}"${end}`)
    return chunks
  }

  return {
    open: choices.map((choice) => choice.role),
    encode: (event: SessionEvent) => {
      switch (event._tag) {
        case "Waiting":
        case "Started":
          return []
        case "Delta":
          return encodeDelta(event)
        case "Completed":
          return includeUsage ? [`${shared},"choices":[],"usage":${JSON.stringify(toUsageBody(event.usage))}}`] : []
      }
    }
  }
}

/** A whole answer, built from its events. */
export class ChatAnswer {
  private readonly choices: ReadonlyArray<{ text: string; logprobs: Array<TokenLogprob>; finish: FinishReason | null }>
  private usage: UsageBody | undefined

  constructor(
    private readonly identity: CompletionIdentity,
    n: number,
    private readonly logprobs: boolean,
    private readonly tools: ToolUse | null = null
  ) {
    this.choices = Array.from({ length: n }, () => ({ text: "", logprobs: [], finish: null }))
  }

  add(event: SessionEvent): void {
    if (event._tag === "Completed") this.usage = toUsageBody(event.usage)
    if (event._tag !== "Delta") return
    const choice = this.choices[event.choice]
    if (choice === undefined) return
    choice.text += event.text
    if (event.logprobs !== null) choice.logprobs.push(...event.logprobs)
    choice.finish = event.finish ?? choice.finish
  }

  get body() {
    return {
      id: this.identity.id,
      object: "chat.completion",
      created: this.identity.created,
      model: this.identity.model,
      choices: this.choices.map(({ finish, logprobs, text }, index) => {
        const parsed = this.tools === null ? null : new ToolCallParser(this.tools.parallel).add(text, true)
        const calls = parsed?.calls ?? []
        const content = parsed?.content ?? text
        return {
          index,
          message: {
            role: "assistant",
            content: calls.length > 0 && content.trim() === "" ? null : content,
            refusal: null,
            ...(calls.length > 0 && { tool_calls: calls.map((call, i) => toolCallBody(this.identity, index, i, call)) })
          },
          logprobs: this.logprobs ? { content: logprobContent(logprobs), refusal: null } : null,
          finish_reason: finishReason(finish, calls.length)
        }
      }),
      usage: this.usage,
      system_fingerprint: this.identity.fingerprint,
      ...(this.identity.tier !== undefined && { service_tier: this.identity.tier })
    }
  }
}
