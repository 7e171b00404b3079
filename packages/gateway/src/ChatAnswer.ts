/** Chat completions as OpenAI writes them, whole and in chunks. Pure. */
import type { FinishReason, TokenLogprob, TopLogprob } from "@helixflow/schema/Generation"
import type { Delta, SessionEvent } from "@helixflow/schema/SessionActor"
import type { CompletionIdentity } from "./CompletionIds.ts"
import type { EventEncoder } from "./EventStream.ts"
import { toUsageBody, type UsageBody } from "./UsageBody.ts"

const alternative = ({ text, logprob, bytes }: TopLogprob) => ({ token: text, logprob, bytes })

const logprobContent = (logprobs: ReadonlyArray<TokenLogprob>) =>
  logprobs.map((token) => ({ ...alternative(token), top_logprobs: token.top.map(alternative) }))

/**
 * The chunks of a stream. All that chunks share is written once; what is left per chunk is the text's JSON. A choice begins with
 * its role and ends with its finish reason, both in chunks of their own.
 */
export const chatEncoder = (identity: CompletionIdentity, n: number, includeUsage: boolean): EventEncoder => {
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
      finish: `${start}{},"logprobs":null,"finish_reason":`
    }
  })
  const afterContent = `},"logprobs":null,"finish_reason":null${end}`

  const encodeDelta = ({ choice, text, logprobs, finish }: Delta): ReadonlyArray<string> => {
    const parts = choices[choice]
    if (parts === undefined) return []
    const chunks: Array<string> = []
    if (logprobs !== null && logprobs.length > 0) {
      const content = JSON.stringify({ content: logprobContent(logprobs), refusal: null })
      chunks.push(`${parts.content}${JSON.stringify(text)}},"logprobs":${content},"finish_reason":null${end}`)
    } else if (text !== "") {
      chunks.push(parts.content + JSON.stringify(text) + afterContent)
    }
    if (finish !== null) chunks.push(`${parts.finish}"${finish}"${end}`)
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
    private readonly logprobs: boolean
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
      choices: this.choices.map(({ finish, logprobs, text }, index) => ({
        index,
        message: { role: "assistant", content: text, refusal: null },
        logprobs: this.logprobs ? { content: logprobContent(logprobs), refusal: null } : null,
        finish_reason: finish
      })),
      usage: this.usage,
      system_fingerprint: this.identity.fingerprint,
      ...(this.identity.tier !== undefined && { service_tier: this.identity.tier })
    }
  }
}
