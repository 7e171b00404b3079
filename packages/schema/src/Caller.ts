/** Who asks for a place and on what terms, as far as the scheduler needs to know. */
import { Schema } from "effect"
import { KeepAlive } from "./KeepAlive.ts"

/** OpenAI's service tiers: `priority` goes before `default`, and that before `flex`. */
export const ServiceTier = Schema.Literal("priority", "default", "flex")
export type ServiceTier = typeof ServiceTier.Type

export class Caller extends Schema.Class<Caller>("Caller")({
  /** Who shares a place in the queue: all requests of a tenant have one share of a model between them. */
  tenant: Schema.String,
  tier: ServiceTier,
  /** How large the tenant's share is beside others' while they compete: twice the weight, twice the tokens. */
  weight: Schema.Positive,
  /** How long the model stays loaded if nobody uses it after this. Absent: as long as the model's own settings say. */
  keepAlive: Schema.optional(KeepAlive)
}) {}

/** Where nobody says who asks. */
export const anonymous = new Caller({ tenant: "", tier: "default", weight: 1 })

/** What a place was used for. */
export const Served = Schema.Struct({
  /** Tokens of the prompt that were computed. */
  input: Schema.NonNegativeInt,
  /** Tokens that were generated. */
  output: Schema.NonNegativeInt
})
export type Served = typeof Served.Type

/** How it stands with a request that waits. */
export const QueueProgress = Schema.Struct({
  /** Its place in the order of service; 1 is next. */
  position: Schema.Int.pipe(Schema.positive()),
  /** How many wait for the model, itself included. */
  waiting: Schema.Int.pipe(Schema.positive()),
  waitedMillis: Schema.NonNegative,
  /** How much longer it will probably wait; null while nothing is known of it. */
  expectedMillis: Schema.NullOr(Schema.NonNegative),
  /** The load of a replica that it waits for, and how long such a load usually takes. */
  loading: Schema.NullOr(
    Schema.Struct({ elapsedMillis: Schema.NonNegative, usualMillis: Schema.NullOr(Schema.NonNegative) })
  )
})
export type QueueProgress = typeof QueueProgress.Type
