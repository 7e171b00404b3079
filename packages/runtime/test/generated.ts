/** What a runtime generates. */
import { GenerationRequest, type Prompt, SamplingOverrides, Stopping } from "@helixflow/schema/Generation"
import { ModelId, SessionId, type TokenId } from "@helixflow/schema/Ids"
import { Chunk, Effect, Mailbox, Stream } from "effect"
import { Runtime } from "../src/Runtime.ts"

let sessions = 0

export const anySession = () => SessionId.make(`s-${++sessions}`)

/** Drawn at random from the seed, and so long whatever is drawn. */
export const drawn = (model: string, prompt: Prompt, { maxTokens = 60, seed = 3 } = {}) =>
  GenerationRequest.make({
    model: ModelId.make(model),
    prompt,
    n: 1,
    sampling: SamplingOverrides.make({
      temperature: 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
      logitBias: {},
      seed
    }),
    stopping: Stopping.make({ maxTokens, minTokens: 0, stop: [], stopTokenIds: [], ignoreEos: true }),
    logprobs: null,
    queueTimeout: 60_000
  })

/** All tokens that are generated after these. */
export const tokensAfter = (tokens: ReadonlyArray<TokenId>, model: string, more: Parameters<typeof drawn>[2] = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { generate } = yield* Runtime
      const events = yield* generate(anySession(), drawn(model, { _tag: "Tokens", tokens }, more))
      const all = Chunk.toReadonlyArray(yield* Stream.runCollect(Mailbox.toStream(events)))
      return all.flatMap((event) => (event._tag === "Delta" ? event.tokens : []))
    })
  )
