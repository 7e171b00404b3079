/**
 * API keys: made, listed, revoked, and recognised. Known ones are kept in memory, so that the database is asked about a key now and then
 * and not at every request:
 *
 * - a key that is revoked on this node is refused from then on;
 * - one that is revoked on another node, or in the database, is refused within `freshMillis`;
 * - while the database does not answer, keys that this node has seen are good for `graceMillis` more.
 */
import { randomBytes } from "node:crypto"
import { type ApiKey, digestOf, type KeyLimits, KeyStore } from "@helixflow/runtime/KeyStore"
import { Services } from "@helixflow/runtime/Services"
import { KeyNotFound, type StorageUnavailable, Unauthenticated } from "@helixflow/schema/Errors"
import { Clock, Context, Effect, Layer, Option, Redacted, Schedule } from "effect"
import { admissionOf } from "./Admission.ts"
import { type PrincipalShape, type Scope, scopes } from "./Principal.ts"

const freshMillis = 5_000
const graceMillis = 60_000

/** How often it is noted when keys were used last; a request writes nothing. */
const noteInterval = "30 seconds"

/** What is said of a new key. */
export interface NewKey {
  readonly name: string
  readonly scopes: ReadonlyArray<Scope>
  readonly limits: KeyLimits
  /** Milliseconds since the epoch. */
  readonly expiresAt: number | null
}

export class ApiKeys extends Context.Tag("@helixflow/gateway/ApiKeys")<
  ApiKeys,
  {
    /** The key is given this once; what is kept of it cannot be turned back. `by` is the principal who makes it. */
    readonly create: (
      wanted: NewKey,
      by: string
    ) => Effect.Effect<{ readonly key: Redacted.Redacted; readonly record: ApiKey }, StorageUnavailable>
    readonly list: Effect.Effect<ReadonlyArray<ApiKey>, StorageUnavailable>
    readonly get: (id: string) => Effect.Effect<ApiKey, KeyNotFound | StorageUnavailable>
    readonly revoke: (id: string) => Effect.Effect<void, KeyNotFound | StorageUnavailable>
    /** Whom a key belongs to; none if there is no such key. Fails with `Unauthenticated` where there is one that has expired. */
    readonly recognise: (
      key: string
    ) => Effect.Effect<Option.Option<PrincipalShape>, Unauthenticated | StorageUnavailable>
  }
>() {
  static readonly layer: Layer.Layer<ApiKeys, never, KeyStore | Services> = Layer.scoped(
    this,
    Effect.suspend(() => make)
  )
}

interface Known {
  readonly record: ApiKey
  readonly principal: PrincipalShape
  /** When the database said so. */
  readonly at: number
}

const isScope = (scope: string): scope is Scope => scopes.some((known) => known === scope)

const principalOf = ({ id, limits, scopes }: ApiKey): PrincipalShape => ({
  id,
  tenant: id,
  scopes: new Set(scopes.filter(isScope)),
  weight: limits.weight,
  admission: admissionOf(limits)
})

const expired = new Unauthenticated({ reason: "The API key has expired." })

const make = Effect.gen(function* () {
  const store = yield* KeyStore
  /** By digest. */
  const known = new Map<string, Known>()
  const lastUsed = new Map<string, number>()
  let revocations = 0

  const noteUse = Effect.suspend(() => {
    if (lastUsed.size === 0) return Effect.void
    const times = new Map(lastUsed)
    return Effect.tap(store.used(times), () =>
      Effect.sync(() => {
        for (const [id, at] of times) if (lastUsed.get(id) === at) lastUsed.delete(id)
      })
    )
  })
  yield* Effect.addFinalizer(() => Effect.ignore(noteUse))
  yield* (yield* Services).add("key-use", Effect.schedule(Effect.ignore(noteUse), Schedule.spaced(noteInterval)))

  const forget = (id: string) => {
    revocations++
    for (const [digest, { record }] of known) if (record.id === id) known.delete(digest)
    lastUsed.delete(id)
  }

  /** What the database says, remembered; asked again where a key was revoked meanwhile, for it may be this one. */
  const look = (digest: string, now: number): Effect.Effect<Option.Option<Known>, StorageUnavailable> =>
    Effect.suspend(() => {
      const before = revocations
      return Effect.flatMap(store.findByDigest(digest), (found) => {
        if (revocations !== before) return look(digest, now)
        if (Option.isNone(found)) {
          known.delete(digest)
          return Effect.succeed(Option.none())
        }
        // the one that is known has counted what the key has used
        const principal = known.get(digest)?.principal ?? principalOf(found.value)
        const entry = { record: found.value, principal, at: now }
        known.set(digest, entry)
        return Effect.succeed(Option.some(entry))
      })
    })

  const find = (digest: string, now: number) => {
    const entry = known.get(digest)
    if (entry === undefined) return look(digest, now)
    const age = now - entry.at
    if (age < freshMillis) return Effect.succeed(Option.some(entry))
    return age < freshMillis + graceMillis
      ? Effect.orElseSucceed(look(digest, now), () => Option.fromNullable(known.get(digest)))
      : look(digest, now)
  }

  /** With the uses that the database has not been told of yet. */
  const current = (record: ApiKey): ApiKey => ({ ...record, lastUsedAt: lastUsed.get(record.id) ?? record.lastUsedAt })

  return ApiKeys.of({
    create: (wanted, by) =>
      Effect.gen(function* () {
        const key = `hx-${randomBytes(32).toString("base64url")}`
        const record: ApiKey = {
          id: `key_${randomBytes(12).toString("hex")}`,
          hint: `${key.slice(0, 6)}…${key.slice(-4)}`,
          name: wanted.name,
          scopes: wanted.scopes,
          limits: wanted.limits,
          createdBy: by,
          createdAt: yield* Clock.currentTimeMillis,
          expiresAt: wanted.expiresAt,
          lastUsedAt: null
        }
        yield* store.insert(record, digestOf(key))
        return { key: Redacted.make(key), record }
      }),
    list: Effect.map(store.list, (records) => records.map(current)),
    get: (id) =>
      Effect.flatMap(
        store.find(id),
        Option.match({
          onNone: () => Effect.fail(new KeyNotFound({ key: id })),
          onSome: (record) => Effect.succeed(current(record))
        })
      ),
    revoke: (id) =>
      Effect.flatMap(store.remove(id), (removed) => {
        forget(id)
        return removed ? Effect.void : new KeyNotFound({ key: id })
      }),
    recognise: (key) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const found = yield* find(digestOf(key), now)
        if (Option.isNone(found)) return Option.none()
        const { principal, record } = found.value
        if (record.expiresAt !== null && now >= record.expiresAt) return yield* expired
        lastUsed.set(record.id, now)
        return Option.some(principal)
      })
  })
})
