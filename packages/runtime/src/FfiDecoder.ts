/**
 * A decoder on ONNX Runtime's C API: nothing is copied out of the runtime, the event loop goes on during a step, and a step can be
 * stopped. Grouped attention writes new keys and values into the cache itself; other graphs return them as the outputs that
 * `GraphPatch.ts` adds.
 */
import type { Decoder } from "./Decoder.ts"
import { alikeOf, type DecoderGraph, type KvValue } from "./DecoderGraph.ts"
import {
  type DecoderRun,
  integerInputs,
  logitsPerRow,
  logitsShape,
  pastLength,
  sharesPrompts,
  widthOf
} from "./DecoderInputs.ts"
import { type Floats, makeFloats } from "./Floats.ts"
import { newColumnsOutput } from "./GraphPatch.ts"
import { fromFloat16 } from "./HalfFloat.ts"
import { KvCache } from "./KvCache.ts"
import type { OrtSession, OrtTensor, TensorScope } from "./OrtSession.ts"

export interface FfiDecoderOptions {
  readonly session: OrtSession
  /** As it was loaded. If it is not `grouped`, the session's graph is patched. */
  readonly graph: DecoderGraph
  readonly slots: number
}

export class FfiDecoder implements Decoder {
  readonly #session: OrtSession
  readonly #graph: DecoderGraph
  readonly #cache: KvCache
  /** Past and present are the same memory. */
  readonly #inPlace: boolean
  /** Tensors over slots of the cache, for as long as it stays where it is. */
  readonly #views = new Map<string, OrtTensor>()
  readonly #viewScope: TensorScope
  /** Memory that the runtime computes into, grown as needed. */
  #logits: Floats
  #columns: Floats
  readonly vocabulary: number
  readonly width: number
  readonly alike: Decoder["alike"]

  constructor({ session, graph, slots }: FfiDecoderOptions) {
    this.#session = session
    this.#graph = graph
    this.#cache = new KvCache(graph.kv, slots, graph.kvType)
    this.#logits = makeFloats(graph.logitsType, 0)
    this.#columns = makeFloats(graph.kvType, 0)
    this.#inPlace = graph.attention === "grouped"
    this.#viewScope = session.scope()
    this.vocabulary = graph.vocabulary
    this.width = graph.attention === "exact" ? 1 : slots
    this.alike = alikeOf(graph)
    if (!graph.lastLogitsOnly) {
      this.verify = ({ slot, tokens, from }) =>
        this.#run({ first: slot, tokens: [tokens], lengths: [from], keep: tokens.length })
    }
    if (sharesPrompts(graph)) {
      this.begin = ({ first, prompts }) => this.#run({ first, tokens: prompts, lengths: prompts.map(() => 0), keep: 1 })
    }
  }

  readonly prefill: Decoder["prefill"] = async ({ slot, tokens, from, logits }) => {
    const keep = logits ? 1 : 0
    const rows = await this.#run({ first: slot, tokens: [tokens], lengths: [from], keep })
    return logits ? rows.subarray(rows.length - this.vocabulary) : null
  }

  readonly begin?: NonNullable<Decoder["begin"]>
  readonly verify?: NonNullable<Decoder["verify"]>

  readonly decode: Decoder["decode"] = ({ first, tokens, lengths }) =>
    this.#run({ first, tokens: tokens.map((token) => [token]), lengths, keep: 1 })

  readonly reserve: Decoder["reserve"] = (tokens, used) => {
    const capacity = this.#cache.capacity
    this.#cache.reserve(tokens, used)
    if (this.#cache.capacity !== capacity) this.#releaseViews()
  }

  readonly read: Decoder["read"] = (slot, from, count) => this.#cache.read(slot, from, count)
  readonly restore: Decoder["restore"] = (slot, from, count, block) => this.#cache.restore(slot, from, count, block)
  readonly swap: Decoder["swap"] = (slot, other) => this.#cache.swap(slot, other)
  readonly copy: Decoder["copy"] = (from, to) => this.#cache.copy(from, to)
  readonly clear: Decoder["clear"] = (slot) => this.#cache.clear(slot)
  readonly isOffThread = true
  readonly abort = () => this.#session.abort()

  readonly close: Decoder["close"] = async () => {
    await this.#session.release()
    this.#releaseViews()
  }

  /** A row of logits for each new token, or for the last ones alone where the graph can do that; none if none are wanted. */
  async #run(run: DecoderRun): Promise<Float32Array> {
    const rows = run.lengths.length
    const width = widthOf(run)
    const past = this.#inPlace ? this.#cache.capacity : pastLength(this.#graph, run, this.#cache.capacity)
    const inputs = new Map<string, OrtTensor>()
    const outputs = new Map<string, OrtTensor>()
    const scope = this.#session.scope()
    try {
      for (const [name, { data, dims }] of integerInputs(this.#graph, run, past)) {
        inputs.set(name, scope.tensor(data, dims))
      }
      const columns = this.#inPlace ? [] : this.#columnsOf(rows * width)
      for (const [index, kv] of this.#graph.kv.entries()) {
        const given = this.#past({ index, kv, run, past, scope })
        const data = columns[index]
        inputs.set(kv.past, given)
        if (data === undefined) outputs.set(kv.present, given)
        else outputs.set(newColumnsOutput(kv), scope.tensor(data, [rows, kv.heads, width, kv.dimension]))
      }
      const isWanted = run.keep > 0
      const counted = logitsPerRow(this.#graph, run)
      const logits = this.#logitsOf(isWanted ? rows * counted : 0)
      if (isWanted) outputs.set("logits", scope.tensor(logits, logitsShape(this.#graph, rows, counted)))
      await this.#session.run(inputs, outputs)
      for (const [index, data] of columns.entries()) this.#append(index, run, data)
      return logits instanceof Float32Array ? logits : fromFloat16(logits)
    } finally {
      scope.release()
    }
  }

  /** The keys or values that the run's sequences have. */
  #past({ index, kv, run, past, scope }: PastOptions): OrtTensor {
    const dims = [run.lengths.length, kv.heads, past, kv.dimension]
    if (past === 0) return scope.tensor(makeFloats(this.#graph.kvType, 0), dims)
    if (this.#graph.attention === "exact") return scope.tensor(this.#cache.gather(index, run.first, past), dims)
    const key = `${index} ${run.first} ${run.lengths.length}`
    const known = this.#views.get(key)
    if (known !== undefined) return known
    const view = this.#viewScope.tensor(this.#cache.view(index, run.first, run.lengths.length), dims)
    this.#views.set(key, view)
    return view
  }

  #releaseViews(): void {
    this.#views.clear()
    this.#viewScope.release()
  }

  #append(index: number, run: DecoderRun, data: Floats): void {
    const length = widthOf(run)
    for (const [row, position] of run.lengths.entries()) {
      const count = run.tokens[row]?.length ?? 0
      this.#cache.write(index, run.first + row, position, { data, length, row, from: 0, count })
    }
  }

  /** Room for `tokens` new columns of each layer's keys and values. */
  #columnsOf(tokens: number): ReadonlyArray<Floats> {
    const sizes = this.#graph.kv.map(({ heads, dimension }) => tokens * heads * dimension)
    const total = sizes.reduce((sum, size) => sum + size, 0)
    if (this.#columns.length < total) this.#columns = makeFloats(this.#graph.kvType, total)
    let end = 0
    return sizes.map((size) => {
      end += size
      return this.#columns.subarray(end - size, end)
    })
  }

  /** Room for rows of logits. */
  #logitsOf(rows: number): Floats {
    const size = rows * this.vocabulary
    if (this.#logits.length < size) this.#logits = makeFloats(this.#graph.logitsType, size)
    return this.#logits.subarray(0, size)
  }
}

interface PastOptions {
  readonly index: number
  readonly kv: KvValue
  readonly run: DecoderRun
  /** Columns that are given. */
  readonly past: number
  readonly scope: TensorScope
}
