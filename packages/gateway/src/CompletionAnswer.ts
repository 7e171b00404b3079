/** Legacy completions as OpenAI writes them, whole and in chunks. Pure. */
import type { FinishReason, PromptLogprob, TokenLogprob } from "@helixflow/schema/Generation"
import type { SessionEvent } from "@helixflow/schema/SessionActor"
import { Array as Arr } from "effect"
import type { CompletionIdentity } from "./CompletionIds.ts"
import type { EventEncoder } from "./EventStream.ts"
import { toUsageBody, type UsageBody } from "./UsageBody.ts"

/** Log probabilities of one choice, written in columns; `text_offset` counts the characters of what was there before a token. */
class LogprobColumns {
  private offset: number
  constructor(echoed: string) {
    this.offset = echoed.length
  }
  next(logprobs: ReadonlyArray<TokenLogprob>) {
    const offsets = logprobs.map(({ text }) => {
      const offset = this.offset
      this.offset += text.length
      return offset
    })
    return columnsOf(logprobs, offsets)
  }
}

const columnsOf = (tokens: ReadonlyArray<PromptLogprob>, offsets: ReadonlyArray<number>) => ({
  tokens: tokens.map(({ text }) => text),
  token_logprobs: tokens.map(({ logprob }) => logprob),
  // the token itself too, even where it is none of the likeliest
  top_logprobs: tokens.map((token) =>
    token.logprob === null
      ? null
      : Object.fromEntries([...token.top, token].map(({ text, logprob }) => [text, logprob]))
  ),
  text_offset: offsets
})

type Columns = ReturnType<typeof columnsOf>

/** Those of a prompt's tokens. What a tokenizer puts into a prompt besides its text has the offset of what follows. */
const columnsOfPrompt = (tokens: ReadonlyArray<PromptLogprob>, text: string): Columns => {
  const written = Buffer.from(text)
  let read = 0
  let offset = 0
  const isNext = (bytes: ReadonlyArray<number>) => bytes.every((byte, index) => written[read + index] === byte)
  const offsets = tokens.map(({ bytes }) => {
    const at = offset
    // some tokenizers begin a text with a space of their own
    const own = isNext(bytes) ? bytes : read === 0 && bytes[0] === 0x20 && isNext(bytes.slice(1)) ? bytes.slice(1) : []
    for (const byte of own) if ((byte & 0xc0) !== 0x80) offset += byte < 0xf0 ? 1 : 2
    read += own.length
    return at
  })
  return columnsOf(tokens, offsets)
}

const joined = (one: Columns, other: Columns): Columns => ({
  tokens: [...one.tokens, ...other.tokens],
  token_logprobs: [...one.token_logprobs, ...other.token_logprobs],
  top_logprobs: [...one.top_logprobs, ...other.top_logprobs],
  text_offset: [...one.text_offset, ...other.text_offset]
})

/** What a choice begins with: the text of its prompt with `echo`, nothing without. One per choice. */
export type Echoed = ReadonlyArray<string>

/** The chunks of a stream; see `chatEncoder`. Prompts with log probabilities are echoed when these are known. */
export const completionEncoder = (
  identity: CompletionIdentity,
  echoed: Echoed,
  includeUsage: boolean,
  logprobs = false
): EventEncoder => {
  const shared = JSON.stringify({
    id: identity.id,
    object: "text_completion",
    created: identity.created,
    model: identity.model,
    system_fingerprint: identity.fingerprint
  }).slice(0, -1)
  const end = includeUsage ? `}],"usage":null}` : "}]}"
  const choices = echoed.map((text, index) => ({
    start: `${shared},"choices":[{"index":${index},"text":`,
    columns: new LogprobColumns(text)
  }))
  const unfinished = `,"logprobs":null,"finish_reason":null${end}`
  return {
    open: choices.flatMap(({ start }, index) =>
      echoed[index] && !logprobs ? [start + JSON.stringify(echoed[index]) + unfinished] : []
    ),
    encode: (event) => {
      if (event._tag === "Waiting" || event._tag === "Started") return []
      if (event._tag === "Completed") {
        if (!includeUsage) return []
        return [`${shared},"choices":[],"usage":${JSON.stringify(toUsageBody(event.usage))}}`]
      }
      const choice = choices[event.choice]
      if (choice === undefined) return []
      const { finish, logprobs, promptLogprobs, text } = event
      const chunks: Array<string> = []
      if (promptLogprobs !== undefined) {
        const prompt = echoed[event.choice] ?? ""
        const columns = JSON.stringify(columnsOfPrompt(promptLogprobs, prompt))
        chunks.push(`${choice.start}${JSON.stringify(prompt)},"logprobs":${columns},"finish_reason":null${end}`)
      }
      const columns = logprobs !== null && logprobs.length > 0 ? JSON.stringify(choice.columns.next(logprobs)) : "null"
      if (text === "" && columns === "null" && finish === null) return chunks
      const reason = finish === null ? "null" : `"${finish}"`
      chunks.push(`${choice.start}${JSON.stringify(text)},"logprobs":${columns},"finish_reason":${reason}${end}`)
      return chunks
    }
  }
}

export interface CompletionAnswerOptions {
  /** Whether the answer has log probabilities. */
  readonly logprobs: boolean
  /** How many choices of each prompt are answered: those with the greatest log probability per token, the best first. */
  readonly n: number
  /** How many were generated of each prompt; where more than `n`, each token has its log probability. */
  readonly bestOf: number
}

interface Choice {
  readonly echoed: string
  text: string
  prompt: ReadonlyArray<PromptLogprob>
  readonly logprobs: Array<TokenLogprob>
  finish: FinishReason | null
}

/** Log probability per token; of a choice that has none the least. */
const likelihood = ({ logprobs }: Choice): number =>
  logprobs.length === 0
    ? Number.NEGATIVE_INFINITY
    : logprobs.reduce((sum, { logprob }) => sum + logprob, 0) / logprobs.length

/** A whole answer, built from its events. */
export class CompletionAnswer {
  private readonly choices: ReadonlyArray<Choice>
  private usage: UsageBody | undefined

  constructor(
    private readonly identity: CompletionIdentity,
    echoed: Echoed,
    private readonly options: CompletionAnswerOptions
  ) {
    this.choices = echoed.map((text) => ({ echoed: text, text, prompt: [], logprobs: [], finish: null }))
  }

  add(event: SessionEvent): void {
    if (event._tag === "Completed") this.usage = toUsageBody(event.usage)
    if (event._tag !== "Delta") return
    const choice = this.choices[event.choice]
    if (choice === undefined) return
    choice.text += event.text
    choice.prompt = event.promptLogprobs ?? choice.prompt
    if (event.logprobs !== null) choice.logprobs.push(...event.logprobs)
    choice.finish = event.finish ?? choice.finish
  }

  private get answered(): ReadonlyArray<Choice> {
    const { bestOf, n } = this.options
    if (bestOf === n) return this.choices
    return Arr.chunksOf(this.choices, bestOf).flatMap((choices) =>
      choices.toSorted((a, b) => likelihood(b) - likelihood(a)).slice(0, n)
    )
  }

  get body() {
    return {
      id: this.identity.id,
      object: "text_completion",
      created: this.identity.created,
      model: this.identity.model,
      choices: this.answered.map(({ echoed, finish, logprobs, prompt, text }, index) => ({
        index,
        text,
        logprobs: this.options.logprobs
          ? joined(columnsOfPrompt(prompt, echoed), new LogprobColumns(echoed).next(logprobs))
          : null,
        finish_reason: finish
      })),
      usage: this.usage,
      system_fingerprint: this.identity.fingerprint
    }
  }
}
