/** The whole of HelixFlow below HTTP, as one service: what the gateway serves and what a program embeds. */
import type { Caller } from "@helixflow/schema/Caller"
import type { ClassificationRequest, Classifications } from "@helixflow/schema/Classification"
import type { DeviceStatus } from "@helixflow/schema/Device"
import type { ActorUnreachable, LoadFailed, MailboxFull, ModelNotFound } from "@helixflow/schema/Errors"
import type { EmbeddingRequest, Embeddings, GenerationRequest, Prompt } from "@helixflow/schema/Generation"
import { type ModelId, SessionId, type TokenId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import type { Explanation, FleetSnapshot } from "@helixflow/schema/Scheduling"
import { SessionActor, type SessionError, type SessionEvent } from "@helixflow/schema/SessionActor"
import { Context, Duration, Effect, Layer, type Mailbox, Option, type Scope } from "effect"
import * as Catalog from "./Catalog.ts"
import { Conversations } from "./Conversations.ts"
import { schedulerId } from "./Directory.ts"
import { ForecastStore } from "./ForecastStore.ts"
import * as InProcess from "./InProcess.ts"
import { LearnedMemory } from "./LearnedMemory.ts"
import { LocalDevices } from "./LocalDevices.ts"
import { ModelStore } from "./ModelStore.ts"
import type { ModelVersions } from "./ModelVersions.ts"
import { Node } from "./Node.ts"
import * as Quarantine from "./Quarantine.ts"
import { RuntimeConfig } from "./RuntimeConfig.ts"
import * as ServedPlace from "./ServedPlace.ts"
import { Services } from "./Services.ts"
import * as Session from "./SessionActor.ts"
import * as Sessions from "./Sessions.ts"
import * as StreamMailbox from "./StreamMailbox.ts"
import * as SupervisionTree from "./SupervisionTree.ts"
import type { Escalated } from "./Supervisor.ts"
import * as TreeControl from "./TreeControl.ts"

/** Whether requests would be answered now, and if not, what is missing (a line per reason). */
export interface Readiness {
  readonly ready: boolean
  readonly waitingFor: ReadonlyArray<string>
}

export class Runtime extends Context.Tag("@helixflow/runtime/Runtime")<
  Runtime,
  {
    /** Every model that can be asked for, sorted by id. */
    readonly models: Effect.Effect<ReadonlyArray<ModelSpec>>
    /**
     * A model by its id or one of its aliases. `LoadFailed`: it is there and can't be served. Of a name that several versions have, the
     * one that the key draws.
     */
    readonly model: (name: string, key?: () => string) => Effect.Effect<ModelSpec, ModelNotFound | LoadFailed>
    /** Names that several versions have, sorted. */
    readonly versioned: Effect.Effect<ReadonlyArray<ModelVersions>>
    /**
     * Starts a generation and gives its events: `Started`, `Delta`s, `Completed`, or an error. The mailbox holds what its reader has
     * not taken; closing the scope before the end cancels the generation and frees its slots.
     */
    readonly generate: (
      session: SessionId,
      request: GenerationRequest
    ) => Effect.Effect<Mailbox.ReadonlyMailbox<SessionEvent, SessionError>, never, Scope.Scope>
    /** Generations that clients may come back to; null where none is kept. */
    readonly sessions: Sessions.Sessions | null
    readonly embed: (request: EmbeddingRequest) => Effect.Effect<Embeddings, SessionError>
    /** Scores of texts, or of pairs of them. The `param` of an error about an input is `inputs[i]`. */
    readonly classify: (request: ClassificationRequest) => Effect.Effect<Classifications, SessionError>
    readonly tokenize: (
      model: ModelId,
      prompt: Prompt,
      caller?: Caller
    ) => Effect.Effect<{ readonly tokens: ReadonlyArray<TokenId>; readonly context: number }, SessionError>
    readonly detokenize: (
      model: ModelId,
      tokens: ReadonlyArray<TokenId>,
      caller?: Caller
    ) => Effect.Effect<{ readonly text: string }, SessionError>
    /** A place on a program that serves a model over HTTP, which is started for it if need be; held until the scope closes. */
    readonly connect: (
      request: ServedPlace.ServedRequest
    ) => Effect.Effect<ServedPlace.Served, SessionError, Scope.Scope>
    /** The models as an operator has them in hand. */
    readonly catalog: Catalog.Catalog
    readonly readiness: Effect.Effect<Readiness>
    /** Where a request for the model would go now, and why not elsewhere. */
    readonly explain: (model: ModelId) => Effect.Effect<Explanation, ModelNotFound | ActorUnreachable>
    readonly fleet: Effect.Effect<FleetSnapshot, ActorUnreachable>
    /** The devices of this node, as they say themselves. */
    readonly devices: Effect.Effect<ReadonlyArray<DeviceStatus>, ActorUnreachable | MailboxFull>
    /** The node's supervision tree as it is now. */
    readonly tree: Effect.Effect<SupervisionTree.TreeNode>
    /** What may be done to it. */
    readonly control: TreeControl.TreeControl
    /** Fails when supervision has given up: nothing here will work again. */
    readonly ended: Effect.Effect<never, Escalated>
  }
>() {
  /** Everything below HTTP on this machine, configured by the environment. Workers end with the scope. Keeps no sessions. */
  static readonly layer = Layer.scoped(
    this,
    Effect.suspend(() => Effect.flatMap(host, (hosted) => make(hosted, null)))
  ).pipe(
    Layer.provide(Node.layer),
    Layer.provide(Services.layer),
    Layer.provide(LearnedMemory.layerMemory),
    Layer.provide(ForecastStore.layerMemory),
    Layer.provide(ModelStore.layer),
    Layer.provide(LocalDevices.layer),
    Layer.provide(RuntimeConfig.layer)
  )

  /** The same beside other services, with sessions kept in the database at hand for as long as the configuration says. */
  static readonly layerKeeping = Layer.scoped(
    this,
    Effect.suspend(() =>
      Effect.gen(function* () {
        const { sessionBytes, sessionRetention } = yield* RuntimeConfig
        const hosted = yield* host
        if (Duration.toMillis(sessionRetention) === 0) return yield* make(hosted, null)
        const sessions = yield* Sessions.make({
          host: hosted,
          retention: sessionRetention,
          maxBytes: sessionBytes,
          services: yield* Services
        })
        return yield* make(hosted, sessions)
      })
    )
  ).pipe(
    Layer.provide(Node.layer),
    Layer.provide(LearnedMemory.layer),
    Layer.provide(ForecastStore.layer),
    Layer.provide(ModelStore.layer),
    Layer.provide(LocalDevices.layer),
    Layer.provide(RuntimeConfig.layer)
  )
}

/** How long requests that are no generation wait for a place, milliseconds. */
const tokenizeTimeout = 60_000

/** Starts sessions on this node. */
const host = Effect.gen(function* () {
  const { directory, isolation } = yield* Node
  const config = yield* RuntimeConfig
  const store = yield* ModelStore
  const scheduler = directory.scheduler.find(schedulerId)
  const model = (name: string) => Effect.map(store.find(name), ({ spec }) => spec)
  const quarantine = Quarantine.make(config.quarantine)
  const conversations = new Conversations()
  return (session: SessionId, kept?: Sessions.HostedSession) =>
    InProcess.host(
      SessionActor,
      Session.make({
        session,
        scheduler,
        replica: directory.replicas.find,
        model,
        continuation: config.continuation,
        isolation,
        quarantine,
        conversations,
        ...kept
      }),
      { name: session }
    )
})

type Hosted = Effect.Effect.Success<typeof host>

const make = Effect.fnUntraced(function* (openSession: Hosted, sessions: Sessions.Sessions | null) {
  const node = yield* Node
  const { defaultModel, directory, supervisor } = node
  const store = yield* ModelStore
  const scheduler = directory.scheduler.find(schedulerId)
  const model = (name: string, key?: () => string) => Effect.map(store.find(name, key), ({ spec }) => spec)
  const catalog = yield* Catalog.make({ store, directory, defaultModel })
  let questions = 0

  /** A session for a single question. */
  const once = <A, E>(ask: (session: Effect.Effect.Success<ReturnType<Hosted>>) => Effect.Effect<A, E>) =>
    Effect.scoped(Effect.flatMap(openSession(SessionId.make(`once-${++questions}`)), ask))

  const readiness = Effect.gen(function* () {
    if (Option.isNone(defaultModel)) {
      return yield* Effect.match(scheduler, {
        onSuccess: () => [],
        onFailure: (error) => [error.message]
      })
    }
    const { id } = defaultModel.value
    const statuses = yield* Effect.forEach(yield* directory.replicas.values, (replica) =>
      Effect.option(replica.Status())
    )
    const replicas = statuses.flatMap(Option.toArray).filter((status) => status.model === id)
    if (replicas.some(({ state }) => state === "ready")) return []
    return replicas.length === 0
      ? [`${id} is not loaded yet`]
      : replicas.map(
          ({ lastFailure, replica, state }) => `${replica} is ${state}${lastFailure === null ? "" : `: ${lastFailure}`}`
        )
  })

  return Runtime.of({
    models: Effect.zipRight(store.refresh, store.models),
    model,
    versioned: store.versioned,
    connect: ServedPlace.make({ scheduler, replica: directory.replicas.find, store }),
    catalog,
    generate: (session, request) =>
      Effect.flatMap(openSession(session), (actor) => StreamMailbox.fromStream(actor.Ask(request))),
    sessions,
    embed: (request) => once((session) => session.Embed(request)),
    classify: (request) => once((session) => session.Classify(request)),
    tokenize: (name, prompt, caller) =>
      once((session) => session.Tokenize({ model: name, prompt, queueTimeout: tokenizeTimeout, caller })),
    detokenize: (name, tokens, caller) =>
      once((session) => session.Detokenize({ model: name, tokens, queueTimeout: tokenizeTimeout, caller })),
    readiness: Effect.map(readiness, (waitingFor) => ({ ready: waitingFor.length === 0, waitingFor })),
    explain: (name) => Effect.flatMap(scheduler, (actor) => actor.Explain({ model: name })),
    fleet: Effect.flatMap(scheduler, (actor) => actor.View()),
    devices: Effect.flatMap(directory.gpus.values, (gpus) => Effect.forEach(gpus, (gpu) => gpu.Status())),
    tree: SupervisionTree.read(node),
    control: TreeControl.make(node),
    ended: Effect.zipRight(supervisor.awaitEnd, Effect.never)
  })
})
