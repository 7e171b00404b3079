/** Log probabilities of an emitted token and its likeliest alternatives, under the model itself: before bias, penalties, temperature. */
import { PromptLogprob, TokenLogprob, TopLogprob } from "@helixflow/schema/Generation"
import { TokenId } from "@helixflow/schema/Ids"
import { unchecked } from "@helixflow/schema/Unchecked"
import type { TokenBytes } from "./TokenBytes.ts"
import { greatest } from "./TopLogits.ts"

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

export interface LogprobOptions {
  /** One logit per token. */
  readonly row: Float32Array
  /** The logarithm of the sum of their exponentials. */
  readonly logSumExp: number
  readonly token: number
  /** How many alternatives. */
  readonly count: number
  readonly table: TokenBytes
}

export function tokenLogprob({ row, logSumExp, token, count, table }: LogprobOptions): TokenLogprob {
  const describe = (id: number) => {
    const bytes = table.bytes(id)
    return {
      token: TokenId.make(id, true),
      text: utf8.decode(bytes),
      bytes: [...bytes],
      logprob: (row[id] ?? Number.NEGATIVE_INFINITY) - logSumExp
    }
  }
  // correct by construction; validation would cost more than computing them
  const top = greatest(row, count).map((id) => unchecked(TopLogprob, describe(id)))
  return unchecked(TokenLogprob, { ...describe(token), top })
}

/** The same of a token of the prompt. */
export const promptLogprob = (known: TokenLogprob): PromptLogprob => unchecked(PromptLogprob, known)

/** The first token of a prompt, which nothing foretells. */
export function firstOfPrompt(token: number, table: TokenBytes): PromptLogprob {
  const bytes = table.bytes(token)
  const text = utf8.decode(bytes)
  return unchecked(PromptLogprob, { token: TokenId.make(token, true), text, bytes: [...bytes], logprob: null, top: [] })
}
