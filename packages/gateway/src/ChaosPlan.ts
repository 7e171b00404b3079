/** What `helixflow chaos` does, as data that follows from a seed: the same seed asks the same and harms at the same moments. Pure. */
import { uniformAt } from "@helixflow/runtime/CounterRandom"

export type Harm = "kill" | "freeze" | "starve"

export interface Blow {
  /** Milliseconds since the load began. */
  readonly at: number
  readonly harm: Harm
  /** Which of the workers that are there then, from 0 to below 1. */
  readonly pick: number
}

/** What is asked, each in its turn. */
export const kinds = [
  "greedy",
  "sampled",
  "several choices with log probabilities",
  "stop strings",
  "tools",
  "legacy completion",
  "embeddings",
  "hung up and resumed"
] as const
export type Kind = (typeof kinds)[number]

export interface Question {
  readonly kind: Kind
  readonly path: "/v1/chat/completions" | "/v1/completions" | "/v1/embeddings"
  /** But for the model. */
  readonly body: Readonly<Record<string, unknown>>
  /** Chunks after which the client hangs up, to come back for the rest; null: it reads to the end. */
  readonly hangUpAfter: number | null
}

/** Kinds of random numbers, as choices of one seed's generator. */
const stream = { harm: 0, pick: 1, words: 2, length: 3, seed: 4 } as const

const harmOf = (random: number): Harm => (random < 0.5 ? "kill" : random < 0.8 ? "freeze" : "starve")

export const blows = (seed: number, millis: number, everyMillis: number): ReadonlyArray<Blow> =>
  Array.from({ length: Math.floor(millis / everyMillis) }, (_, n) => ({
    at: (n + 1) * everyMillis,
    harm: harmOf(uniformAt(seed, stream.harm, n)),
    pick: uniformAt(seed, stream.pick, n)
  }))

const words =
  "why how what when is are the a model GPU actor stream token server worker memory queue and or in of".split(" ")

const weather = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather of a place.",
    parameters: { type: "object", properties: { place: { type: "string" } }, required: ["place"] }
  }
}

interface Drawn {
  readonly text: string
  readonly maxTokens: number
  readonly seed: number
}

const sampled = ({ maxTokens, seed }: Drawn) => ({
  temperature: 1,
  seed,
  max_tokens: maxTokens,
  ignore_eos: true,
  stream: true,
  stream_options: { include_usage: true }
})

const chat = (drawn: Drawn) => ({ ...sampled(drawn), messages: [{ role: "user", content: drawn.text }] })

const asked: Record<Kind, (drawn: Drawn) => Omit<Question, "kind">> = {
  greedy: (drawn) => inChat({ ...chat(drawn), temperature: 0 }),
  sampled: (drawn) => inChat(chat(drawn)),
  "several choices with log probabilities": (drawn) => inChat({ ...chat(drawn), n: 3, logprobs: true }),
  // letters that come now and then: they begin to match, and some do
  "stop strings": (drawn) => inChat({ ...chat(drawn), stop: ["zq", "qu", "the w", "\n\n\n"] }),
  tools: (drawn) =>
    inChat({
      ...chat({ ...drawn, text: `What is the weather in Paris? ${drawn.text}` }),
      temperature: 0,
      ignore_eos: false,
      tools: [weather]
    }),
  "legacy completion": (drawn) => ({
    path: "/v1/completions",
    body: { ...sampled(drawn), prompt: drawn.text, logprobs: 0 },
    hangUpAfter: null
  }),
  embeddings: ({ text }) => ({
    path: "/v1/embeddings",
    // of different lengths, all of them short enough for any model
    body: { input: Array.from({ length: 24 }, (_, n) => `${n} ${text.slice(0, 16 + 16 * (n % 4))}`) },
    hangUpAfter: null
  }),
  "hung up and resumed": (drawn) => ({ ...inChat(chat(drawn)), hangUpAfter: Math.ceil(drawn.maxTokens / 3) })
}

const inChat = (body: Question["body"]) => ({ path: "/v1/chat/completions" as const, body, hangUpAfter: null })

/** Every kind in its turn. */
export const questions = (seed: number, count: number, maxTokens: number): ReadonlyArray<Question> =>
  Array.from({ length: count }, (_, n) => {
    const at = (kind: number, position: number) => uniformAt(seed, kind, n * 1_000 + position)
    const length = 3 + Math.floor(at(stream.length, 0) * 30)
    const text = Array.from({ length }, (_, i) => words[Math.floor(at(stream.words, i) * words.length)] ?? "")
    const kind = kinds[n % kinds.length] ?? "greedy"
    return {
      kind,
      ...asked[kind]({
        text: `${n}: ${text.join(" ")}?`,
        seed: Math.floor(at(stream.seed, 0) * 2 ** 31),
        // some streams end while others run
        maxTokens: Math.max(1, Math.floor(maxTokens * (0.5 + at(stream.length, 1) / 2)))
      })
    }
  })
