import { assert, describe, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Exit, Fiber, Mailbox, Scope, Stream } from "effect"
import * as StreamMailbox from "../src/StreamMailbox.ts"

const drained = <A, E>(mailbox: Mailbox.ReadonlyMailbox<A, E>) =>
  Effect.gen(function* () {
    const all: Array<A> = []
    yield* StreamMailbox.forEachBatch(mailbox, (items) => Effect.sync(() => all.push(...items)))
    return all
  })

const opened = (mailbox: Mailbox.Mailbox<number, string>, log: Array<string>) =>
  Effect.as(
    Effect.acquireRelease(
      Effect.sync(() => log.push("opened")),
      () => Effect.sync(() => log.push("closed"))
    ),
    mailbox
  )

describe("A stream of a mailbox", () => {
  it.effect("is that mailbox to who takes it as one, opened for as long as the scope lives", () =>
    Effect.gen(function* () {
      const mailbox = yield* Mailbox.make<number, string>()
      const log: Array<string> = []
      const stream = StreamMailbox.toStream(opened(mailbox, log))
      assert.deepStrictEqual(log, [])
      const scope = yield* Scope.make()
      assert.strictEqual(yield* Scope.extend(StreamMailbox.fromStream(stream), scope), mailbox)
      assert.deepStrictEqual(log, ["opened"])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(log, ["opened", "closed"])
    })
  )

  it.effect("is a stream to everybody else", () =>
    Effect.gen(function* () {
      const mailbox = yield* Mailbox.make<number, string>()
      const log: Array<string> = []
      const stream = StreamMailbox.toStream(opened(mailbox, log))
      yield* mailbox.offerAll([1, 2, 3])
      yield* mailbox.end
      assert.deepStrictEqual(Chunk.toArray(yield* Stream.runCollect(stream)), [1, 2, 3])
      assert.deepStrictEqual(log, ["opened", "closed"])
    })
  )

  it.scoped("that can't be opened fails as it would", () =>
    Effect.gen(function* () {
      const failing: Effect.Effect<Mailbox.Mailbox<number, string>, string> = Effect.fail("no")
      const mailbox = yield* StreamMailbox.fromStream(StreamMailbox.toStream(failing))
      assert.strictEqual(yield* Effect.flip(drained(mailbox)), "no")
    })
  )
})

describe("Any other stream", () => {
  it.scoped("is taken in batches, to its end or failure", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* drained(yield* StreamMailbox.fromStream(Stream.range(1, 100))), [
        ...Array.from({ length: 100 }, (_, n) => n + 1)
      ])
      const broken = yield* StreamMailbox.fromStream(Stream.concat(Stream.make(1, 2), Stream.fail("broken")))
      const got: Array<number> = []
      const failure = StreamMailbox.forEachBatch(broken, (items) => Effect.sync(() => got.push(...items)))
      assert.strictEqual(yield* Effect.flip(failure), "broken")
      assert.deepStrictEqual(got, [1, 2])
    })
  )
})

describe("What comes through an inlet", () => {
  /** Reads what comes through an inlet in a fiber, whose batches are told. */
  const reading = (onBatch: (items: ReadonlyArray<number>) => Effect.Effect<void, string> = () => Effect.void) =>
    Effect.gen(function* () {
      const inlet = yield* StreamMailbox.inlet<number, string>()
      const batches: Array<ReadonlyArray<number>> = []
      const reader = yield* Effect.fork(
        StreamMailbox.forEachBatch(inlet.mailbox, (items) => {
          batches.push(items)
          return onBatch(items)
        })
      )
      // until it waits for items
      yield* Effect.repeatN(Effect.yieldNow(), 3)
      return { inlet, batches, reader }
    })

  const microtask = Effect.promise(() => Promise.resolve())

  it.effect("together is read together, before any fiber runs", () =>
    Effect.gen(function* () {
      const { batches, inlet, reader } = yield* reading()
      const read = yield* Effect.promise(async () => {
        for (const item of [1, 2, 3]) inlet.offer(item)
        assert.deepStrictEqual(batches, [])
        await Promise.resolve()
        inlet.offer(4)
        await Promise.resolve()
        return [...batches]
      })
      assert.deepStrictEqual(read, [[1, 2, 3], [4]])
      inlet.offer(5)
      inlet.done(Exit.void)
      yield* Fiber.join(reader)
      assert.deepStrictEqual(batches, [[1, 2, 3], [4], [5]])
    })
  )

  it.effect("is kept, in its order, while its reader waits for something", () =>
    Effect.gen(function* () {
      const free = yield* Deferred.make<void>()
      const { batches, inlet, reader } = yield* reading(([first]) => (first === 1 ? Deferred.await(free) : Effect.void))
      for (const item of [1, 2, 3]) {
        inlet.offer(item)
        yield* microtask
      }
      assert.deepStrictEqual(batches, [[1]])
      yield* Deferred.succeed(free, undefined)
      yield* Effect.repeatN(Effect.yieldNow(), 3)
      inlet.offer(4)
      inlet.done(Exit.void)
      yield* Fiber.join(reader)
      assert.deepStrictEqual(batches, [[1], [2, 3], [4]])
    })
  )

  it.effect("is read to the end before its failure is", () =>
    Effect.gen(function* () {
      const { batches, inlet, reader } = yield* reading()
      inlet.offer(1)
      // as an actor does that stops
      StreamMailbox.end(inlet.mailbox, Exit.fail("broken"))
      assert.strictEqual(yield* Effect.flip(Fiber.join(reader)), "broken")
      assert.deepStrictEqual(batches, [[1]])
      assert.isFalse(inlet.done(Exit.void))
    })
  )

  it.effect("is left to the next reader by one that was interrupted", () =>
    Effect.gen(function* () {
      const { batches, inlet, reader } = yield* reading()
      inlet.offer(1)
      yield* Fiber.interruptFork(reader)
      yield* Fiber.await(reader)
      inlet.offer(2)
      inlet.done(Exit.void)
      const seen = [...batches.flat(), ...(yield* drained(inlet.mailbox))]
      assert.deepStrictEqual(seen, [1, 2])
    })
  )

  it.effect("ends its reader, and nobody else, with the reader's own failure or defect", () =>
    Effect.gen(function* () {
      const failing = yield* reading(() => Effect.fail("enough"))
      const broken = yield* reading(() => {
        throw new Error("a defect")
      })
      failing.inlet.offer(1)
      broken.inlet.offer(1)
      assert.strictEqual(yield* Effect.flip(Fiber.join(failing.reader)), "enough")
      assert.isTrue(Exit.isFailure(yield* Fiber.await(broken.reader)))
    })
  )
})
