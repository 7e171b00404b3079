/**
 * Streams of answers as those read them who have no time: as mailboxes, whose items are taken as many at a time as there are. What an
 * actor of this node streams is a mailbox from the start; to make a stream of it and a mailbox of that again costs more than all else
 * that is done for a token.
 *
 * Waking a fiber for each token costs next to that. So a mailbox may have an inlet: through it items go straight to who reads the mailbox
 * by `forEachBatch`, in a microtask, so that what comes together is read together. Its fiber sleeps until the end, or until it has to wait
 * for something itself; meanwhile the mailbox holds the items.
 */
import { Chunk, Effect, type Exit, Mailbox, Option, type Scope, Stream } from "effect"

type Open<A, E> = Effect.Effect<Mailbox.ReadonlyMailbox<A, E>, E, Scope.Scope>

/** How the streams that are made here are opened. */
const opens = new WeakMap<object, Open<unknown, unknown>>()

/** The stream of what is opened for each of its readers. */
export const toStream = <A, E>(open: Open<A, E>): Stream.Stream<A, E> => {
  const stream = Stream.unwrapScoped(Effect.map(open, (mailbox) => Mailbox.toStream(mailbox)))
  opens.set(stream, open)
  return stream
}

/** The items of a stream, for as long as the scope lives. */
export const fromStream = <A, E>(
  stream: Stream.Stream<A, E>
): Effect.Effect<Mailbox.ReadonlyMailbox<A, E>, never, Scope.Scope> => {
  // what a stream was made of has its types
  const open = opens.get(stream) as Open<A, E> | undefined
  return open === undefined
    ? Mailbox.fromStream(stream)
    : Effect.catchAll(open, (error) => Effect.tap(Mailbox.make<A, E>(), (mailbox) => mailbox.fail(error)))
}

interface Reader<A> {
  readonly take: (items: ReadonlyArray<A>) => void
  readonly end: () => void
}

/** What puts items into a mailbox that has no bound, and with `end`, ends it: nothing else may. */
export class Inlet<A, E> {
  #reader: Reader<A> | null = null
  /** For the reader, in the microtask that comes. */
  #pending: Array<A> = []

  constructor(readonly mailbox: Mailbox.Mailbox<A, E>) {
    inlets.set(mailbox, this)
  }

  offer(item: A): void {
    if (this.#reader === null) this.mailbox.unsafeOffer(item)
    else if (this.#pending.push(item) === 1) deliver(this)
  }

  done(exit: Exit.Exit<void, E>): boolean {
    const reader = this.#reader
    this.#detach()
    const isFirst = this.mailbox.unsafeDone(exit)
    reader?.end()
    return isFirst
  }

  /** Calls `onBatch` with the items that come until it has something to wait for, or there are no more. */
  read<E2, R>(onBatch: OnBatch<A, E2, R>): Effect.Effect<void, E2, R> {
    return Effect.async<void, E2, R>((resume) => {
      const leave = (next: Effect.Effect<void, E2, R>) => {
        this.#detach()
        resume(next)
      }
      const take = (items: ReadonlyArray<A>) => {
        let next: Effect.Effect<void, E2, R>
        try {
          next = onBatch(items)
        } catch (defect) {
          next = Effect.die(defect)
        }
        if (next !== Effect.void) leave(next)
      }
      this.#reader = { take, end: () => resume(Effect.void) }
      return Effect.sync(() => this.#detach())
    })
  }

  /** Hands on what has come. */
  flush(): void {
    const items = this.#pending
    if (items.length === 0) return
    this.#pending = []
    this.#reader?.take(items)
  }

  #detach(): void {
    this.#reader = null
    if (this.#pending.length > 0) this.mailbox.unsafeOfferAll(this.#pending)
    this.#pending = []
  }
}

let full: Array<{ readonly flush: () => void }> = []
const soon = Promise.resolve()

/** One microtask for all that comes at once: a step of an engine has tokens for each of its streams. */
const deliver = (inlet: { readonly flush: () => void }): void => {
  if (full.push(inlet) === 1) void soon.then(deliverAll)
}

const deliverAll = () => {
  const inlets = full
  full = []
  for (const inlet of inlets) inlet.flush()
}

const inlets = new WeakMap<object, unknown>()

// an inlet has the types of its mailbox
const inletOf = <A, E>(mailbox: Mailbox.ReadonlyMailbox<A, E>) => inlets.get(mailbox) as Inlet<A, E> | undefined

/** A mailbox that items go through without waking its reader. */
export const inlet = <A, E>(): Effect.Effect<Inlet<A, E>> =>
  Effect.map(Mailbox.make<A, E>(), (mailbox) => new Inlet(mailbox))

/** Ends a mailbox, which may have an inlet. */
export const end = <A, E>(mailbox: Mailbox.Mailbox<A, E>, exit: Exit.Exit<void, E>): void => {
  const inlet = inletOf(mailbox)
  if (inlet === undefined) mailbox.unsafeDone(exit)
  else inlet.done(exit)
}

/** What is done with items. `Effect.void` itself: nothing is left to wait for. */
export type OnBatch<A, E, R> = (items: ReadonlyArray<A>) => Effect.Effect<void, E, R>

/** Calls `onBatch` with the items as they come until there are no more. */
export const forEachBatch = <A, E, E2, R>(
  mailbox: Mailbox.ReadonlyMailbox<A, E>,
  onBatch: OnBatch<A, E2, R>
): Effect.Effect<void, E | E2, R> => {
  const inlet = inletOf(mailbox)
  let ended = false
  const next = Effect.flatMap(mailbox.takeAll, ([items, done]) => {
    ended = done
    return onBatch(Chunk.toReadonlyArray(items))
  })
  const isEmpty = () => Option.contains(mailbox.unsafeSize(), 0)
  return Effect.whileLoop({
    while: () => !ended,
    body: () => (inlet !== undefined && isEmpty() ? inlet.read(onBatch) : next),
    step: () => undefined
  })
}
