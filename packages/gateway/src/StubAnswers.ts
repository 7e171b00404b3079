/** What the stub of a runtime says: a function of the request. Pure. */
import type { ClassificationInput } from "@helixflow/schema/Classification"
import { type GenerationRequest, type Prompt, TokenLogprob, TopLogprob } from "@helixflow/schema/Generation"
import { TokenId } from "@helixflow/schema/Ids"
import { Delta } from "@helixflow/schema/SessionActor"
import { unchecked } from "@helixflow/schema/Unchecked"

/** How long a completion is. */
export interface StubLengths {
  /** Tokens of a completion whose length the request leaves open. */
  readonly tokens: number
  readonly context: number
}

export const words = [
  "the",
  "quick",
  "brown",
  "fox",
  "jumps",
  "over",
  "a",
  "lazy",
  "dog",
  "—",
  "naïve",
  "日本",
  "🙂",
  "and",
  "so",
  "on"
]

/** The word of a token id: any id has one, so that every prompt can be written back. */
export const wordOf = (token: number): string => `${words[token % words.length]} `

/** A token per four UTF-16 units. */
export const tokensOf = (text: string): Array<TokenId> =>
  Array.from({ length: Math.ceil(text.length / 4) }, (_, i) => TokenId.make(text.charCodeAt(i * 4) % 1000))

export const textOf = (prompt: Prompt): string => {
  switch (prompt._tag) {
    case "Chat":
      return prompt.messages.map(({ role, content }) => `${role}: ${content}\n`).join("")
    case "Text":
      return prompt.promptName === undefined ? prompt.text : `${prompt.promptName}: ${prompt.text}`
    case "Tokens":
      return prompt.tokens.map(wordOf).join("")
  }
}

export const promptTokens = (prompt: Prompt): Array<TokenId> =>
  prompt._tag === "Tokens" ? [...prompt.tokens] : tokensOf(textOf(prompt))

const logprobOf = (token: TokenId, top: number): TokenLogprob => {
  const alternatives = Array.from({ length: top }, (_, rank) => {
    const id = TokenId.make(token + rank)
    return TopLogprob.make({ token: id, text: wordOf(id), bytes: bytesOf(wordOf(id)), logprob: -0.5 - rank })
  })
  const text = wordOf(token)
  return TokenLogprob.make({ token, text, bytes: bytesOf(text), logprob: -0.5, top: alternatives })
}

const bytesOf = (text: string): Array<number> => [...Buffer.from(text)]

export interface Choice {
  readonly tokens: ReadonlyArray<TokenId>
  readonly finish: "stop" | "length"
}

/** Greedy requests depend on the prompt alone, others on the seed and the choice too. */
export const choiceOf = (
  request: GenerationRequest,
  prompt: ReadonlyArray<TokenId>,
  index: number,
  options: StubLengths
): Choice => {
  const greedy = request.sampling.temperature === 0
  const start = prompt.reduce((sum, token) => sum + token, greedy ? 0 : Math.abs(request.sampling.seed % 1000) + index)
  const { maxTokens } = request.stopping
  const length = Math.min(maxTokens ?? options.tokens, options.context - prompt.length)
  const tokens: Array<TokenId> = []
  let text = ""
  for (let i = 0; i < length; i++) {
    const token = TokenId.make((start + i) % 1000)
    if (request.stopping.stopTokenIds.includes(token)) return { tokens, finish: "stop" }
    text += wordOf(token)
    if (request.stopping.stop.some((stop) => text.includes(stop))) return { tokens, finish: "stop" }
    tokens.push(token)
  }
  return { tokens, finish: maxTokens === null || maxTokens > length ? "stop" : "length" }
}

/** Deltas of all choices in turn, as a batch computes them. */
export function* deltasOf(choices: ReadonlyArray<Choice>, logprobs: number | null, chunk: number): Generator<Delta> {
  const longest = Math.max(1, ...choices.map((choice) => choice.tokens.length))
  let seq = 1
  for (let from = 0; from < longest; from += chunk) {
    for (const [index, { tokens, finish }] of choices.entries()) {
      if (from > 0 && from >= tokens.length) continue
      const some = tokens.slice(from, from + chunk)
      yield unchecked(Delta, {
        _tag: "Delta",
        seq: seq++,
        choice: index,
        text: some.map(wordOf).join(""),
        tokens: some,
        logprobs: logprobs === null ? null : some.map((token) => logprobOf(token, logprobs)),
        finish: from + chunk >= tokens.length ? finish : null
      })
    }
  }
}

/** A unit vector that depends on the text. */
export const embed = (text: string, dimensions: number): Uint8Array => {
  const vector = Float32Array.from(
    { length: dimensions },
    (_, i) => 1 + (text.charCodeAt(i % Math.max(1, text.length)) || 0)
  )
  const norm = Math.hypot(...vector)
  return new Uint8Array(vector.map((element) => element / norm).buffer)
}

/** What is read, as one text. */
export const readText = (input: ClassificationInput): string => {
  switch (input._tag) {
    case "Text":
      return input.text
    case "Pair":
      return `${input.first} ${input.second}`
    case "Tokens":
      return input.tokens.map(wordOf).join("")
  }
}

/** Of a pair: the share of the first text's words that are in the second. Of others: a share that depends on the text. */
export const shareOf = (input: ClassificationInput): number => {
  const wanted = (input._tag === "Pair" ? input.first : readText(input)).split(/\s+/)
  const found = input._tag === "Pair" ? input.second.split(/\s+/) : words
  return wanted.filter((word) => found.includes(word)).length / wanted.length
}
