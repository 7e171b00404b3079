/** Sequences as tests give them to a text engine, and what comes of them. */
import { Sampling, SequenceRequest, Stopping, type TokenLogprob } from "@helixflow/schema/Generation"
import { RequestId, type TokenId } from "@helixflow/schema/Ids"
import { expect } from "vitest"
import type { StepResult, TextEngine } from "../src/Engine.ts"

export const greedy = Sampling.make({
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  logitBias: {},
  seed: 0
})

export const stopping = (options: Partial<Stopping> = {}) =>
  Stopping.make({ maxTokens: 24, minTokens: 0, stop: [], stopTokenIds: [], ignoreEos: false, ...options })

type SequenceOptions = Partial<Omit<SequenceRequest, "request">>

export const sequence = (request: string, prompt: ReadonlyArray<TokenId>, options: SequenceOptions = {}) =>
  SequenceRequest.make({
    request: RequestId.make(request),
    epoch: 0,
    choice: 0,
    prompt,
    emitted: [],
    sampling: greedy,
    stopping: stopping(),
    logprobs: null,
    ...options
  })

/** What a sequence has said. */
export interface Transcript {
  tokens: Array<TokenId>
  text: string
  /** The text that came with each token. */
  pieces: Array<string>
  finish: "stop" | "length" | null
  logprobs: Array<TokenLogprob>
}

export const emptyTranscript = (): Transcript => ({ tokens: [], text: "", pieces: [], finish: null, logprobs: [] })

/** Steps until nothing is left to do, and puts together what was said of each sequence. */
export async function drain(engine: TextEngine, between: (step: number, result: StepResult) => void = () => {}) {
  const transcripts = new Map<string, Transcript>()
  const failures = new Map<string, string>()
  for (let step = 0; engine.active > 0; step++) {
    const result = await engine.step()
    for (const { request, reason } of result.failures) failures.set(request, reason)
    for (const { request, seq, tokens, text, logprobs, finish } of result.batches) {
      const transcript = transcripts.get(request) ?? emptyTranscript()
      transcripts.set(request, transcript)
      expect(transcript.finish).toBeNull()
      if (transcript.tokens.length > 0) expect(seq).toBeGreaterThan(0)
      transcript.tokens.push(...tokens)
      transcript.text += text
      transcript.pieces.push(text)
      transcript.finish = finish
      transcript.logprobs.push(...(logprobs ?? []))
    }
    between(step, result)
  }
  return { transcripts, failures }
}
