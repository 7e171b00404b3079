/** A sequence in the engine: what was asked, how far it has come, and what of it is in the cache. */
import { ContextLengthExceeded, EngineFailed } from "@helixflow/schema/Errors"
import type { PromptLogprob, SequenceRequest } from "@helixflow/schema/Generation"
import { Completion } from "./Completion.ts"
import type { ConstrainedDecoding } from "./ConstrainedDecoding.ts"
import { type Alike, type Grain, grainOf } from "./Grain.ts"
import type { Block } from "./PrefixCache.ts"
import type { PromptLookup } from "./PromptLookup.ts"
import type { Tokenizer } from "./Tokenizer.ts"

export interface Sequence {
  readonly request: SequenceRequest
  readonly completion: Completion
  /** Prompt and completion. */
  readonly tokens: Array<number>
  /** How many of them are in the cache. */
  cached: number
  /** How many of those were computed and not found. */
  computed: number
  /** How it is cut into runs; null: as it suits. */
  readonly grain: Grain | null
  /** Blocks of the prefix cache that count as cached; those from `restored` on are yet to be copied into the slot. */
  prefix: ReadonlyArray<Block>
  restored: number
  /** Guesses what comes next; made when it is first asked. */
  lookup: PromptLookup | null
  /** Those of the prompt so far; null where they aren't wanted, or are told. */
  promptLogprobs: Array<PromptLogprob> | null
  /** Prompt tokens that were found there and not told of yet. */
  found: number
  /** Finished, failed or cancelled: nothing is computed for it or said of it any more, and its slot is free after the step. */
  ended: boolean
}

export const isLive = (sequence: Sequence): boolean => !sequence.ended

/** Whether the first `count` tokens are the same, of the same tenant. */
export const beginAlike = (one: Sequence, other: Sequence, count: number): boolean => {
  if (one.request.cacheSalt !== other.request.cacheSalt || one.tokens.length < count) return false
  for (let index = 0; index < count; index++) if (one.tokens[index] !== other.tokens[index]) return false
  return true
}

export interface SequenceLimits {
  readonly tokenizer: Pick<Tokenizer, "table">
  readonly vocabulary: number
  readonly context: number
  readonly eosTokenIds: ReadonlyArray<number>
  readonly alike: Alike | undefined
  readonly constrained: Pick<ConstrainedDecoding, "startOf">
}

/** Checks the request and rebuilds what an earlier attempt had. Throws `ContextLengthExceeded` and `EngineFailed`. */
export const makeSequence = (request: SequenceRequest, limits: SequenceLimits): Sequence => {
  const { alike, constrained, context, eosTokenIds, tokenizer, vocabulary } = limits
  const { emitted, prompt, stopping } = request
  const fail = (reason: string) => new EngineFailed({ request: request.request, reason })
  const tokens: Array<number> = [...prompt, ...emitted]
  if (prompt.length === 0) throw fail("the prompt has no tokens")
  const unknown = tokens.find((token) => token >= vocabulary)
  if (unknown !== undefined) throw fail(`the token ${unknown} is outside of the vocabulary`)
  if (prompt.length + (stopping.maxTokens ?? 1) > context) {
    throw new ContextLengthExceeded({
      context,
      promptTokens: prompt.length,
      maxTokens: stopping.maxTokens,
      param: "prompt"
    })
  }
  const startOf = ({ grammar }: SequenceRequest) => {
    try {
      return constrained.startOf(grammar)
    } catch (cause) {
      throw fail(`the grammar can't be used: ${cause instanceof Error ? cause.message : String(cause)}`)
    }
  }
  const completion = new Completion({
    stopping,
    eosTokenIds,
    limit: Math.min(stopping.maxTokens ?? context, context - prompt.length),
    table: tokenizer.table,
    prompt,
    grammar: startOf(request)
  })
  for (const token of emitted) completion.push(token)
  const grain = alike === undefined ? null : grainOf(alike, prompt.length)
  return {
    request,
    completion,
    tokens,
    cached: 0,
    computed: 0,
    grain,
    prefix: [],
    restored: 0,
    lookup: null,
    promptLogprobs: request.promptLogprobs === true && emitted.length === 0 ? [] : null,
    found: 0,
    ended: false
  }
}
