/** What `helixflow chaos` does, as data that follows from a seed: the same seed asks the same and harms at the same moments. Pure. */
import { uniformAt } from "@helixflow/runtime/CounterRandom"
import type { ChatMessage } from "./ServerClient.ts"

export type Harm = "kill" | "freeze" | "starve"

export interface Blow {
  /** Milliseconds since the load began. */
  readonly at: number
  readonly harm: Harm
  /** Which of the workers that are there then, from 0 to below 1. */
  readonly pick: number
}

export interface Question {
  readonly messages: ReadonlyArray<ChatMessage>
  /** 0: greedy. */
  readonly temperature: number
  readonly seed: number
  readonly maxTokens: number
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

/** Every other one is greedy, the rest are sampled with a seed. */
export const questions = (seed: number, count: number, maxTokens: number): ReadonlyArray<Question> =>
  Array.from({ length: count }, (_, n) => {
    const at = (kind: number, position: number) => uniformAt(seed, kind, n * 1_000 + position)
    const length = 3 + Math.floor(at(stream.length, 0) * 30)
    const text = Array.from({ length }, (_, i) => words[Math.floor(at(stream.words, i) * words.length)] ?? "")
    return {
      messages: [{ role: "user", content: `${n}: ${text.join(" ")}?` }],
      temperature: n % 2 === 0 ? 0 : 1,
      seed: Math.floor(at(stream.seed, 0) * 2 ** 31),
      // some streams end while others run
      maxTokens: Math.max(1, Math.floor(maxTokens * (0.5 + at(stream.length, 1) / 2)))
    }
  })
