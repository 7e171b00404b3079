/**
 * Draws the next token from a row of logits. Order of the steps: logit bias, penalties, grammar, temperature, min_p, top_k, typical_p, top_p,
 * draw; each step sees what those before it have left. Nothing sorts the vocabulary, and ties are broken towards lower ids. Pure but
 * for its scratch memory, which is shared by all sequences of an engine.
 */
import type { Sampling } from "@helixflow/schema/Generation"
import { Candidates } from "./Candidates.ts"
import { uniformAt } from "./CounterRandom.ts"
import type { TokenMask } from "./TokenMasks.ts"

/** What sampling remembers of a sequence. */
export interface SamplingHistory {
  /** How often each token was emitted. */
  readonly emitted: ReadonlyMap<number, number>
  /** Tokens of the prompt; only read with a repetition penalty. */
  readonly prompt: ReadonlySet<number>
}

export interface DrawOptions {
  readonly sampling: Sampling
  /** Which of a request's completions. */
  readonly choice: number
  /** Position of the token in the completion. */
  readonly position: number
  readonly history: SamplingHistory
  /** Tokens that can't be drawn, e.g. the end of the text before `min_tokens`. */
  readonly forbidden: Iterable<number>
  /** What the text's grammar leaves to be drawn; null where it has none. */
  readonly constraint: Constraint | null
}

export interface Constraint {
  readonly mask: TokenMask
  /** Tokens that may follow besides: those that end the text, where it may end. */
  readonly ends: Iterable<number>
}

export class Sampler {
  readonly #candidates: Candidates
  /** Logits that are put back. */
  readonly #kept: Float32Array
  readonly #biases = new WeakMap<Sampling, ReadonlyArray<readonly [id: number, value: number]>>()

  constructor(vocabulary: number) {
    this.#candidates = new Candidates(vocabulary)
    this.#kept = new Float32Array(vocabulary)
  }

  /** The next token. `row`: one logit per token, not changed. Throws `NonFiniteLogits`. */
  draw(row: Float32Array, options: DrawOptions): number {
    const candidates = this.#candidates
    const { minP, seed, temperature, topK, topP, typicalP } = options.sampling
    candidates.logits.set(row)
    this.#adjust(candidates.logits, options)
    const likeliest = candidates.greatest()
    if (temperature === 0) return likeliest
    candidates.weigh({ temperature, minP, topK })
    if (topK > 0) candidates.keepRank(topK)
    if (typicalP < 1) candidates.keepTypical(typicalP)
    if (topP < 1) candidates.keepMass(topP)
    return candidates.pick(uniformAt(seed, options.choice, options.position))
  }

  /** The logarithm of the sum of the exponentials of a row's logits: what makes them log probabilities. Throws `NonFiniteLogits`. */
  logSumExp(row: Float32Array): number {
    const candidates = this.#candidates
    candidates.logits.set(row)
    const greatest = row[candidates.greatest()] ?? 0
    candidates.weigh({ temperature: 1, minP: 0, topK: 0 })
    return greatest + Math.log(candidates.weight)
  }

  /** Applies what changes single logits, and touches no others. */
  #adjust(logits: Float32Array, { constraint, sampling, history, forbidden }: DrawOptions): void {
    const { repetitionPenalty, presencePenalty, frequencyPenalty } = sampling
    for (const [id, value] of this.#biasOf(sampling)) add(logits, id, value)
    if (repetitionPenalty !== 1) {
      for (const id of history.prompt) repel(logits, id, repetitionPenalty)
      for (const id of history.emitted.keys()) if (!history.prompt.has(id)) repel(logits, id, repetitionPenalty)
    }
    if (presencePenalty !== 0 || frequencyPenalty !== 0) {
      for (const [id, count] of history.emitted) add(logits, id, -presencePenalty - frequencyPenalty * count)
    }
    for (const id of forbidden) add(logits, id, Number.NEGATIVE_INFINITY)
    if (constraint !== null) this.#constrain(logits, constraint)
  }

  /** Touches as few logits as the mask names. Throws an `Error` if none is left. */
  #constrain(logits: Float32Array, { ends, mask: { ids, says } }: Constraint): void {
    const ending = [...ends].flatMap((id) => (id < logits.length ? [[id, logits[id] ?? 0] as const] : []))
    if (says === "allowed") {
      if (ids.length === 0 && ending.length === 0) {
        throw new Error("no token of the vocabulary goes on as the grammar does")
      }
      for (let index = 0; index < ids.length; index++) this.#kept[index] = logits[ids[index] ?? 0] ?? 0
      logits.fill(Number.NEGATIVE_INFINITY)
      for (let index = 0; index < ids.length; index++) logits[ids[index] ?? 0] = this.#kept[index] ?? 0
    } else for (let index = 0; index < ids.length; index++) logits[ids[index] ?? 0] = Number.NEGATIVE_INFINITY
    for (const [id, logit] of ending) logits[id] = logit
  }

  /** The logit bias with its ids as numbers: read once, not at every token. */
  #biasOf(sampling: Sampling): ReadonlyArray<readonly [id: number, value: number]> {
    let bias = this.#biases.get(sampling)
    if (bias === undefined) {
      bias = Object.entries(sampling.logitBias).map(([id, value]) => [Number(id), value])
      this.#biases.set(sampling, bias)
    }
    return bias
  }
}

function add(logits: Float32Array, id: number, value: number): void {
  if (id < logits.length) logits[id] = (logits[id] ?? 0) + value
}

/** Moves a logit towards less likely, whatever its sign (Keskar et al. 2019, CTRL). */
function repel(logits: Float32Array, id: number, penalty: number): void {
  const logit = logits[id] ?? 0
  if (id < logits.length) logits[id] = logit > 0 ? logit / penalty : logit * penalty
}
