import { assert, describe, it } from "@effect/vitest"
import { type ApiKey, digestOf, KeyStore } from "@helixflow/runtime/KeyStore"
import { Services } from "@helixflow/runtime/Services"
import * as Storage from "@helixflow/runtime/Storage"
import { StorageUnavailable } from "@helixflow/schema/Errors"
import { Context, Effect, Layer, Option, Redacted, Ref, TestClock } from "effect"
import { ApiKeys } from "../src/ApiKeys.ts"

const wanted = {
  name: "a key",
  scopes: ["inference" as const],
  limits: { rpm: null, tpm: null, concurrency: null, weight: 1 },
  expiresAt: null
}

/** The real store, which can be cut off, and which counts how often it is asked. */
const store = Effect.gen(function* () {
  const context = yield* Layer.build(Layer.provide(KeyStore.layer, Storage.layerMemory))
  const real = Context.get(context, KeyStore)
  const away = yield* Ref.make(false)
  const asked = yield* Ref.make(0)
  const watched: Context.Tag.Service<KeyStore> = {
    ...real,
    findByDigest: (digest) =>
      Effect.gen(function* () {
        yield* Ref.update(asked, (n) => n + 1)
        if (yield* Ref.get(away)) return yield* new StorageUnavailable({ reason: "away" })
        return yield* real.findByDigest(digest)
      })
  }
  return { real, away, asked, watched }
})

/** The keys of a node on this store. */
const node = (keyStore: Context.Tag.Service<KeyStore>) =>
  Effect.map(
    Layer.build(
      Layer.fresh(ApiKeys.layer).pipe(
        Layer.provide(Layer.succeed(KeyStore, keyStore)),
        Layer.provide(Layer.fresh(Services.layerAlone))
      )
    ),
    (context) => Context.get(context, ApiKeys)
  )

const idOf = (keys: Context.Tag.Service<ApiKeys>, key: Redacted.Redacted) =>
  Effect.map(keys.recognise(Redacted.value(key)), (found) => Option.getOrNull(Option.map(found, ({ id }) => id)))

describe("API keys", () => {
  it.scoped("are 256 random bits that are kept nowhere, and recognised", () =>
    Effect.gen(function* () {
      const { real } = yield* store
      const keys = yield* node(real)
      const { key, record } = yield* keys.create({ ...wanted, scopes: ["admin"] }, "bootstrap")
      assert.match(Redacted.value(key), /^hx-[\w-]{43}$/)
      assert.notInclude(JSON.stringify(yield* real.list), Redacted.value(key).slice(8, -8))
      const principal = Option.getOrThrow(yield* keys.recognise(Redacted.value(key)))
      assert.deepInclude(principal, { id: record.id, tenant: record.id, scopes: new Set(["admin"] as const) })
      assert.strictEqual(yield* idOf(keys, Redacted.make(`${Redacted.value(key)}x`)), null)
      assert.deepStrictEqual(yield* real.findByDigest(digestOf(Redacted.value(key))), Option.some(record))
    })
  )

  it.scoped("are looked up now and then, not at every use", () =>
    Effect.gen(function* () {
      const { asked, watched } = yield* store
      const keys = yield* node(watched)
      const { key } = yield* keys.create(wanted, "bootstrap")
      for (let i = 0; i < 100; i++) yield* idOf(keys, key)
      assert.strictEqual(yield* Ref.get(asked), 1)
      yield* TestClock.adjust("5 seconds")
      yield* idOf(keys, key)
      assert.strictEqual(yield* Ref.get(asked), 2)
    })
  )

  it.scoped("are refused at once where they were revoked, and soon everywhere else", () =>
    Effect.gen(function* () {
      const { real } = yield* store
      const here = yield* node(real)
      const there = yield* node(real)
      const { key, record } = yield* here.create(wanted, "bootstrap")
      assert.strictEqual(yield* idOf(here, key), record.id)
      assert.strictEqual(yield* idOf(there, key), record.id)
      yield* here.revoke(record.id)
      assert.strictEqual(yield* idOf(here, key), null)
      yield* TestClock.adjust("4999 millis")
      assert.strictEqual(yield* idOf(there, key), record.id)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* idOf(there, key), null)
      assert.strictEqual((yield* Effect.flip(here.revoke(record.id)))._tag, "KeyNotFound")
      assert.strictEqual((yield* Effect.flip(here.get(record.id)))._tag, "KeyNotFound")
    })
  )

  it.scoped("are refused at once even when one is being looked up as it is revoked", () =>
    Effect.gen(function* () {
      const { real } = yield* store
      const hook = yield* Ref.make<Effect.Effect<void>>(Effect.void)
      const slow: Context.Tag.Service<KeyStore> = {
        ...real,
        findByDigest: (digest) =>
          Effect.tap(real.findByDigest(digest), () => Effect.flatten(Ref.getAndSet(hook, Effect.void)))
      }
      const keys = yield* node(slow)
      const { key, record } = yield* keys.create(wanted, "bootstrap")
      yield* Ref.set(hook, Effect.orDie(keys.revoke(record.id)))
      assert.strictEqual(yield* idOf(keys, key), null)
      assert.strictEqual(yield* idOf(keys, key), null)
    })
  )

  it.scoped("are good for a minute more while the database is away, and those that nobody knows are not", () =>
    Effect.gen(function* () {
      const { away, watched } = yield* store
      const keys = yield* node(watched)
      const { key, record } = yield* keys.create(wanted, "bootstrap")
      const unseen = yield* keys.create(wanted, "bootstrap")
      yield* idOf(keys, key)
      yield* Ref.set(away, true)
      yield* TestClock.adjust("64 seconds")
      assert.strictEqual(yield* idOf(keys, key), record.id)
      assert.strictEqual((yield* Effect.flip(idOf(keys, unseen.key)))._tag, "StorageUnavailable")
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* Effect.flip(idOf(keys, key)))._tag, "StorageUnavailable")
      yield* Ref.set(away, false)
      assert.strictEqual(yield* idOf(keys, key), record.id)
    })
  )

  it.scoped("expire, and say so", () =>
    Effect.gen(function* () {
      const keys = yield* node((yield* store).real)
      const { key, record } = yield* keys.create({ ...wanted, expiresAt: 1000 }, "bootstrap")
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(yield* idOf(keys, key), record.id)
      yield* TestClock.adjust("1 millis")
      const error = yield* Effect.flip(idOf(keys, key))
      assert.strictEqual(error.message, "The API key has expired.")
    })
  )

  it.scoped("keep their limits for as long as they are known", () =>
    Effect.gen(function* () {
      const keys = yield* node((yield* store).real)
      const { key } = yield* keys.create(
        { ...wanted, limits: { rpm: 1, tpm: null, concurrency: null, weight: 1 } },
        "bootstrap"
      )
      const enter = Effect.map(keys.recognise(Redacted.value(key)), (found) =>
        Option.getOrThrow(found).admission.enter(0)
      )
      assert.strictEqual((yield* enter)._tag, "Lease")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* enter)._tag, "RateLimitExceeded")
    })
  )

  it.scoped("tell when they were used last, and note it twice a minute and at the end", () =>
    Effect.gen(function* () {
      const { real } = yield* store
      const noted = Effect.map(real.list, (records) => records.map(({ lastUsedAt }: ApiKey) => lastUsedAt))
      yield* Effect.scoped(
        Effect.gen(function* () {
          const keys = yield* node(real)
          const { key, record } = yield* keys.create(wanted, "bootstrap")
          yield* TestClock.adjust("1 seconds")
          yield* idOf(keys, key)
          assert.strictEqual((yield* keys.get(record.id)).lastUsedAt, 1000)
          assert.deepStrictEqual(yield* noted, [null])
          yield* TestClock.adjust("30 seconds")
          assert.deepStrictEqual(yield* noted, [1000])
          yield* idOf(keys, key)
        })
      )
      assert.deepStrictEqual(yield* noted, [31_000])
    })
  )
})
