/**
 * The behaviour of a session: one request of a client, from its prompt to its last token, across as many workers as it takes.
 *
 *     idle -- Ask, Resume --> running -- all choices finished, an error, or Cancel --> ended
 *       ^                        |
 *       +---- nobody listens ----+   or ended, or running: see `whenUnheard`
 *
 * It keeps the prompt's token ids, every emitted id and every event, so that a lost worker costs a pause and a reader who comes
 * back misses nothing. An idle session that was asked before goes on where it was.
 */
import { Cancelled, ContextLengthExceeded, InvalidRequest, ModelReplaced, WorkerLost } from "@helixflow/schema/Errors"
import { GenerationRequest, type Sampling, type TokenBatch, Usage } from "@helixflow/schema/Generation"
import { RequestId, type TokenId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import type { ModelActor } from "@helixflow/schema/ModelActor"
import {
  Completed,
  Delta,
  SessionActor,
  type SessionError,
  type SessionEvent,
  Started,
  Waiting
} from "@helixflow/schema/SessionActor"
import { unchecked } from "@helixflow/schema/Unchecked"
import { Cause, Deferred, Effect, Exit, Fiber, type Mailbox, Scope, Struct } from "effect"
import type { ClientOf } from "./Actor.ts"
import * as Attempts from "./Attempts.ts"
import { keyOf } from "./Conversations.ts"
import type { Subject } from "./Quarantine.ts"
import * as SequenceProgress from "./SequenceProgress.ts"
import * as SessionRecord from "./SessionRecord.ts"
import * as StreamMailbox from "./StreamMailbox.ts"
import { Attribute, byAttributes, continuationDuration } from "./Telemetry.ts"
import * as UndividedWork from "./UndividedWork.ts"

export interface SessionOptions extends UndividedWork.WorkOptions {
  /** What it has been so far, perhaps elsewhere; it is kept up to date. */
  readonly record?: SessionRecord.SessionRecord
  /** Called after every change of the record. */
  readonly changed?: () => void
  /** What becomes of a generation when its last subscriber leaves: cancelled, unless said otherwise. */
  readonly whenUnheard?: WhenUnheard
}

/** `rest`: its place is given back, and it goes on when a subscriber comes. `continue`: it goes on to its end. */
export type WhenUnheard = "cancel" | "rest" | "continue"

/** Tokens that a suspect must add alone: whatever kills a worker does it where the last one died, or soon after. */
const proof = 8

const observeContinuation = byAttributes(continuationDuration, [Attribute.responseModel])

type Life =
  | { readonly _tag: "idle" }
  | { readonly _tag: "running"; readonly fiber: Fiber.RuntimeFiber<void, SessionError> }
  | { readonly _tag: "ended"; readonly exit: Exit.Exit<void, SessionError> }

export const make = Effect.fnUntraced(function* (options: SessionOptions) {
  const { changed = () => undefined, record = SessionRecord.make(), session, whenUnheard = "cancel" } = options
  const scope = yield* Effect.scope
  const log = record.events
  const subscribers = new Set<StreamMailbox.Inlet<SessionEvent, SessionError>>()
  let life: Life = record.exit === null ? { _tag: "idle" } : { _tag: "ended", exit: record.exit }
  let prompt = record.prompt
  const wasRestored = prompt.length > 0
  let choices = SessionRecord.progressOf(record)
  let cachedTokens = SessionRecord.cachedTokensOf(record)
  /** How often it has begun to generate here: what it asks for is named anew each time. */
  let runs = 0
  let resting = false

  const publish = (event: SessionEvent) => {
    log.push(event)
    for (const subscriber of subscribers) subscriber.offer(event)
    changed()
  }

  const end = (exit: Exit.Exit<void, SessionError>) => {
    life = { _tag: "ended", exit }
    record.exit = exit
    for (const subscriber of subscribers) subscriber.done(exit)
    subscribers.clear()
    changed()
  }

  const stop = Effect.suspend(() => (life._tag === "running" ? Fiber.interrupt(life.fiber) : Effect.void))

  const unheard = Effect.suspend(() => {
    if (whenUnheard === "continue") return Effect.void
    resting = whenUnheard === "rest" && life._tag === "running"
    return stop
  })

  /** The events after `after`, past and to come. */
  const subscribe = (after: number): Effect.Effect<Mailbox.Mailbox<SessionEvent, SessionError>, never, Scope.Scope> =>
    Effect.uninterruptible(
      Effect.gen(function* () {
        const inlet = yield* StreamMailbox.inlet<SessionEvent, SessionError>()
        inlet.mailbox.unsafeOfferAll(log.slice(after + 1))
        if (life._tag === "ended") inlet.done(life.exit)
        else subscribers.add(inlet)
        yield* Scope.addFinalizer(
          yield* Effect.scope,
          Effect.suspend(() => (subscribers.delete(inlet) && subscribers.size === 0 ? unheard : Effect.void))
        )
        return inlet.mailbox
      })
    )

  const withReplica = Attempts.make(options)

  /** How a choice waits for a place. */
  const waitOf = (request: GenerationRequest, choice: number): Attempts.Wait => ({
    conversation: request.conversation,
    timeoutMillis: request.queueTimeout,
    caller: request.caller,
    ...(request.progress && {
      onProgress: (news) => publish(new Waiting({ seq: log.length, choice, ...news }, { disableValidation: true }))
    })
  })

  /** One choice, on one replica after the other until it is finished. */
  const runChoice = (
    request: GenerationRequest,
    model: ModelSpec,
    sampling: Sampling,
    choice: number,
    name: string,
    progress: SequenceProgress.SequenceProgress,
    tokenize: (replica: ClientOf<typeof ModelActor>) => Effect.Effect<void, SessionError | Attempts.Lost>
  ) =>
    withReplica({
      model,
      name,
      wait: waitOf(request, choice),
      revision: () => record.revision ?? undefined,
      reached: () => progress.tokens.length,
      subject: () => subjectOf(request),
      preemptible: true,
      use: ({ alone, attempt, id, lostAt, replica, resumes, revision, served }) =>
        Effect.clockWith((clock) => {
          record.revision ??= revision
          if (record.revision !== revision) return new ModelReplaced({ model: model.id })
          let resumedAfter = lostAt
          const enough = alone ? progress.tokens.length + proof : Number.POSITIVE_INFINITY
          const lost = (reason: string) => Effect.fail(new WorkerLost({ replica: id, reason, crashed: false }))
          progress.epoch = attempt
          const receive = (batches: ReadonlyArray<TokenBatch>): Effect.Effect<void, WorkerLost | Attempts.Cleared> => {
            for (const batch of batches) {
              const verdict = SequenceProgress.judge(progress, batch)
              if (verdict === "gap") return lost("tokens are missing")
              if (verdict === "stale") continue
              SequenceProgress.grow(progress, batch)
              served.output += batch.tokens.length
              served.input = Math.max(0, served.input - batch.cachedTokens)
              if (resumedAfter !== null) {
                served.resumedAt = clock.unsafeCurrentTimeMillis()
                observeContinuation((served.resumedAt - resumedAfter) / 1_000, model.id)
                resumedAfter = null
              }
              // what the first computation of the prompt found; the other choices and attempts find it all
              const known = choice === 0 && batch.seq === 0 && batch.cachedTokens > 0
              if (known) cachedTokens += batch.cachedTokens
              const { finish, logprobs, promptLogprobs, text, tokens } = batch
              publish(
                unchecked(Delta, {
                  _tag: "Delta",
                  seq: log.length,
                  choice,
                  text,
                  tokens,
                  logprobs,
                  ...(promptLogprobs !== undefined && { promptLogprobs }),
                  finish,
                  ...(known && { cachedTokens: batch.cachedTokens })
                })
              )
            }
            const isCleared = progress.finish === null && progress.tokens.length >= enough
            return isCleared ? Effect.fail(new Attempts.Cleared()) : Effect.void
          }
          return Effect.gen(function* () {
            yield* tokenize(replica)
            // what was emitted before is computed again, as part of the prompt; a tenant pays once for what it had to give up
            served.input = resumes === null ? prompt.length + progress.tokens.length : 0
            const sequence = {
              request: RequestId.make(`${session}/${name}@${attempt}`),
              epoch: attempt,
              choice,
              prompt,
              emitted: [...progress.tokens],
              sampling,
              stopping: request.stopping,
              logprobs: request.logprobs,
              promptLogprobs: request.promptLogprobs,
              grammar: request.grammar,
              cacheSalt: request.cacheSalt
            }
            yield* StreamMailbox.forEachBatch(yield* StreamMailbox.fromStream(replica.Generate(sequence)), receive)
            if (progress.finish === null) yield* lost("the stream ended early")
          })
        })
    })

  const generate = Effect.fn("SessionActor.generate")(function* (request: GenerationRequest) {
    yield* options.quarantine.check(() => subjectOf(request))
    const model = yield* UndividedWork.specFor(options, request.model, "text-generation", "text generation")
    const sampling = request.sampling.resolve(model.sampling)
    const known = yield* Deferred.make<void>()
    if (choices.length === 0) choices = Array.from({ length: request.n }, SequenceProgress.make)
    if (prompt.length > 0) yield* Deferred.succeed(known, undefined)
    const run = runs++

    const start = (replica: ClientOf<typeof ModelActor>) =>
      prompt.length > 0
        ? Effect.void
        : Effect.gen(function* () {
            const { tokens } = yield* replica.Tokenize({ prompt: request.prompt })
            yield* checkLength(request, model, tokens)
            prompt = tokens
            record.prompt = tokens
            if (!log.slice(0).some(({ _tag }) => _tag === "Started")) {
              publish(
                new Started(
                  { seq: log.length, session, model: model.id, promptTokens: tokens.length },
                  { disableValidation: true }
                )
              )
            }
            yield* Deferred.succeed(known, undefined)
          })

    yield* Effect.forEach(
      choices,
      (progress, choice) => {
        if (progress.finish !== null) return Effect.void
        const name = run === 0 ? String(choice) : `${choice}+${run}`
        const finished = runChoice(request, model, sampling, choice, name, progress, choice === 0 ? start : ready)
        // the first choice finds out the prompt's tokens for all
        return choice === 0 ? finished : Effect.zipRight(Deferred.await(known), finished)
      },
      { concurrency: request.n, discard: true }
    )
    const completionTokens = choices.reduce((sum, { tokens }) => sum + tokens.length, 0)
    const usage = new Usage(
      { promptTokens: prompt.length, completionTokens, cachedTokens },
      { disableValidation: true }
    )
    publish(new Completed({ seq: log.length, usage }, { disableValidation: true }))
  })

  /** What has said nothing yet begins anew when the model was replaced; what was restored has no text to begin with. */
  const generateAnew = (request: GenerationRequest): Effect.Effect<void, SessionError> =>
    Effect.catchTag(generate(request), "ModelReplaced", (error) => {
      if (wasRestored || choices.some(({ tokens }) => tokens.length > 0)) return error
      prompt = []
      record.prompt = []
      record.revision = null
      return generateAnew(request)
    })

  /** Generates if there is something to generate. */
  const goOn: Effect.Effect<void> = Effect.uninterruptible(
    Effect.gen(function* () {
      const { request } = record
      if (life._tag !== "idle" || request === null) return
      const started = yield* Deferred.make<void>()
      const fiber = yield* Deferred.await(started).pipe(
        Effect.zipRight(generateAnew(request)),
        Effect.interruptible,
        Effect.onExit((exit) => {
          const rests = resting && Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause)
          resting = false
          if (!rests) return Effect.sync(() => end(interruptedAsCancelled(exit)))
          life = { _tag: "idle" }
          changed()
          // somebody may have come meanwhile
          return subscribers.size > 0 ? goOn : Effect.void
        }),
        Effect.forkIn(scope)
      )
      life = { _tag: "running", fiber }
      yield* Deferred.succeed(started, undefined)
    })
  )

  return SessionActor.of({
    Ask: (request) =>
      Effect.suspend(() => {
        // told from the prompt as it came: after a restart there are only its tokens
        record.request ??= new GenerationRequest(
          { ...request, conversation: keyOf(request) },
          { disableValidation: true }
        )
        return Effect.zipRight(goOn, subscribe(-1))
      }),
    Resume: ({ after }) => Effect.zipRight(goOn, subscribe(after)),
    Cancel: Effect.fn("SessionActor.Cancel")(() =>
      Effect.suspend(() => {
        resting = false
        if (life._tag === "idle" && record.request !== null) end(Exit.fail(new Cancelled()))
        return stop
      })
    ),
    History: () =>
      Effect.sync(() => ({
        prompt,
        choices: choices.map(({ tokens }, choice) => ({
          text: SessionRecord.textOf(record, choice),
          tokens: [...tokens]
        }))
      })),
    ...UndividedWork.make(options, withReplica)
  })
})

const ready = () => Effect.void

/** All that a worker is given of a request but the seed, which is another each time unless a client says one. */
const subjectOf = (request: GenerationRequest): Subject => ({
  ...Struct.pick(request, "cacheSalt", "grammar", "logprobs", "model", "prompt", "promptLogprobs", "stopping"),
  sampling: { ...request.sampling, seed: null }
})

/** Overlong prompts are refused, never truncated. */
const checkLength = (request: GenerationRequest, model: ModelSpec, prompt: ReadonlyArray<TokenId>) => {
  const param = request.prompt._tag === "Chat" ? "messages" : "prompt"
  const { maxTokens } = request.stopping
  if (prompt.length === 0) return new InvalidRequest({ reason: "The prompt is empty.", param })
  return prompt.length + (maxTokens ?? 1) > model.context
    ? new ContextLengthExceeded({ context: model.context, promptTokens: prompt.length, maxTokens, param })
    : Effect.void
}

const interruptedAsCancelled = (exit: Exit.Exit<void, SessionError>): Exit.Exit<void, SessionError> =>
  Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause) ? Exit.fail(new Cancelled()) : exit
