/** A decoder on ONNX Runtime's own binding: the cache is in this process, and a step copies its new columns into it. */
import type { Decoder } from "./Decoder.ts"
import { alikeOf, CACHE_BRANCH, type DecoderGraph, type KvValue } from "./DecoderGraph.ts"
import { type DecoderRun, integerInputs, pastLength, sharesPrompts, widthOf } from "./DecoderInputs.ts"
import { type Floats, makeFloats } from "./Floats.ts"
import { type GraphPatch, newColumnsOutput } from "./GraphPatch.ts"
import { fromFloat16 } from "./HalfFloat.ts"
import { KvCache } from "./KvCache.ts"
import { type Feeds, floats, integers, numbersOf, type OnnxSession, truth } from "./OnnxSession.ts"

export interface OnnxDecoderOptions {
  readonly session: OnnxSession
  readonly graph: DecoderGraph
  readonly slots: number
  /** Runs for which the graph was patched to return new columns alone. */
  readonly newColumns: GraphPatch["columns"] | "none"
}

export class OnnxDecoder implements Decoder {
  readonly #session: OnnxSession
  readonly #graph: DecoderGraph
  readonly #newColumns: OnnxDecoderOptions["newColumns"]
  readonly #cache: KvCache
  readonly vocabulary: number
  readonly width: number
  readonly alike: Decoder["alike"]

  constructor({ session, graph, slots, newColumns }: OnnxDecoderOptions) {
    this.#session = session
    this.#graph = graph
    this.#newColumns = newColumns
    this.#cache = new KvCache(graph.kv, slots, graph.kvType)
    this.vocabulary = graph.vocabulary
    this.width = graph.attention === "exact" ? 1 : slots
    this.alike = alikeOf(graph)
    if (!graph.lastLogitsOnly) {
      this.verify = async ({ slot, tokens, from }) => {
        const run = { first: slot, tokens: [tokens], lengths: [from], keep: tokens.length }
        return (await this.#run(run)) ?? new Float32Array(0)
      }
    }
    if (sharesPrompts(graph)) {
      this.begin = async ({ first, prompts }) => {
        const run = { first, tokens: prompts, lengths: prompts.map(() => 0), keep: 1 }
        return (await this.#run(run)) ?? new Float32Array(0)
      }
    }
  }

  readonly prefill: Decoder["prefill"] = async ({ slot, tokens, from, logits }) => {
    const keep = logits ? 1 : 0
    const rows = await this.#run({ first: slot, tokens: [tokens], lengths: [from], keep })
    return rows === null ? null : rows.subarray(rows.length - this.vocabulary)
  }

  readonly begin?: NonNullable<Decoder["begin"]>
  readonly verify?: NonNullable<Decoder["verify"]>

  readonly decode: Decoder["decode"] = async ({ first, tokens, lengths }) => {
    const rows = await this.#run({ first, tokens: tokens.map((token) => [token]), lengths, keep: 1 })
    return rows ?? new Float32Array(0)
  }

  readonly reserve: Decoder["reserve"] = (tokens, used) => this.#cache.reserve(tokens, used)
  readonly read: Decoder["read"] = (slot, from, count) => this.#cache.read(slot, from, count)
  readonly restore: Decoder["restore"] = (slot, from, count, block) => this.#cache.restore(slot, from, count, block)
  readonly swap: Decoder["swap"] = (slot, other) => this.#cache.swap(slot, other)
  readonly copy: Decoder["copy"] = (from, to) => this.#cache.copy(from, to)
  readonly clear: Decoder["clear"] = (slot) => this.#cache.clear(slot)
  readonly close: Decoder["close"] = () => this.#session.release()

  async #run(run: DecoderRun): Promise<Float32Array | null> {
    const past = pastLength(this.#graph, run, this.#cache.capacity)
    const patched = this.#newColumns === "all" || (this.#newColumns === "single" && widthOf(run) === 1)
    const outputOf = (kv: KvValue) => (patched ? newColumnsOutput(kv) : kv.present)
    const outputs = await this.#session.run(this.#feeds(run, past), [
      ...(run.keep > 0 ? ["logits"] : []),
      ...this.#graph.kv.map(outputOf)
    ])
    for (const [index, kv] of this.#graph.kv.entries()) {
      const { data, dims } = numbersOf(outputs, outputOf(kv))
      for (const [row, length] of run.lengths.entries()) {
        const from = patched ? 0 : this.#firstNewColumn(length, past)
        const count = run.tokens[row]?.length ?? 0
        this.#cache.write(index, run.first + row, length, { data, length: dims[2] ?? 0, row, from, count })
      }
    }
    if (run.keep === 0) return null
    const { data } = numbersOf(outputs, "logits")
    return data instanceof Float32Array ? data : fromFloat16(data)
  }

  /** Concatenation puts new columns after all that was given, grouped attention after the sequence's last. */
  #firstNewColumn(length: number, past: number): number {
    return this.#graph.attention === "grouped" ? length : past
  }

  #feeds(run: DecoderRun, past: number): Feeds {
    const rows = run.lengths.length
    const feeds: Record<string, Feeds[string]> = {}
    for (const [name, { data, dims }] of integerInputs(this.#graph, run, past)) feeds[name] = integers(data, dims)
    if (this.#graph.merged) feeds[CACHE_BRANCH] = truth(past > 0)
    // the branch without a cache ignores it, but the runtime wants columns to be there
    const given = this.#graph.merged ? Math.max(1, past) : past
    for (const [index, kv] of this.#graph.kv.entries()) {
      const data =
        past === 0
          ? makeFloats(this.#graph.kvType, rows * kv.heads * given * kv.dimension)
          : this.#past(index, run, past)
      feeds[kv.past] = floats(data, [rows, kv.heads, given, kv.dimension])
    }
    return feeds
  }

  #past(index: number, run: DecoderRun, past: number): Floats {
    return this.#graph.attention === "exact"
      ? this.#cache.gather(index, run.first, past)
      : this.#cache.view(index, run.first, run.lengths.length)
  }
}
