/**
 * The behaviour of a worker process: the `Worker` protocol around one engine. The engine runs in a plain loop; Effect is only at its
 * edges, where messages come in and what a step gave goes out as one event.
 */
import type { Classifications } from "@helixflow/schema/Classification"
import {
  ContextLengthExceeded,
  EngineFailed,
  InvalidRequest,
  LoadFailed,
  ModelReplaced
} from "@helixflow/schema/Errors"
import { type Embeddings, LoadedModel } from "@helixflow/schema/Generation"
import { Bytes } from "@helixflow/schema/Ids"
import { unknownShortage } from "@helixflow/schema/MemoryShortage"
import { SequenceFailed, Worker } from "@helixflow/schema/Worker"
import { Effect, Mailbox } from "effect"
import type { Engine, LoadEngine, LoadOptions, StepResult } from "./Engine.ts"
import { EngineLoop } from "./EngineLoop.ts"
import { bytesInVain } from "./MemoryFailure.ts"
import { revisionOf } from "./ModelRevision.ts"

export interface WorkerServerOptions {
  readonly loadEngine: LoadEngine
  /** Called when the engine as a whole breaks: nothing that runs in it can be finished. */
  readonly onBroken: (cause: unknown) => void
}

interface Loaded {
  readonly engine: Engine
  readonly loop: EngineLoop
  readonly model: LoadedModel
}

type LoadRequest = LoadOptions & { readonly revision?: string | undefined }

const refuseOthers = ({ model, path }: LoadOptions, revision: string | undefined): void => {
  if (revision !== undefined && revisionOf(path) !== revision) throw new ModelReplaced({ model })
}

const loadFailure = (model: string, cause: unknown): LoadFailed => {
  const failure = cause instanceof LoadFailed ? cause : new LoadFailed({ model, reason: messageOf(cause), file: null })
  const inVain = bytesInVain(failure.reason)
  if (inVain === undefined) return failure
  const needed = Bytes.make(Math.min(Number.MAX_SAFE_INTEGER, process.resourceUsage().maxRSS * 1024 + inVain))
  return new LoadFailed({ ...failure, memory: { ...unknownShortage, needed } })
}

type Event = Pick<StepResult, "batches"> & { readonly failures: ReadonlyArray<SequenceFailed> }

/** Events that may wait for their reader before the engine pauses. */
const EVENT_BACKLOG = 256

export const make = ({ loadEngine, onBroken }: WorkerServerOptions) => {
  const subscribers = new Set<Mailbox.Mailbox<Event>>()
  let loading: Promise<Loaded> | null = null
  let loaded: Loaded | null = null

  const publish = async ({ batches, failures }: StepResult) => {
    const event = { batches, failures: failures.map((failure) => new SequenceFailed(failure)) }
    for (const mailbox of subscribers) {
      // a full mailbox refuses: waiting for its reader is what slows the engine down
      if (!mailbox.unsafeOffer(event)) await Effect.runPromise(mailbox.offer(event))
    }
  }

  const load = async ({ revision, ...options }: LoadRequest): Promise<Loaded> => {
    const started = performance.now()
    refuseOthers(options, revision)
    const engine = await loadEngine(options)
    // or some were read before and some after the change
    refuseOthers(options, revision)
    const loop = new EngineLoop(engine, { publish, isHeard: () => subscribers.size > 0 })
    const loadMillis = performance.now() - started
    loaded = { engine, loop, model: LoadedModel.make({ ...engine.limits, rss: residentBytes(), loadMillis }) }
    loop.run().catch(onBroken)
    return loaded
  }

  /** Uses the loaded engine. What it throws becomes an `EngineFailed`, unless the message has an error for it. */
  const ask = <A, E extends Error>(
    request: string,
    isExpected: (cause: unknown) => cause is E,
    use: (loaded: Loaded) => A | Promise<A>
  ): Effect.Effect<A, E | EngineFailed> =>
    Effect.tryPromise({
      try: async () => {
        if (loaded === null) throw new EngineFailed({ request, reason: "no model is loaded" })
        return use(loaded)
      },
      catch: (cause) =>
        isExpected(cause) || cause instanceof EngineFailed
          ? cause
          : new EngineFailed({ request, reason: messageOf(cause) })
    })

  const wrongTask = (request: string, task: string) =>
    new EngineFailed({ request, reason: `the loaded model is for ${task}` })

  return Worker.of({
    Load: (options) =>
      Effect.tryPromise({
        // the first load is the only one
        try: () => (loading ??= load(options)),
        catch: (cause) => (cause instanceof ModelReplaced ? cause : loadFailure(options.model, cause))
      }).pipe(Effect.map(({ model }) => model)),

    Tokenize: ({ prompt }) => ask("tokenize", isInvalidRequest, ({ engine }) => ({ tokens: engine.tokenize(prompt) })),

    Detokenize: ({ tokens }) =>
      ask("detokenize", isInvalidRequest, ({ engine }) => ({ text: engine.detokenize(tokens) })),

    Submit: (request) =>
      ask(request.request, isWrongInput, ({ engine, loop }) => {
        if (engine.task !== "text-generation") throw wrongTask(request.request, engine.task)
        engine.submit(request)
        loop.wake()
      }),

    Cancel: ({ request }) => Effect.sync(() => loaded?.engine.cancel(request)),

    Events: () =>
      Effect.acquireRelease(
        Effect.tap(Mailbox.make<Event>(EVENT_BACKLOG), (mailbox) =>
          Effect.sync(() => {
            subscribers.add(mailbox)
            loaded?.loop.wake()
          })
        ),
        (mailbox) =>
          Effect.suspend(() => {
            subscribers.delete(mailbox)
            return mailbox.shutdown
          })
      ),

    Embed: ({ request, inputs }) =>
      ask(request, isContextLengthExceeded, ({ engine, loop }): Promise<Embeddings> => {
        if (engine.task !== "embedding") throw wrongTask(request, engine.task)
        const embeddings = engine.embed(request, inputs)
        loop.wake()
        return embeddings
      }).pipe(Effect.onInterrupt(() => Effect.sync(() => loaded?.engine.cancel(request)))),

    Classify: ({ request, inputs }) =>
      ask(request, isWrongInput, ({ engine, loop }): Promise<Classifications> => {
        if (engine.task !== "classification") throw wrongTask(request, engine.task)
        const classifications = engine.classify(request, inputs)
        loop.wake()
        return classifications
      }).pipe(Effect.onInterrupt(() => Effect.sync(() => loaded?.engine.cancel(request)))),

    Health: () =>
      Effect.promise(async () => {
        // messages are served during a step too: only so does silence mean a frozen engine
        await loaded?.loop.betweenSteps()
        const engine = loaded?.engine
        const prefixCache = Bytes.make(engine?.task === "text-generation" ? (engine.prefixBytes ?? 0) : 0)
        return { rss: residentBytes(), prefixCache, active: engine?.active ?? 0, steps: loaded?.loop.steps ?? 0 }
      })
  })
}

const isInvalidRequest = (cause: unknown): cause is InvalidRequest => cause instanceof InvalidRequest
const isContextLengthExceeded = (cause: unknown): cause is ContextLengthExceeded =>
  cause instanceof ContextLengthExceeded
const isWrongInput = (cause: unknown): cause is ContextLengthExceeded | InvalidRequest =>
  isContextLengthExceeded(cause) || isInvalidRequest(cause)
const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
const residentBytes = (): Bytes => Bytes.make(process.memoryUsage.rss())
