/** What an engine needs to hold texts to grammars. The vocabulary is gone through when the first of them is asked for. */
import type { Grammar } from "@helixflow/schema/Grammar"
import type { GrammarState } from "./GrammarState.ts"
import { Grammars } from "./Grammars.ts"
import type { TokenBytes } from "./TokenBytes.ts"
import { type TokenMask, TokenMasks } from "./TokenMasks.ts"
import { makeTrie } from "./VocabularyTrie.ts"

/** Grammars that are kept ready. */
const MOST_GRAMMARS = 16

export interface ConstrainedDecodingOptions {
  readonly table: TokenBytes
  /** Width of a row of logits. */
  readonly vocabulary: number
  /** Tokens that end a text, and are none of it. */
  readonly eosTokenIds: ReadonlyArray<number>
}

export class ConstrainedDecoding {
  readonly #options: ConstrainedDecodingOptions
  readonly #grammars = new Grammars(MOST_GRAMMARS)
  #masks: TokenMasks | null = null

  constructor(options: ConstrainedDecodingOptions) {
    this.#options = options
  }

  /** Where a text begins; null without a grammar. Throws an `Error` that says why there can't be such a grammar. */
  startOf(grammar: Grammar | undefined): GrammarState | null {
    return grammar === undefined ? null : this.#grammars.startOf(grammar)
  }

  /** Which tokens may follow. Throws an `Error` where there are too many ways to go on. */
  maskOf(state: GrammarState): TokenMask {
    this.#masks ??= this.#makeMasks()
    return this.#masks.of(state)
  }

  #makeMasks(): TokenMasks {
    const { eosTokenIds, table, vocabulary } = this.#options
    const isText = (id: number) => !table.isSpecial(id) && !eosTokenIds.includes(id)
    return new TokenMasks(makeTrie(table, vocabulary, isText), vocabulary)
  }
}
