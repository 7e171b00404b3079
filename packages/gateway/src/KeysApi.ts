/** `/admin/v1/keys`: API keys, made, listed and revoked. */
import { HttpApiEndpoint, HttpApiGroup } from "@effect/platform"
import { expected, nullish, PositiveInteger, unsupported } from "@helixflow/schema/OpenAiParameter"
import { Schema } from "effect"
import { scopes } from "./Principal.ts"

const Scopes = Schema.Array(
  Schema.Literal(...scopes).pipe(expected(`one of ${scopes.map((scope) => `"${scope}"`).join(", ")}`))
).pipe(Schema.minItems(1), expected("a non-empty array of scopes"))

const Name = Schema.String.pipe(Schema.minLength(1), Schema.maxLength(200), expected("a text of 1 to 200 characters"))

/** Of two keys that compete for a model, one with twice the weight is served twice as much. */
const Weight = Schema.Number.pipe(Schema.between(0.01, 100), expected("a number between 0.01 and 100"))

/** Seconds since the epoch, as OpenAI has times, or as people write them. */
const Instant = Schema.Union(
  Schema.Number,
  Schema.String.pipe(Schema.filter((text) => /^\d{4}-\d\d-\d\dT/.test(text) && !Number.isNaN(Date.parse(text))))
).pipe(expected("seconds since the epoch, or a time such as 2030-01-31T12:00:00Z"))

/** A body of `POST /admin/v1/keys`. */
export const NewKeyBody = Schema.Struct({
  name: Name,
  scopes: nullish(Scopes),
  limits: nullish(
    Schema.Struct({
      rpm: nullish(PositiveInteger),
      tpm: nullish(PositiveInteger),
      concurrency: nullish(PositiveInteger),
      weight: nullish(Weight)
    }).pipe(expected("an object with rpm, tpm, concurrency or weight"))
  ),
  budget_usd: unsupported("Models have no prices here, so nothing could be counted against a budget."),
  expires_at: nullish(Instant)
})

const key = {
  id: Schema.String,
  object: Schema.Literal("api_key"),
  name: Schema.String,
  /** The first and last characters of the key. */
  hint: Schema.String,
  scopes: Schema.Array(Schema.String),
  limits: Schema.Struct({
    rpm: Schema.NullOr(Schema.Int),
    tpm: Schema.NullOr(Schema.Int),
    concurrency: Schema.NullOr(Schema.Int),
    weight: Schema.Number
  }),
  created_by: Schema.String,
  created_at: Schema.Number,
  expires_at: Schema.NullOr(Schema.Number),
  last_used_at: Schema.NullOr(Schema.Number)
}

export const KeyView = Schema.Struct(key)
export type KeyView = typeof KeyView.Type

/** The one time that the key itself is shown. */
export const NewKeyView = Schema.Struct({ ...key, key: Schema.String })

export const KeyList = Schema.Struct({ object: Schema.Literal("list"), data: Schema.Array(KeyView) })

export const KeyDeleted = Schema.Struct({
  id: Schema.String,
  object: Schema.Literal("api_key.deleted"),
  deleted: Schema.Literal(true)
})

const ById = Schema.Struct({ id: Schema.String })

export const KeysApi = HttpApiGroup.make("keys")
  .add(HttpApiEndpoint.get("list", "/admin/v1/keys").addSuccess(KeyList))
  .add(HttpApiEndpoint.post("create", "/admin/v1/keys").setPayload(NewKeyBody).addSuccess(NewKeyView, { status: 201 }))
  .add(HttpApiEndpoint.get("show", "/admin/v1/keys/:id").setPath(ById).addSuccess(KeyView))
  .add(HttpApiEndpoint.del("revoke", "/admin/v1/keys/:id").setPath(ById).addSuccess(KeyDeleted))
