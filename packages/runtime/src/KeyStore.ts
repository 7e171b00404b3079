/**
 * API keys as the database keeps them: by their digests, never as they are.
 *
 * The digest is one SHA-256. A slow, salted hash (bcrypt, Argon2) makes guessing expensive where people choose what is hashed; a key is 256
 * random bits, which nobody guesses at any speed, and a digest that is the same every time can be looked up by an index.
 */
import { createHash } from "node:crypto"
import * as SqlClient from "@effect/sql/SqlClient"
import { StorageUnavailable } from "@helixflow/schema/Errors"
import { Array as Arr, Context, Effect, Layer, type Option, Schema } from "effect"

/** What a key may use in a minute, and at once; null: as much as it likes. */
export const KeyLimits = Schema.Struct({
  rpm: Schema.NullOr(Schema.Int),
  tpm: Schema.NullOr(Schema.Int),
  concurrency: Schema.NullOr(Schema.Int),
  /** How large its share of a model is beside others' while they compete. Keys of before it was known have 1. */
  weight: Schema.optionalWith(Schema.Positive, { default: () => 1 })
})
export type KeyLimits = typeof KeyLimits.Type

/** Times are milliseconds since the epoch. */
const ApiKeyRow = Schema.Struct({
  id: Schema.String,
  /** Enough of the key to tell it from others. */
  hint: Schema.String,
  name: Schema.String,
  scopes: Schema.parseJson(Schema.Array(Schema.String)),
  limits: Schema.parseJson(KeyLimits),
  created_by: Schema.String,
  created_at: Schema.Number,
  expires_at: Schema.NullOr(Schema.Number),
  last_used_at: Schema.NullOr(Schema.Number)
})

export const ApiKey = ApiKeyRow.pipe(
  Schema.rename({
    created_by: "createdBy",
    created_at: "createdAt",
    expires_at: "expiresAt",
    last_used_at: "lastUsedAt"
  })
)
export type ApiKey = typeof ApiKey.Type

export const digestOf = (key: string): string => createHash("sha256").update(key).digest("hex")

export class KeyStore extends Context.Tag("@helixflow/runtime/KeyStore")<
  KeyStore,
  {
    readonly insert: (key: ApiKey, digest: string) => Effect.Effect<void, StorageUnavailable>
    readonly findByDigest: (digest: string) => Effect.Effect<Option.Option<ApiKey>, StorageUnavailable>
    readonly find: (id: string) => Effect.Effect<Option.Option<ApiKey>, StorageUnavailable>
    /** The newest first. */
    readonly list: Effect.Effect<ReadonlyArray<ApiKey>, StorageUnavailable>
    /** Whether it was there. */
    readonly remove: (id: string) => Effect.Effect<boolean, StorageUnavailable>
    /** Notes when keys were used; what is known to be later already stays. */
    readonly used: (times: ReadonlyMap<string, number>) => Effect.Effect<void, StorageUnavailable>
  }
>() {
  static readonly layer: Layer.Layer<KeyStore, never, SqlClient.SqlClient> = Layer.effect(
    this,
    Effect.map(SqlClient.SqlClient, (sql) => {
      const columns = sql`id, hint, name, scopes, limits, created_by, created_at, expires_at, last_used_at`
      const decode = Schema.decodeUnknown(Schema.Array(ApiKey))
      const encode = Schema.encode(ApiKey)
      /** What the database says of a failure may hold what was asked: it is left out. */
      const stored = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.tapError(effect, (error) => Effect.logWarning("The database of keys failed", error)).pipe(
          Effect.mapError(() => new StorageUnavailable({ reason: "The database of keys does not answer." }))
        )
      const select = (rows: Effect.Effect<ReadonlyArray<unknown>, unknown>) =>
        stored(Effect.flatMap(rows, (found) => Effect.orDie(decode(found))))
      return {
        insert: (key, digest) =>
          Effect.orDie(encode(key)).pipe(
            Effect.flatMap((row) => stored(sql`INSERT INTO api_keys ${sql.insert({ ...row, digest })}`)),
            Effect.asVoid
          ),
        findByDigest: (digest) =>
          Effect.map(select(sql`SELECT ${columns} FROM api_keys WHERE digest = ${digest}`), Arr.head),
        find: (id) => Effect.map(select(sql`SELECT ${columns} FROM api_keys WHERE id = ${id}`), Arr.head),
        list: select(sql`SELECT ${columns} FROM api_keys ORDER BY created_at DESC, id`),
        remove: (id) =>
          Effect.map(stored(sql`DELETE FROM api_keys WHERE id = ${id} RETURNING id`), (rows) => rows.length > 0),
        used: (times) =>
          stored(
            sql.withTransaction(
              Effect.forEach(
                times,
                ([id, at]) =>
                  sql`UPDATE api_keys SET last_used_at = ${at} WHERE id = ${id} AND (last_used_at IS NULL OR last_used_at < ${at})`,
                { discard: true }
              )
            )
          )
      }
    })
  )
}
