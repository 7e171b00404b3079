/** What `KeysApi.ts` defines, served. */
import type { ApiKey } from "@helixflow/runtime/KeyStore"
import { InvalidRequest } from "@helixflow/schema/Errors"
import { Clock, Effect, Redacted } from "effect"
import * as AdminRouter from "./AdminRouter.ts"
import { ApiKeys } from "./ApiKeys.ts"
import { KeysApi, type KeyView } from "./KeysApi.ts"
import { Principal } from "./Principal.ts"

const seconds = (millis: number | null) => (millis === null ? null : millis / 1000)

const toView = (record: ApiKey): KeyView => ({
  id: record.id,
  object: "api_key",
  name: record.name,
  hint: record.hint,
  scopes: record.scopes,
  limits: record.limits,
  created_by: record.createdBy,
  created_at: Math.floor(record.createdAt / 1000),
  expires_at: seconds(record.expiresAt),
  last_used_at: seconds(record.lastUsedAt)
})

/** Milliseconds since the epoch; a key that would be born dead is a slip. */
const expiryOf = (instant: string | number | null, now: number) => {
  const at = typeof instant === "string" ? Date.parse(instant) : instant === null ? null : instant * 1000
  return at === null || at > now
    ? Effect.succeed(at)
    : Effect.fail(
        new InvalidRequest({
          reason: "Invalid value for 'expires_at': expected a time to come.",
          param: "expires_at",
          code: "invalid_value"
        })
      )
}

export const layer = AdminRouter.implement(KeysApi, {
  list: () =>
    Effect.gen(function* () {
      const records = yield* (yield* ApiKeys).list
      return { object: "list" as const, data: records.map(toView) }
    }),
  create: ({ payload: { expires_at, limits, name, scopes } }) =>
    Effect.gen(function* () {
      const wanted = {
        name,
        scopes: scopes ?? (["inference"] as const),
        limits: {
          rpm: limits?.rpm ?? null,
          tpm: limits?.tpm ?? null,
          concurrency: limits?.concurrency ?? null,
          weight: limits?.weight ?? 1
        },
        expiresAt: yield* expiryOf(expires_at ?? null, yield* Clock.currentTimeMillis)
      }
      const { key, record } = yield* (yield* ApiKeys).create(wanted, (yield* Principal).id)
      return { ...toView(record), key: Redacted.value(key) }
    }),
  show: ({ path }) =>
    Effect.map(
      Effect.flatMap(ApiKeys, (keys) => keys.get(path.id)),
      toView
    ),
  revoke: ({ path: { id } }) =>
    Effect.as(
      Effect.flatMap(ApiKeys, (keys) => keys.revoke(id)),
      { id, object: "api_key.deleted" as const, deleted: true as const }
    )
})
