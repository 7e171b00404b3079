/**
 * The text engine: sequences join and leave a running batch at every step. Above a {@link Decoder}, which computes logits; the plan
 * of a step is `Batch.ts`, drawing `Sampler.ts`, text and endings `Completion.ts`.
 *
 * A sequence is waiting (no slot), then running (a slot, its tokens going into the cache), then gone. A sequence that continues an
 * earlier attempt puts prompt and emitted tokens into the cache alike; its completion is rebuilt without saying anything.
 *
 * Sequences may be submitted and cancelled while a step awaits its decoder: the former wait, the latter are only marked, and slots
 * change hands by `step` alone, between two computations.
 */
import { EngineFailed, InvalidRequest } from "@helixflow/schema/Errors"
import { TokenBatch } from "@helixflow/schema/Generation"
import { TokenId } from "@helixflow/schema/Ids"
import { unchecked } from "@helixflow/schema/Unchecked"
import { type BatchPlan, isDecoding, type PrefillChunk, planStep } from "./Batch.ts"
import type { Completion } from "./Completion.ts"
import { ConstrainedDecoding } from "./ConstrainedDecoding.ts"
import type { Decoder } from "./Decoder.ts"
import { Drafts } from "./Drafts.ts"
import type { SequenceFailure, TextEngine } from "./Engine.ts"
import { tokenLogprob } from "./Logprobs.ts"
import { PrefillPace, type Waiting } from "./PrefillPace.ts"
import { type Placed, prefillRuns } from "./PrefillRuns.ts"
import type { PrefixCache } from "./PrefixCache.ts"
import { PromptScorer } from "./PromptScorer.ts"
import { type Constraint, Sampler } from "./Sampler.ts"
import { beginAlike, isLive, makeSequence, type Sequence } from "./Sequence.ts"
import { Slots } from "./Slots.ts"
import type { Tokenizer } from "./Tokenizer.ts"

/** Sequences that may wait for a slot. Placing requests is the scheduler's task; this only bounds the memory. */
const MAX_WAITING = 1024

export interface ContinuousBatchingOptions {
  readonly decoder: Decoder
  readonly tokenizer: Tokenizer
  readonly context: number
  readonly slots: number
  readonly eosTokenIds: ReadonlyArray<number>
  readonly prefixCache: PrefixCache
  /** Milliseconds that only ever grow; what takes how long decides how much is computed at once, and never what comes out. */
  readonly now?: () => number
}

export class ContinuousBatching implements TextEngine {
  readonly task = "text-generation"
  readonly limits: TextEngine["limits"]
  readonly isOffThread: boolean
  readonly #options: ContinuousBatchingOptions
  readonly #decoder: Decoder
  readonly #sampler: Sampler
  readonly #constrained: ConstrainedDecoding
  /** Sequences without a slot, in order of arrival. */
  #waiting: Array<Sequence> = []
  /** Sequences with a slot, in order of arrival. */
  #running: Array<Sequence> = []
  readonly #slots: Slots
  /** Whose prompts are being computed right now. */
  #prefilling: ReadonlyArray<Sequence> = []
  readonly #pace = new PrefillPace()
  readonly #drafts: Drafts
  readonly #scorer: PromptScorer
  readonly #now: () => number
  #batches: Array<TokenBatch> = []
  #failures: Array<SequenceFailure> = []

  constructor(options: ContinuousBatchingOptions) {
    this.#options = options
    this.#decoder = options.decoder
    this.isOffThread = options.decoder.isOffThread ?? false
    this.#now = options.now ?? (() => performance.now())
    this.#sampler = new Sampler(options.decoder.vocabulary)
    this.#slots = new Slots(options.decoder, options.prefixCache)
    this.#drafts = new Drafts(options.context)
    this.#scorer = new PromptScorer({ ...options, sampler: this.#sampler, table: options.tokenizer.table })
    this.limits = { vocabulary: options.decoder.vocabulary, context: options.context }
    this.#constrained = new ConstrainedDecoding({
      table: options.tokenizer.table,
      vocabulary: options.decoder.vocabulary,
      eosTokenIds: options.eosTokenIds
    })
  }

  get active(): number {
    return [...this.#waiting, ...this.#running].filter(isLive).length
  }

  get prefixBytes(): number {
    return this.#options.prefixCache.bytes
  }

  readonly tokenize: TextEngine["tokenize"] = (prompt) => this.#options.tokenizer.encode(prompt)
  readonly detokenize: TextEngine["detokenize"] = (tokens) => this.#options.tokenizer.decode(tokens)
  readonly close: TextEngine["close"] = () => this.#decoder.close()

  readonly submit: TextEngine["submit"] = (request) => {
    const earlier = this.#find(request.request)
    if (earlier !== undefined && earlier.request.epoch >= request.epoch) return
    if (request.promptLogprobs && this.#decoder.verify === undefined) {
      throw new InvalidRequest({
        reason: "This model gives no log probabilities of the tokens of a prompt: it computes those of the next alone.",
        param: "echo",
        code: "unsupported_value"
      })
    }
    if (this.#waiting.length >= MAX_WAITING) {
      throw new EngineFailed({ request: request.request, reason: `${MAX_WAITING} sequences wait already` })
    }
    const sequence = makeSequence(request, {
      ...this.#options,
      vocabulary: this.limits.vocabulary,
      alike: this.#decoder.alike,
      constrained: this.#constrained
    })
    if (earlier !== undefined) this.#end(earlier)
    this.#waiting.push(sequence)
  }

  readonly cancel: TextEngine["cancel"] = (request) => {
    const sequence = this.#find(request)
    if (sequence !== undefined) this.#end(sequence)
  }

  readonly step: TextEngine["step"] = async () => {
    this.#batches = []
    this.#failures = []
    this.#sweep()
    this.#endRebuilt()
    const plan = this.#plan()
    const waiting = this.#waitingNow()
    this.#admit(plan.admit)
    this.#slots.reserve()
    this.#slots.restorePrefixes()
    const started = this.#now()
    for (const run of this.#prefillRuns(plan)) await this.#prefillTogether(run)
    const decoding = this.#now()
    const tokens = plan.prefill.reduce((sum, { count }) => sum + count, 0)
    this.#pace.observePrompts({ tokens, millis: decoding - started }, waiting)
    await this.#decode(plan.decode.filter(isLive))
    if (plan.decode.length > 0) this.#pace.observeStreams(this.#now() - decoding)
    this.#sweep()
    return { batches: this.#batches, failures: this.#failures }
  }

  /** What is computed next. Beginnings are looked up at every turn of a prompt: what others computed until then is found too. */
  #plan(): BatchPlan<Sequence> {
    const { slots } = this.#options
    for (;;) {
      const limits = {
        slots,
        chunk: this.#pace.chunk,
        rest: this.#pace.rest(this.#waitingNow()),
        quick: this.#pace.quick,
        spent: this.#pace.spent
      }
      const plan = planStep(this.#running, this.#waiting, limits)
      const jumped = plan.prefill.filter(({ sequence }) => this.#slots.lookUp(sequence))
      if (jumped.length === 0) return { ...plan, prefill: this.#withoutCommon(plan.prefill) }
    }
  }

  /** Who waits: streams for their next token, and prompts that have a slot or will have one at this step. */
  #waitingNow(): Waiting {
    const streams = this.#running.filter(isDecoding).length
    const admitted = Math.min(this.#waiting.length, this.#options.slots - this.#running.length)
    return { streams, prompts: this.#running.length - streams + admitted }
  }

  /** Leaves prompts for the next step that will find their beginning then, because an earlier one computes it in this. */
  #withoutCommon(prefill: BatchPlan<Sequence>["prefill"]): BatchPlan<Sequence>["prefill"] {
    const { blockTokens, isOff } = this.#options.prefixCache
    if (isOff) return prefill
    return prefill.filter(({ sequence, from }, index) => {
      if (sequence.promptLogprobs !== null) return true
      const end = (Math.floor(from / blockTokens) + 1) * blockTokens
      return !prefill.slice(0, index).some((earlier) => beginAlike(sequence, earlier.sequence, end))
    })
  }

  #find(request: string): Sequence | undefined {
    return [...this.#waiting, ...this.#running].find(
      (sequence) => isLive(sequence) && sequence.request.request === request
    )
  }

  /** Ends a sequence that nobody wants any more, at once where its prompt alone is what is being computed. */
  #end(sequence: Sequence): void {
    sequence.ended = true
    if (this.#prefilling.includes(sequence) && !this.#prefilling.some(isLive)) this.#decoder.abort?.()
  }

  /** Ends sequences whose earlier attempt had all tokens already: only the finish is left to be said. */
  #endRebuilt(): void {
    for (const sequence of this.#waiting) {
      if (sequence.completion.finish !== null) this.#report(sequence, { tokens: [], text: "", logprobs: null })
    }
    this.#waiting = this.#waiting.filter(isLive)
  }

  #admit(sequences: ReadonlyArray<Sequence>): void {
    this.#waiting = this.#waiting.slice(sequences.length)
    this.#running.push(...sequences)
    this.#slots.admit(sequences)
  }

  /** What is computed of prompts, run by run. */
  #prefillRuns({ prefill }: BatchPlan<Sequence>): ReadonlyArray<ReadonlyArray<Placed<Sequence>>> {
    const placed = prefill.map((chunk) => ({
      chunk,
      slot: this.#slots.indexOf(chunk.sequence),
      // a single token is computed in another kind of run than several, and so is a prompt whose tokens have log probabilities
      joins:
        this.#decoder.begin !== undefined &&
        chunk.sequence.promptLogprobs === null &&
        chunk.count > 1 &&
        chunk.count === chunk.sequence.tokens.length
    }))
    return prefillRuns(placed.sort((one, other) => one.slot - other.slot))
  }

  async #prefillTogether(run: ReadonlyArray<Placed<Sequence>>): Promise<void> {
    const { vocabulary } = this.limits
    const [first] = run
    if (first !== undefined && run.length > 1) {
      this.#prefilling = run.map(({ chunk }) => chunk.sequence)
      try {
        const prompts = this.#prefilling.map(({ tokens }) => tokens)
        const rows = await this.#decoder.begin?.({ first: first.slot, prompts })
        for (const [index, { chunk, slot }] of run.entries()) {
          this.#hasComputed(chunk, slot, rows?.subarray(index * vocabulary, (index + 1) * vocabulary) ?? null)
        }
        return
      } catch {
        // the runtime doesn't say whose fault it was: each is tried alone, so that the others go on
      } finally {
        this.#prefilling = []
      }
    }
    for (const { chunk } of run) await this.#prefill(chunk)
  }

  /** Counts what was computed of a prompt, and draws the token that follows its last. */
  #hasComputed({ sequence, count }: PrefillChunk<Sequence>, slot: number, row: Float32Array | null): void {
    sequence.cached += count
    sequence.computed += count
    if (row === null) return
    this.#accept(sequence, row)
    // only now: had its numbers been broken, nothing would count as cached
    this.#slots.keepPrefix(sequence, slot)
  }

  async #prefill({ sequence, from, count }: PrefillChunk<Sequence>): Promise<void> {
    if (sequence.ended) return
    const last = from + count === sequence.tokens.length
    const slot = this.#slots.indexOf(sequence)
    this.#prefilling = [sequence]
    try {
      const tokens = sequence.tokens.slice(from, from + count)
      const row =
        sequence.promptLogprobs === null
          ? await this.#decoder.prefill({ slot, tokens, from, logits: last })
          : await this.#scorer.score(sequence, { slot, tokens, from })
      this.#hasComputed({ sequence, from, count }, slot, last ? row : null)
    } catch (cause) {
      this.#fail(sequence, cause)
    } finally {
      this.#prefilling = []
    }
  }

  /** Computes the next token of sequences with a slot, at most `width` at a time. */
  async #decode(sequences: ReadonlyArray<Sequence>): Promise<void> {
    const [only] = sequences
    if (only !== undefined && sequences.length === 1) return this.#decodeAlone(only)
    this.#slots.arrange(new Set(sequences))
    for (let first = 0; first < sequences.length; first += this.#decoder.width) {
      await this.#decodeSlots(first, Math.min(this.#decoder.width, sequences.length - first))
    }
  }

  /** A stream that runs alone leaves the machine room to check guesses in the time of a step. */
  async #decodeAlone(sequence: Sequence): Promise<void> {
    const draft = this.#decoder.verify === undefined ? [] : this.#drafts.of(sequence)
    const started = this.#now()
    const before = sequence.cached
    if (draft.length > 0) await this.#verify(sequence, draft)
    else await this.#decodeSlots(this.#slots.indexOf(sequence), 1)
    this.#drafts.observe(this.#now() - started, sequence.cached - before, draft.length > 0)
  }

  /** Computes the last token and the guesses after it at once, and keeps what would have been drawn anyway. */
  async #verify(sequence: Sequence, draft: ReadonlyArray<number>): Promise<void> {
    const { vocabulary } = this.limits
    const slot = this.#slots.indexOf(sequence)
    try {
      const tokens = [sequence.tokens.at(-1) ?? 0, ...draft]
      const rows = await this.#decoder.verify?.({ slot, tokens, from: sequence.cached })
      if (rows === undefined) return
      for (let index = 0; index < tokens.length && !sequence.ended; index++) {
        sequence.cached++
        this.#accept(sequence, rows.subarray(index * vocabulary, (index + 1) * vocabulary))
        if (sequence.tokens.at(-1) !== draft[index]) return
      }
    } catch (cause) {
      this.#fail(sequence, cause)
    }
  }

  async #decodeSlots(first: number, count: number): Promise<void> {
    const sequences = this.#slots.range(first, count)
    try {
      const rows = await this.#decoder.decode({
        first,
        tokens: sequences.map(({ cached, tokens }) => tokens[cached] ?? 0),
        lengths: sequences.map(({ cached }) => cached)
      })
      for (const [index, sequence] of sequences.entries()) {
        sequence.cached++
        // what an earlier attempt said is known already
        if (sequence.cached < sequence.tokens.length) continue
        this.#accept(sequence, rows.subarray(index * this.limits.vocabulary, (index + 1) * this.limits.vocabulary))
      }
    } catch (cause) {
      // the runtime doesn't say whose fault it was: each is tried alone, so that the others go on
      if (count > 1) for (let slot = first; slot < first + count; slot++) await this.#decodeSlots(slot, 1)
      else for (const sequence of sequences) this.#fail(sequence, cause)
    }
  }

  /** Draws the next token from its logits. */
  #accept(sequence: Sequence, row: Float32Array): void {
    const { request, completion } = sequence
    if (sequence.ended) return
    try {
      const { sampling, choice } = request
      const { forbidden, length: position } = completion
      const constraint = this.#constraintOf(completion)
      const token = this.#sampler.draw(row, { sampling, choice, position, history: completion, forbidden, constraint })
      const logprobs = this.#logprobs(sequence, row, token)
      sequence.tokens.push(token)
      this.#report(sequence, { tokens: [token], text: completion.push(token), logprobs })
    } catch (cause) {
      this.#fail(sequence, cause)
    }
  }

  #constraintOf({ endTokens, grammar }: Completion): Constraint | null {
    if (grammar === null) return null
    return { mask: this.#constrained.maskOf(grammar), ends: grammar.mayEnd ? endTokens : [] }
  }

  /** The log probability of a drawn token, if it is wanted; none of a token that ends the text, which isn't shown either. */
  #logprobs({ completion, request }: Sequence, row: Float32Array, token: number): TokenBatch["logprobs"] {
    const { logprobs: count } = request
    if (count === null) return null
    if (completion.isEnd(token)) return []
    const { table } = this.#options.tokenizer
    return [tokenLogprob({ row, logSumExp: this.#sampler.logSumExp(row), token, count, table })]
  }

  #report(
    sequence: Sequence,
    { tokens, text, logprobs }: { tokens: ReadonlyArray<number> } & Pick<TokenBatch, "text" | "logprobs">
  ): void {
    const { request, completion } = sequence
    const batch = {
      request: request.request,
      epoch: request.epoch,
      seq: completion.length - tokens.length,
      // ids of this vocabulary by construction
      tokens: tokens.map((token) => TokenId.make(token, true)),
      text,
      logprobs,
      ...(sequence.promptLogprobs !== null && { promptLogprobs: sequence.promptLogprobs }),
      finish: completion.finish,
      cachedTokens: sequence.found
    }
    sequence.found = 0
    sequence.promptLogprobs = null
    // an instance, because a plain object would be validated when it is sent: 2.5 times the cost of sending it
    this.#batches.push(unchecked(TokenBatch, batch))
    if (completion.finish !== null) sequence.ended = true
  }

  #fail(sequence: Sequence, cause: unknown): void {
    if (sequence.ended) return
    const { request, epoch } = sequence.request
    sequence.ended = true
    this.#slots.clear(sequence)
    this.#failures.push({ request, epoch, reason: cause instanceof Error ? cause.message : String(cause) })
  }

  #sweep(): void {
    this.#slots.sweep()
    this.#running = this.#running.filter(isLive)
    this.#waiting = this.#waiting.filter(isLive)
  }
}
