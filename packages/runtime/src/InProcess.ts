/**
 * The transport of actors on one node: a message is a call. Payloads and replies are passed as they are, a handler runs in a fiber of
 * the actor, and the caller waits for it; most handlers end before they would have to wait at all.
 *
 * A caller that is interrupted interrupts its handler and waits for its end. An actor that stops interrupts its handlers, and their
 * callers fail with `ActorUnreachable`. Written by hand because it is on every request's path several times: a pair of
 * `RpcServer` and `RpcClient` does the same at ten times the cost (adr/0001).
 */
import { Rpc, type RpcGroup } from "@effect/rpc"
import { ActorUnreachable, MailboxFull } from "@helixflow/schema/Errors"
import { Cause, Context, Effect, Exit, Fiber, Mailbox, Option, Runtime, Scope, type Stream, Tracer } from "effect"
import { type ActorClient, type Behaviour, defaultMailboxCapacity, type HostOptions } from "./Actor.ts"
import { constructPayload, isStream } from "./Protocol.ts"
import * as StreamMailbox from "./StreamMailbox.ts"

/** What a handler gives: the answer, or a stream of answers in one of its two forms; perhaps marked for the rpc server's lanes. */
type Handled = Effect.Effect<unknown, unknown> | Stream.Stream<unknown, unknown>
type Handler = (payload: unknown) => Handled | Rpc.Wrapper<Handled>

/** Handlers take what they need when they are built: a message finds no services but Effect's own. */
type Independent<Rpcs extends Rpc.Any, H> = [RpcGroup.HandlersContext<Rpcs, H>] extends [never]
  ? unknown
  : { readonly handlersNeed: RpcGroup.HandlersContext<Rpcs, H> }

/** Starts an actor in the current scope and gives its client. */
export const host = Effect.fnUntraced(function* <Rpcs extends Rpc.Any, H extends RpcGroup.HandlersFrom<Rpcs>, E, R>(
  group: RpcGroup.RpcGroup<Rpcs>,
  behaviour: Behaviour<H, E, R>,
  options: HostOptions & Independent<Rpcs, H>
): Effect.fn.Return<ActorClient<Rpcs>, E, R | Scope.Scope> {
  // a record of functions by tag; `ActorClient` restates the types that get lost in between
  const handlers: object = yield* behaviour
  const byTag = handlers as Readonly<Record<string, Handler>>
  const actor = new Actor(options)
  // `Effect.addFinalizer` would carry the fiber's services over to whoever closes the scope, at a cost that a request notices
  yield* Scope.addFinalizer(yield* Effect.scope, actor.stop)
  const client: Record<string, (payload: unknown) => unknown> = {}
  for (const [tag, rpc] of group.requests) {
    const handler = byTag[tag]
    if (handler === undefined) return yield* Effect.dieMessage(`${options.name} has no handler for ${tag}`)
    const handle = (payload: unknown) => {
      const handled = handler(constructPayload(rpc, payload))
      return Rpc.isWrapper(handled) ? handled.value : handled
    }
    client[tag] = isStream(rpc)
      ? (payload) => actor.stream(() => handle(payload))
      : (payload) => actor.ask(() => handle(payload))
  }
  actors.set(client, actor)
  return client as ActorClient<Rpcs>
})

/** What an actor holds now, and how much it may: messages that wait or run. */
export interface MailboxDepth {
  readonly held: number
  readonly capacity: number
}

const actors = new WeakMap<object, Actor>()

/** Of an actor that this transport hosts; undefined of others. */
export const mailboxDepth = (client: object): MailboxDepth | undefined => actors.get(client)?.depth

/** What runs in an actor now. */
class Actor {
  readonly #name: string
  readonly #capacity: number
  readonly #fibers = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  readonly #streams = new Set<Mailbox.Mailbox<unknown, unknown>>()
  #held = 0
  #stopped = false

  constructor({ mailboxCapacity = defaultMailboxCapacity, name }: HostOptions) {
    this.#name = name
    this.#capacity = mailboxCapacity
  }

  get depth(): MailboxDepth {
    return { held: this.#held, capacity: this.#capacity }
  }

  readonly stop = Effect.suspend(() => {
    this.#stopped = true
    for (const mailbox of this.#streams) StreamMailbox.end(mailbox, Exit.fail(this.#unreachable()))
    return Fiber.interruptAll(this.#fibers)
  })

  ask(handle: () => Handled): Effect.Effect<unknown, unknown> {
    return Effect.withFiberRuntime((caller) => {
      const refused = this.#refusal()
      if (refused !== null) return refused
      this.#held++
      const fiber = this.#run(handle, caller)
      const exit = fiber.unsafePoll()
      if (exit !== null) return this.#ended(exit)
      this.#fibers.add(fiber)
      return Effect.async<unknown, unknown>((resume) => {
        fiber.addObserver((exit) => {
          this.#fibers.delete(fiber)
          resume(this.#ended(exit))
        })
        return Fiber.interrupt(fiber)
      })
    })
  }

  stream(handle: () => Handled): Stream.Stream<unknown, unknown> {
    return StreamMailbox.toStream(
      Effect.gen(this, function* () {
        const scope = yield* Effect.scope
        // what a handler acquires for a stream lives as long as its reader wants
        const opened = yield* this.ask(() => Scope.extend(toMailbox(handle()), scope))
        // `toMailbox` gives nothing else
        const mailbox = opened as Mailbox.Mailbox<unknown, unknown>
        const refused = this.#refusal()
        if (refused !== null) return yield* refused
        this.#held++
        this.#streams.add(mailbox)
        yield* Scope.addFinalizer(
          scope,
          Effect.sync(() => {
            this.#held--
            this.#streams.delete(mailbox)
          })
        )
        return mailbox
      })
    )
  }

  #refusal(): Effect.Effect<never, unknown> | null {
    if (this.#stopped) return Effect.fail(this.#unreachable())
    if (this.#held < this.#capacity) return null
    return Effect.fail(new MailboxFull({ actor: this.#name, capacity: this.#capacity }))
  }

  /** In a fiber of its own, so that it can end without its caller; with the caller's span as its parent. */
  #run(handle: () => Handled, caller: Fiber.RuntimeFiber<unknown, unknown>): Fiber.RuntimeFiber<unknown, unknown> {
    const span = Context.getOption(caller.currentContext, Tracer.ParentSpan)
    const runtime = Runtime.make({
      context: Option.isSome(span) ? Context.make(Tracer.ParentSpan, span.value) : Context.empty(),
      fiberRefs: caller.getFiberRefs(),
      runtimeFlags: Runtime.defaultRuntime.runtimeFlags
    })
    // a unary handler is an Effect: its protocol says so
    return Runtime.runFork(runtime)(Effect.suspend(() => handle() as Effect.Effect<unknown, unknown>))
  }

  #ended(exit: Exit.Exit<unknown, unknown>): Exit.Exit<unknown, unknown> {
    this.#held--
    return Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause) ? Exit.fail(this.#unreachable()) : exit
  }

  /** Made where it is needed: its stack costs more than all else that is done to start an actor. */
  #unreachable(): ActorUnreachable {
    return new ActorUnreachable({ actor: this.#name, reason: "it has stopped" })
  }
}

/** Both forms of a stream of answers as the one that can be ended from outside. */
const toMailbox = (handled: Handled): Effect.Effect<unknown, unknown, Scope.Scope> =>
  Effect.isEffect(handled) ? handled : Mailbox.fromStream(handled, { capacity: 16 })
