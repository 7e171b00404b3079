/** Generations as the gateway reads them: begun, then in batches of events. */
import { Runtime } from "@helixflow/runtime/Runtime"
import type { SessionRecord } from "@helixflow/runtime/SessionRecord"
import type { Keep } from "@helixflow/runtime/SessionStore"
import type { Sessions } from "@helixflow/runtime/Sessions"
import * as StreamMailbox from "@helixflow/runtime/StreamMailbox"
import { Attribute, type Operation, provider } from "@helixflow/runtime/Telemetry"
import {
  ContextLengthExceeded,
  InvalidRequest,
  type LoadFailed,
  type ModelNotFound,
  type SessionNotFound,
  type StorageUnavailable,
  TaskNotSupported
} from "@helixflow/schema/Errors"
import { type GenerationRequest, Usage } from "@helixflow/schema/Generation"
import { ModelId, SessionId } from "@helixflow/schema/Ids"
import type { ModelSpec, ModelTask } from "@helixflow/schema/Model"
import {
  Completed,
  Delta,
  type SessionError,
  type SessionEvent,
  Started,
  Waiting
} from "@helixflow/schema/SessionActor"
import { unchecked } from "@helixflow/schema/Unchecked"
import { type Array as Arr, Chunk, Effect, Exit, type Mailbox, Scope } from "effect"
import { charge } from "./Admission.ts"
import type { AnswerForm } from "./AnswerForm.ts"
import { errorType, GenerationTelemetry } from "./GenerationTelemetry.ts"
import { Principal } from "./Principal.ts"

type Events = Mailbox.ReadonlyMailbox<SessionEvent, SessionError>

/** A generation that has a place, or whose client wants to know of the wait: what can still go wrong is in its stream. */
export interface Generation {
  /** The first event, `Started` or `Waiting`, and those that came together with it. */
  readonly first: Chunk.Chunk<SessionEvent>
  readonly rest: Events
  readonly telemetry: GenerationTelemetry
  /** Whether its reader may come back to it. */
  readonly kept: boolean
  /** Whether it had ended when its reader came: its tokens are counted. */
  readonly counted: boolean
}

/**
 * The model of this name, if it does this task; `endpoint` is what the client asked for, in words. Of a name that several versions have
 * the one that the conversation draws, or where there is none, the tenant.
 */
export const modelFor = (
  name: string,
  task: ModelTask,
  endpoint: string,
  conversation?: (tenant: string) => string
): Effect.Effect<ModelSpec, LoadFailed | ModelNotFound | TaskNotSupported, Principal | Runtime> =>
  Effect.all([Runtime, Principal]).pipe(
    Effect.flatMap(([runtime, { tenant }]) => runtime.model(name, () => conversation?.(tenant) ?? tenant)),
    Effect.filterOrFail(
      (spec) => spec.task === task,
      (spec) => new TaskNotSupported({ model: spec.id, task: endpoint })
    )
  )

/** Names the parameter that a prompt came in: only the gateway knows it. */
export const inParam =
  (param: string) =>
  <A, E, R>(self: Effect.Effect<A, E | ContextLengthExceeded | InvalidRequest, R>) =>
    Effect.mapError(self, (error) => {
      if (error instanceof ContextLengthExceeded) return new ContextLengthExceeded({ ...error, param })
      return error instanceof InvalidRequest && error.param === "prompt"
        ? new InvalidRequest({ ...error, param })
        : error
    })

/**
 * Starts a generation per request and waits until all have begun. Several are one to their reader: the choices of the i-th are
 * numbered from i * n. Closing the scope cancels them all, but for a single one that is kept, where anything is kept.
 */
export const begin = (
  operation: Operation,
  session: SessionId,
  requests: Arr.NonEmptyReadonlyArray<GenerationRequest>,
  keep?: Keep
): Effect.Effect<Generation, SessionError, Runtime | Scope.Scope> =>
  Effect.gen(function* () {
    const runtime = yield* Runtime
    const [request, ...others] = requests
    if (keep?.detached === true && runtime.sessions === null) return yield* nothingKept
    const telemetry = yield* measure(operation, session, request.model)
    const sessions = keep === undefined || others.length > 0 ? null : runtime.sessions
    const own =
      sessions === null || keep === undefined
        ? yield* runtime.generate(session, request)
        : yield* sessions.start(session, keep, request)
    const further = yield* Effect.forEach(others, (other, index) =>
      runtime.generate(SessionId.make(`${session}-${index + 1}`), other)
    )
    const rest = further.length === 0 ? own : yield* merge([own, ...further], request.n)
    const [first] = yield* rest.takeAll
    return { first, rest, telemetry, kept: sessions !== null, counted: false }
  })

/** Comes back to a generation that is kept: all its events, past and to come. `certain`: see `Sessions.resume`. */
export const resume = (
  sessions: Sessions,
  session: SessionId,
  tenant: string,
  form: AnswerForm
): Effect.Effect<
  { readonly generation: Generation; readonly certain: number | null; readonly record: SessionRecord },
  SessionError | SessionNotFound | StorageUnavailable,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const operation = form._tag === "Chat" ? "chat" : "text_completion"
    const { certain, ended, events, record } = yield* sessions.resume(session, tenant)
    const telemetry = yield* measure(operation, session, ModelId.make(form.identity.model))
    const [first] = yield* events.takeAll
    return { generation: { first, rest: events, telemetry, kept: true, counted: ended }, certain, record }
  })

const nothingKept = new InvalidRequest({
  reason: "This server keeps no completions: 'store' must be false.",
  param: "store",
  code: "unsupported_value"
})

/** Measures a generation until the scope ends. */
const measure = (operation: Operation, session: SessionId, model: ModelId) =>
  Effect.gen(function* () {
    const telemetry = new GenerationTelemetry(operation, model)
    yield* Scope.addFinalizerExit(yield* Effect.scope, (exit) =>
      Effect.sync(() => telemetry.ended(Exit.isSuccess(exit) ? undefined : errorType(exit.cause)))
    )
    yield* Effect.annotateCurrentSpan({
      [Attribute.operation]: operation,
      [Attribute.provider]: provider,
      [Attribute.responseModel]: model,
      [Attribute.responseId]: session
    })
    return telemetry
  })

/** Calls `onBatch` at once, perhaps with no events, and then for all events, as many at a time as there are. */
export const forEachBatch = <E, R>(
  generation: Generation,
  onBatch: StreamMailbox.OnBatch<SessionEvent, E, R>
): Effect.Effect<void, E | SessionError, R> => {
  let usage: Usage | undefined
  /** Tokens of the prompt and of what has come: what a client owes, also one that hangs up before the end. */
  let spent = 0
  const measured = (events: ReadonlyArray<SessionEvent>) => {
    for (const event of events) {
      if (event._tag === "Delta") {
        spent += event.tokens.length
        generation.telemetry.token()
      } else if (event._tag === "Started") spent += event.promptTokens
      else if (event._tag === "Completed") usage = event.usage
    }
    return onBatch(events)
  }
  return Effect.zipRight(
    measured(Chunk.toReadonlyArray(generation.first)),
    StreamMailbox.forEachBatch(generation.rest, measured)
  ).pipe(
    Effect.zipRight(
      Effect.suspend(() =>
        usage === undefined || generation.counted ? Effect.void : generation.telemetry.completed(usage)
      )
    ),
    Effect.tapErrorCause((cause) => Effect.sync(() => generation.telemetry.failed(errorType(cause)))),
    Effect.ensuring(Effect.suspend(() => (generation.counted ? Effect.void : charge(spent))))
  )
}

/** One stream of several: begins when all have begun, completes when all have, fails with the first that fails. */
const merge = (sources: ReadonlyArray<Events>, n: number): Effect.Effect<Events, never, Scope.Scope> =>
  Effect.gen(function* () {
    const merged = yield* StreamMailbox.inlet<SessionEvent, SessionError>()
    const begun: Array<Started> = []
    const waiting: Array<SessionEvent> = []
    let promptTokens = 0
    let completionTokens = 0
    let cachedTokens = 0
    let completed = 0
    let seq = 0

    const pass = (event: SessionEvent, offset: number) => {
      switch (event._tag) {
        case "Waiting":
          merged.offer(new Waiting({ ...event, seq: seq++, choice: offset + event.choice }))
          return
        case "Started":
          begun.push(event)
          promptTokens += event.promptTokens
          if (begun.length < sources.length) return
          merged.offer(new Started({ ...event, seq: seq++, promptTokens }))
          for (const delta of waiting) merged.offer(delta)
          return
        case "Delta": {
          const delta = unchecked(Delta, { ...event, seq: seq++, choice: offset + event.choice })
          if (begun.length < sources.length) waiting.push(delta)
          else merged.offer(delta)
          return
        }
        case "Completed":
          completionTokens += event.usage.completionTokens
          cachedTokens += event.usage.cachedTokens
          completed += 1
          if (completed < sources.length) return
          merged.offer(
            new Completed({ seq: seq++, usage: new Usage({ promptTokens, completionTokens, cachedTokens }) })
          )
      }
    }
    const forward = (source: Events, offset: number) =>
      StreamMailbox.forEachBatch(source, (events) => {
        for (const event of events) pass(event, offset)
        return Effect.void
      })
    yield* Effect.forEach(sources, (source, index) => forward(source, index * n), {
      concurrency: "unbounded",
      discard: true
    }).pipe(
      Effect.onExit((exit) => Effect.sync(() => merged.done(exit))),
      Effect.forkScoped
    )
    return merged.mailbox
  })
