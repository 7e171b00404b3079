/**
 * A model whose every token is a function of the prompt, the seed, the choice and the position, and which says no more of them than it
 * is let: for tests of what stands between a model and its clients. Its scheduler is the real one.
 */
import { Fleet } from "@helixflow/scheduler/Fleet"
import * as MemoryFleet from "@helixflow/scheduler/MemoryFleet"
import * as Scheduler from "@helixflow/scheduler/SchedulerActor"
import { ModelNotFound } from "@helixflow/schema/Errors"
import { GenerationRequest, SamplingOverrides, Stopping, TokenBatch } from "@helixflow/schema/Generation"
import { type SessionId, TokenId } from "@helixflow/schema/Ids"
import { ModelActor } from "@helixflow/schema/ModelActor"
import { SchedulerActor } from "@helixflow/schema/SchedulerActor"
import { SessionActor } from "@helixflow/schema/SessionActor"
import { Deferred, Effect, FiberId, Option, Stream } from "effect"
import { Conversations } from "../src/Conversations.ts"
import * as InProcess from "../src/InProcess.ts"
import * as Quarantine from "../src/Quarantine.ts"
import * as Session from "../src/SessionActor.ts"
import type { HostedSession } from "../src/Sessions.ts"
import { SharedTrials } from "../src/SharedTrials.ts"
import { device, spec } from "./smallModel.ts"

/** What a prompt of this text is computed to be found in a cache of. */
export const cachedTokens = 2

export const requestOf = (text: string, { maxTokens = 20, n = 1, seed = 7 } = {}): GenerationRequest =>
  GenerationRequest.make({
    model: spec.id,
    prompt: { _tag: "Text", text, addSpecialTokens: true },
    n,
    sampling: SamplingOverrides.make({ presencePenalty: 0, frequencyPenalty: 0, logitBias: {}, seed }),
    stopping: Stopping.make({ maxTokens, minTokens: 0, stop: [], stopTokenIds: [], ignoreEos: true }),
    logprobs: null,
    queueTimeout: 60_000
  })

/** No token of this prompt's fits where sessions are kept. */
export const unwritable = "unwritable"

const tokensOf = (text: string) =>
  text === unwritable ? [TokenId.make(2 ** 40)] : [...text].map((letter) => TokenId.make(letter.charCodeAt(0)))

/** One server's worth of sessions on this model. */
export const make = Effect.gen(function* () {
  let limit = Number.POSITIVE_INFINITY
  let prefills = 0
  let actors = 0
  let begun = 0
  const waiting = new Set<{ readonly position: number; readonly let: Deferred.Deferred<void> }>()

  const permitted = (position: number) =>
    Effect.suspend(() => {
      if (position < limit) return Effect.void
      const one = { position, let: Deferred.unsafeMake<void>(FiberId.none) }
      waiting.add(one)
      return Effect.ensuring(
        Deferred.await(one.let),
        Effect.sync(() => waiting.delete(one))
      )
    })

  const memory = MemoryFleet.make([device], [spec])
  const scheduler = yield* InProcess.host(
    SchedulerActor,
    Scheduler.handlers.pipe(Effect.provideService(Fleet, memory.fleet)),
    { name: "scheduler" }
  )
  yield* scheduler.Observe(memory.news())
  const unasked = () => Effect.dieMessage("nobody asks this here")
  const replica = yield* InProcess.host(
    ModelActor,
    Effect.succeed(
      ModelActor.of({
        Load: unasked,
        Detokenize: unasked,
        Embed: unasked,
        Classify: unasked,
        Preempt: unasked,
        Drain: unasked,
        Unload: unasked,
        Status: unasked,
        Watch: () => Stream.die("nobody asks this here"),
        Tokenize: ({ prompt }) => Effect.succeed({ tokens: prompt._tag === "Text" ? tokensOf(prompt.text) : [] }),
        Generate: ({ choice, emitted, epoch, prompt, request, sampling, stopping }) => {
          const first = prefills++ === 0
          const start = prompt.reduce((sum, token) => sum + token, sampling.seed + 17 * choice)
          const length = stopping.maxTokens ?? 20
          return Stream.unfoldEffect(emitted.length, (position) => {
            if (position >= length) return Effect.succeedNone
            const token = TokenId.make(3 + ((start + 7 * position) % 40))
            const batch = new TokenBatch({
              request,
              epoch,
              seq: position,
              tokens: [token],
              text: `${token} `,
              logprobs: null,
              finish: position === length - 1 ? "length" : null,
              cachedTokens: first && position === 0 ? cachedTokens : 0
            })
            return Effect.as(permitted(position), Option.some([batch, position + 1] as const))
          })
        }
      })
    ),
    { name: "replica" }
  )

  const conversations = new Conversations()
  const quarantine = Quarantine.make({ millis: 1_000, entries: 10 })
  return {
    /** Lets each sequence come to so many tokens. */
    allow: (tokens: number) =>
      Effect.sync(() => {
        limit = tokens
        for (const one of waiting) if (one.position < tokens) Deferred.unsafeDone(one.let, Effect.void)
      }),
    /** Actors of sessions that are there, and that ever were. */
    actors: () => actors,
    begun: () => begun,
    host: (session: SessionId, kept: HostedSession) =>
      Effect.zipRight(
        Effect.acquireRelease(
          Effect.sync(() => {
            actors++
            begun++
          }),
          () => Effect.sync(() => void actors--)
        ),
        InProcess.host(
          SessionActor,
          Session.make({
            session,
            scheduler: Effect.succeed(scheduler),
            replica: () => Effect.succeed(replica),
            model: (name) =>
              name === spec.id ? Effect.succeed(spec) : Effect.fail(new ModelNotFound({ model: name })),
            continuation: { attempts: 10, millis: 60_000, totalMillis: 600_000 },
            isolation: {
              alone: (_, use) => use(Option.none()),
              trials: new SharedTrials(),
              crashedOn: () => undefined,
              cells: Effect.succeed([])
            },
            quarantine,
            conversations,
            ...kept
          }),
          { name: session }
        )
      )
  }
})
