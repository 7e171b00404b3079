/**
 * The plan of continuous batching: what the next step computes. Data in, data out; the engine carries the plan out.
 *
 * A step prefills at most `chunk` prompt tokens, first come first served, and decodes one token of every sequence whose prompt is in
 * the cache. While prompts wait and running streams may be held up for longer (`rest`), it only prefills, so that what comes at once is
 * decoded together sooner. So:
 * - running streams wait for at most `rest` tokens of prompts between two of their own, however long an arriving prompt is;
 * - short prompts share a step, so that sixteen of them do not take sixteen;
 * - no sequence starves: the oldest unfinished prompt is first in every step, and slots are given in the order of arrival.
 *
 * Assumes that a sequence leaves the cache by itself (its completion ends or it is cancelled).
 */

import { BLOCK, type Grain, runLength } from "./Grain.ts"

/** What the plan needs to know of a sequence. */
export interface SequenceView {
  /** Prompt and completion. */
  readonly tokens: { readonly length: number }
  /** How many of them are in the cache; the next token is known when all are. */
  readonly cached: number
  /** How many of those in the cache were computed for this sequence, and not found. */
  readonly computed: number
  /** How it is cut into runs; absent or null: as it suits. */
  readonly grain?: Grain | null
}

export interface BatchLimits {
  /** Sequences in the cache at once. */
  readonly slots: number
  /** Prompt tokens computed in one step. */
  readonly chunk: number
  /** Prompt tokens computed before running streams get their next token, of which `spent` have been already. */
  readonly rest: number
  readonly spent: number
  /** What is computed before that if it finishes a prompt: in pieces it would hold streams up for longer together. */
  readonly quick: number
}

/**
 * Tokens. A run of fewer costs nearly as much, since it reads the same weights, so a prompt is cut into no smaller pieces than it has to
 * be.
 */
const PIECE = 64

/** `count` tokens of the sequence from the position `from` on. */
export interface PrefillChunk<Sequence> {
  readonly sequence: Sequence
  readonly from: number
  readonly count: number
}

export interface BatchPlan<Sequence> {
  /** Waiting sequences that get a slot, in order. */
  readonly admit: ReadonlyArray<Sequence>
  /** Computed first. */
  readonly prefill: ReadonlyArray<PrefillChunk<Sequence>>
  /** Computed then, together, one token each. */
  readonly decode: ReadonlyArray<Sequence>
}

/**
 * A sequence takes part in the common decode step if only its last token is missing in the cache; or, where the cut shows, if its prompt
 * is there: a completion that is continued goes token by token over what it had.
 */
export const isDecoding = ({ cached, grain, tokens }: SequenceView): boolean =>
  grain == null ? tokens.length - cached === 1 : cached >= grain.prompt

/** Plans a step. `running`: sequences with a slot, in order of arrival; `waiting`: those without, likewise. */
export function planStep<Sequence extends SequenceView>(
  running: ReadonlyArray<Sequence>,
  waiting: ReadonlyArray<Sequence>,
  limits: BatchLimits
): BatchPlan<Sequence> {
  const admit = waiting.slice(0, Math.max(0, limits.slots - running.length))
  const batch = [...running, ...admit]
  const prefill: Array<PrefillChunk<Sequence>> = []
  const ready = batch.filter(isDecoding)
  const prompts = batch.filter((sequence) => !isDecoding(sequence))
  const rest = restOf(prompts[0], limits)
  const allowed = ready.length === 0 ? limits.chunk : Math.min(limits.chunk, rest)
  let budget = allowed
  for (const sequence of prompts) {
    // nobody waits for longer than for this piece
    const isFirst = prefill.length === 0 && (limits.spent === 0 || ready.length === 0)
    const count = runOf(sequence, budget, isFirst)
    if (count === 0) break
    prefill.push({ sequence, from: sequence.cached, count })
    budget -= count
  }
  const left = rest - (allowed - budget)
  const isWaitedFor = left >= PIECE && prefill.length > 0 && prompts.some((prompt) => !isWhole(prompt, prefill))
  const decode = isWaitedFor ? [] : ready
  return { admit, prefill, decode }
}

/** Prompt tokens that may still be computed before running streams get their next token. */
function restOf(oldest: SequenceView | undefined, { quick, rest, spent }: BatchLimits): number {
  const missing = oldest === undefined ? 0 : endOf(oldest) - oldest.cached
  const isQuick = Math.max(spent, oldest?.computed ?? 0) + missing <= quick
  return Math.max(rest - spent, isQuick ? missing : 0)
}

/** Where what is computed as a prompt ends. */
const endOf = ({ grain, tokens }: SequenceView): number => grain?.prompt ?? tokens.length

/** Tokens of the next run of a prompt, or 0. `isFirst`: it is nobody's turn but its own. */
function runOf(sequence: SequenceView, budget: number, isFirst: boolean): number {
  const { cached, grain } = sequence
  const missing = endOf(sequence) - cached
  if (grain == null) return missing <= budget ? missing : pieceOf(missing, budget) || (isFirst ? budget : 0)
  const count = runLength(grain, cached, isFirst ? Math.max(budget, BLOCK) : budget)
  return count < missing && count < PIECE && !isFirst ? 0 : count
}

/** A piece of a prompt of `missing` tokens that leaves none too small, or 0. */
function pieceOf(missing: number, budget: number): number {
  const count = Math.min(budget, missing - PIECE)
  return count < PIECE ? 0 : count
}

/** Whether all that is missing of a prompt is computed. */
const isWhole = <Sequence extends SequenceView>(prompt: Sequence, prefill: ReadonlyArray<PrefillChunk<Sequence>>) =>
  prefill.some(({ count, from, sequence }) => sequence === prompt && from + count === endOf(prompt))
