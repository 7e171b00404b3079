import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, Exit, Mailbox, Scope, Stream } from "effect"
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
