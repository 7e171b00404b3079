/**
 * How sequences are cut into runs where the cut shows in what comes out.
 *
 * Attention sums in another order when it is given one token than when it is given several; multiplications don't care how many rows
 * they have. The last bits that differ mean nothing to a graph that computes in floats, whatever is made of them. A graph that
 * rounds its numbers to 8 bits rounds some of them to the other side, and after a few layers the logits differ by hundredths. So where a
 * text must be the same however often its worker was lost, every token has to be computed in the kind of run that it would always be:
 *
 *     0 ─────── body ──────────── prompt ───────────────────────> completion
 *       whole blocks  the rest (1 to 16)   one token at a time, also when it is computed anew
 *
 * What completions leave in the cache is no beginning for another prompt, which would compute it in blocks.
 */

/** Also of the prefix cache, as in vLLM: what two prompts may have in common beyond their last whole block is little. */
export const BLOCK = 16

/**
 * What a graph takes for alike: `several`: all runs of more than one token (GroupQueryAttention); `blocks`: only runs of whole
 * blocks.
 */
export type Alike = "several" | "blocks"

export interface Grain {
  readonly body: number
  readonly prompt: number
  readonly alike: Alike
}

export const grainOf = (alike: Alike, promptTokens: number): Grain => ({
  body: Math.floor((promptTokens - 1) / BLOCK) * BLOCK,
  prompt: promptTokens,
  alike
})

/** How many tokens the next run takes of a prompt of which `cached` are computed, with room for `budget`; 0: they wait for more room. */
export const runLength = ({ alike, body, prompt }: Grain, cached: number, budget: number): number => {
  const left = prompt - cached
  const restJoins = alike === "several" && prompt - body > 1
  if (left <= budget && (cached >= body || restJoins)) return left
  return cached >= body ? 0 : Math.min(body - cached, Math.floor(budget / BLOCK) * BLOCK)
}
