import { expect, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { type ApiKey, digestOf, KeyStore } from "../src/KeyStore.ts"
import { onEachDatabase } from "./databases.ts"

const record = (id: string, more: Partial<ApiKey> = {}): ApiKey => ({
  id,
  hint: "hx-abc…wxyz",
  name: "ж's key",
  scopes: ["inference", "admin"],
  limits: { rpm: 1, tpm: null, concurrency: 3, weight: 2 },
  createdBy: "bootstrap",
  createdAt: 1_700_000_000_000,
  expiresAt: null,
  lastUsedAt: null,
  ...more
})

it("knows keys by their SHA-256", () => {
  expect(digestOf("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
})

onEachDatabase("the key store", (database) => {
  it.layer(Layer.provideMerge(KeyStore.layer, database))((it) => {
    it.effect("finds a key by its digest and by its id, as it was put in", () =>
      Effect.gen(function* () {
        const store = yield* KeyStore
        const one = record("key_1", { expiresAt: 1_800_000_000_001, lastUsedAt: 7 })
        yield* store.insert(one, digestOf("one"))
        expect(yield* store.findByDigest(digestOf("one"))).toEqual(Option.some(one))
        expect(yield* store.find("key_1")).toEqual(Option.some(one))
        expect(yield* store.findByDigest(digestOf("two"))).toEqual(Option.none())
        expect(yield* store.find("key_2")).toEqual(Option.none())
      })
    )

    it.effect("lists the newest first", () =>
      Effect.gen(function* () {
        const store = yield* KeyStore
        yield* store.insert(record("key_2", { createdAt: 1_700_000_000_001 }), digestOf("two"))
        expect((yield* store.list).map(({ id }) => id)).toEqual(["key_2", "key_1"])
      })
    )

    it.effect("remembers the latest use, whoever tells it", () =>
      Effect.gen(function* () {
        const store = yield* KeyStore
        yield* store.used(
          new Map([
            ["key_1", 900],
            ["key_2", 800],
            ["gone", 1]
          ])
        )
        yield* store.used(
          new Map([
            ["key_1", 700],
            ["key_2", 1000]
          ])
        )
        const times = (yield* store.list).map(({ id, lastUsedAt }) => [id, lastUsedAt])
        expect(new Map(times.map(([id, at]) => [id, at]))).toEqual(
          new Map([
            ["key_1", 900],
            ["key_2", 1000]
          ])
        )
      })
    )

    it.effect("forgets a key that is removed, once", () =>
      Effect.gen(function* () {
        const store = yield* KeyStore
        expect(yield* store.remove("key_1")).toBe(true)
        expect(yield* store.remove("key_1")).toBe(false)
        expect(yield* store.findByDigest(digestOf("one"))).toEqual(Option.none())
      })
    )

    it.effect("says that the database is at fault where it is", () =>
      Effect.gen(function* () {
        const store = yield* KeyStore
        const twice = yield* Effect.flip(store.insert(record("key_2"), digestOf("two")))
        expect(twice._tag).toBe("StorageUnavailable")
        expect(twice.message).not.toContain(digestOf("two"))
      })
    )
  })
})
