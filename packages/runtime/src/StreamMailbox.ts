/**
 * Streams of answers as those read them who have no time: as mailboxes, whose items are taken as many at a time as there are. What an
 * actor of this node streams is a mailbox from the start; to make a stream of it and a mailbox of that again costs more than all else
 * that is done for a token.
 */
import { type Chunk, Effect, Mailbox, type Scope, Stream } from "effect"

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

/** Calls `onBatch` with the items as they come until there are no more. */
export const forEachBatch = <A, E, E2, R>(
  mailbox: Mailbox.ReadonlyMailbox<A, E>,
  onBatch: (items: Chunk.Chunk<A>) => Effect.Effect<void, E2, R>
): Effect.Effect<void, E | E2, R> => {
  let ended = false
  const next = Effect.flatMap(mailbox.takeAll, ([items, done]) => {
    ended = done
    return onBatch(items)
  })
  return Effect.whileLoop({ while: () => !ended, body: () => next, step: () => undefined })
}
