/**
 * A `Runtime` without a fleet: its text is a function of the request, and it comes at once. For tests of the gateway, and for
 * measuring what the gateway itself costs.
 */
import type { CatalogEntry } from "@helixflow/runtime/Catalog"
import { Runtime } from "@helixflow/runtime/Runtime"
import { Classifications } from "@helixflow/schema/Classification"
import {
  ContextLengthExceeded,
  EngineFailed,
  InvalidRequest,
  ModelNotFound,
  QueueTimeout,
  TaskNotSupported,
  TreePlaceNotFound
} from "@helixflow/schema/Errors"
import { Embeddings, type GenerationRequest, SamplingDefaults, Usage } from "@helixflow/schema/Generation"
import { Bytes, ModelId, type SessionId } from "@helixflow/schema/Ids"
import { ModelSpec } from "@helixflow/schema/Model"
import { Explanation, FleetSnapshot } from "@helixflow/schema/Scheduling"
import { Completed, type SessionError, type SessionEvent, Started, Waiting } from "@helixflow/schema/SessionActor"
import { Context, Effect, Layer, Mailbox, Ref, Scope } from "effect"
import {
  choiceOf,
  deltasOf,
  embed,
  promptTokens,
  readText,
  type StubLengths,
  shareOf,
  textOf,
  tokensOf,
  wordOf
} from "./StubAnswers.ts"

export interface StubOptions extends StubLengths {
  /** Tokens per event. */
  readonly tokensPerDelta: number
  readonly dimensions: number
  /** What readiness waits for, for ever. */
  readonly waitingFor: ReadonlyArray<string>
}

const defaults: StubOptions = { tokens: 16, tokensPerDelta: 1, context: 4096, dimensions: 8, waitingFor: [] }

/** A prompt that has one of these words in it meets what the word says. */
export const Misfortune = {
  /** The engine fails after half of the tokens. */
  fails: "stub:fails",
  /** There is a defect after half of the tokens. */
  dies: "stub:dies",
  /** Half of the tokens come, and then nothing. */
  hangs: "stub:hangs",
  /** It waits a moment before it begins; whoever asked for it is told. */
  waits: "stub:waits",
  /** It waits, and never gets a place. */
  starves: "stub:starves"
} as const

/** What is told of a wait: one behind another, and then for a load. */
const waits = [
  new Waiting({
    seq: 0,
    choice: 0,
    position: 2,
    waiting: 7,
    waitedMillis: 150,
    expectedMillis: null,
    loading: null
  }),
  new Waiting({
    seq: 1,
    choice: 0,
    position: 1,
    waiting: 1,
    waitedMillis: 1150,
    expectedMillis: 800,
    loading: { elapsedMillis: 200, usualMillis: 1000 }
  })
]

const created = 1_700_000_000

const spec = (
  id: string,
  aliases: ReadonlyArray<string>,
  task: ModelSpec["task"],
  context: number,
  labels: ReadonlyArray<string> = []
) =>
  ModelSpec.make({
    id: ModelId.make(id),
    aliases: aliases.map((alias) => ModelId.make(alias)),
    task,
    context,
    slots: 8,
    weights: Bytes.make(1_000_000),
    kvPerToken: Bytes.make(task === "text-generation" ? 1024 : 0),
    replicas: 1,
    policy: "best-fit",
    sampling: SamplingDefaults.make({}),
    labels,
    created
  })

/** The stub's tree is its node alone. */
const nowhere = (place: string) => Effect.fail(new TreePlaceNotFound({ place }))

/** How many generations are in progress: what a slot of a replica would be. */
export class StubSlots extends Context.Tag("@helixflow/gateway/StubSlots")<StubSlots, Ref.Ref<number>>() {}

export const layer = (overrides: Partial<StubOptions> = {}): Layer.Layer<Runtime | StubSlots> => {
  const options = { ...defaults, ...overrides }
  const models = [
    spec("helix-demo", ["demo"], "text-generation", options.context),
    spec("helix-demo-embed", [], "embedding", options.context),
    spec("helix-demo-rerank", [], "classification", options.context, ["LABEL_0"]),
    spec("helix-demo-classify", [], "classification", options.context, ["other", "fox"]),
    spec("org/name", [], "text-generation", options.context)
  ]

  const model = (name: string) => {
    const found = models.find(({ id, aliases }) => id === name || aliases.some((alias) => alias === name))
    return found === undefined ? Effect.fail(new ModelNotFound({ model: name })) : Effect.succeed(found)
  }

  const entry = (spec: ModelSpec): CatalogEntry => ({
    spec,
    folder: `/models/${spec.id}`,
    bundled: false,
    keptLoaded: false,
    state: "unloaded",
    failure: null,
    replicas: []
  })
  const findEntry = (name: string) => Effect.map(model(name), entry)

  const generate = (slots: Ref.Ref<number>) => (session: SessionId, request: GenerationRequest) =>
    Effect.gen(function* () {
      const mailbox = yield* Mailbox.make<SessionEvent, SessionError>()
      yield* Scope.addFinalizer(
        yield* Effect.scope,
        Ref.update(slots, (taken) => taken - 1)
      )
      yield* Ref.update(slots, (taken) => taken + 1)
      const found = yield* Effect.either(model(request.model))
      if (found._tag === "Left") {
        yield* mailbox.fail(found.left)
        return mailbox
      }
      const prompt = promptTokens(request.prompt)
      const { maxTokens } = request.stopping
      if (prompt.length + (maxTokens ?? 1) > options.context) {
        const { context } = options
        yield* mailbox.fail(
          new ContextLengthExceeded({ context, promptTokens: prompt.length, maxTokens, param: "messages" })
        )
        return mailbox
      }
      const choices = Array.from({ length: request.n }, (_, index) => choiceOf(request, prompt, index, options))
      const deltas = [...deltasOf(choices, request.logprobs, options.tokensPerDelta)]
      const completionTokens = choices.reduce((sum, { tokens }) => sum + tokens.length, 0)
      const text = textOf(request.prompt)
      const misfortune = Object.values(Misfortune).find((word) => text.includes(word))
      if (misfortune === Misfortune.waits || misfortune === Misfortune.starves) {
        if (request.progress) mailbox.unsafeOfferAll([...waits]) // the mailbox keeps the array
        if (misfortune === Misfortune.starves) {
          yield* mailbox.fail(new QueueTimeout({ model: request.model, waitedMillis: 1500, reasons: [] }))
          return mailbox
        }
      }
      mailbox.unsafeOffer(
        new Started({ seq: 0, session, model: request.model, promptTokens: prompt.length }, { disableValidation: true })
      )
      if (misfortune !== undefined && misfortune !== Misfortune.waits) {
        mailbox.unsafeOfferAll(deltas.slice(0, deltas.length / 2))
        if (misfortune === Misfortune.fails) {
          yield* mailbox.fail(new EngineFailed({ request: session, reason: "the stub was asked to fail" }))
        }
        if (misfortune === Misfortune.dies) yield* mailbox.failCause(yield* Effect.cause(Effect.dieMessage("stub")))
        return mailbox
      }
      mailbox.unsafeOfferAll(deltas)
      mailbox.unsafeOffer(
        new Completed(
          {
            seq: deltas.length + 1,
            usage: new Usage({ promptTokens: prompt.length, completionTokens }, { disableValidation: true })
          },
          { disableValidation: true }
        )
      )
      yield* mailbox.end
      return mailbox
    })

  const runtime = (slots: Ref.Ref<number>): Context.Tag.Service<Runtime> => ({
    models: Effect.succeed(models),
    model,
    versioned: Effect.succeed([]),
    connect: ({ model: name }) => Effect.map(model(name), ({ id }) => ({ url: "http://127.0.0.1:1/v1", target: id })),
    catalog: {
      list: Effect.succeed({ models: models.map(entry), refused: [] }),
      find: findEntry,
      load: findEntry,
      startLoad: findEntry,
      unload: (name) => Effect.map(findEntry(name), (entry) => ({ entry, freed: 0 })),
      versions: (name) => new ModelNotFound({ model: name }),
      weigh: (name) => new ModelNotFound({ model: name }),
      remove: (name) => Effect.asVoid(model(name))
    },
    generate: generate(slots),
    sessions: null,
    embed: (request) =>
      Effect.gen(function* () {
        const { id, task } = yield* model(request.model)
        if (task !== "embedding") return yield* new TaskNotSupported({ model: id, task: "embeddings" })
        const unknown = request.inputs.find(
          (input) => input._tag === "Text" && (input.promptName ?? "query") !== "query"
        )
        if (unknown !== undefined) {
          return yield* new InvalidRequest({ reason: "The stub has one prompt, `query`.", param: "prompt_name" })
        }
        const tokens = request.inputs.map((input) => promptTokens(input).length)
        const tooLong = tokens.find((count) => count > options.context)
        if (tooLong !== undefined) {
          const { context } = options
          return yield* new ContextLengthExceeded({ context, promptTokens: tooLong, maxTokens: null, param: "input" })
        }
        return Embeddings.make({
          vectors: request.inputs.map((input) => embed(textOf(input), options.dimensions)),
          dimensions: options.dimensions,
          promptTokens: tokens.reduce((sum, count) => sum + count, 0)
        })
      }),
    classify: (request) =>
      Effect.gen(function* () {
        const { id, labels, task } = yield* model(request.model)
        if (task !== "classification") return yield* new TaskNotSupported({ model: id, task: "classification" })
        const tokens = request.inputs.map((input) => tokensOf(readText(input)).length)
        const tooLong = tokens.findIndex((count) => count > options.context)
        if (tooLong >= 0) {
          return yield* new ContextLengthExceeded({
            context: options.context,
            promptTokens: tokens[tooLong] ?? 0,
            maxTokens: null,
            param: `inputs[${tooLong}]`
          })
        }
        return Classifications.make({
          scores: request.inputs.map((input) => {
            const share = shareOf(input)
            return labels.length === 1 ? [share] : [1 - share, share]
          }),
          promptTokens: tokens.reduce((sum, count) => sum + count, 0)
        })
      }),
    tokenize: (name, prompt) => Effect.map(model(name), ({ context }) => ({ tokens: promptTokens(prompt), context })),
    detokenize: (name, tokens) => Effect.as(model(name), { text: tokens.map(wordOf).join("") }),
    readiness: Effect.succeed({ ready: options.waitingFor.length === 0, waitingFor: options.waitingFor }),
    explain: (name) =>
      Effect.map(model(name), ({ id, policy }) =>
        Explanation.make({
          model: id,
          policy,
          decision: "placed",
          chosen: null,
          devices: [],
          waiting: 0,
          summary: "The stub needs no place."
        })
      ),
    fleet: Effect.succeed(FleetSnapshot.make({ devices: [], replicas: [], models, waiting: [] })),
    devices: Effect.succeed([]),
    control: { restart: nowhere, drain: nowhere, kill: nowhere },
    tree: Effect.succeed({
      id: "local",
      kind: "node",
      state: "running",
      restarts: 0,
      since: created * 1000,
      nextStartAt: null,
      lastFailure: null,
      mailbox: null,
      replica: null,
      process: null,
      children: []
    }),
    ended: Effect.never
  })

  return Layer.effectContext(
    Effect.map(Ref.make(0), (slots) => Context.make(StubSlots, slots).pipe(Context.add(Runtime, runtime(slots))))
  )
}
