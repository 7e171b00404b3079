/**
 * What models really take besides their KV cache, learned from their workers, in place of the estimate from their files.
 *
 * Of a worker's peak, what its slots can take is not its own to learn from: it is claimed whole, used or not. So what is learned is the
 * peak right after the load, before any request; and any later peak less all of the KV cache and the kept prefixes, where that is more.
 * What a worker takes besides under load shows only under load, hence what is learned is never far below the estimate. An operator's own
 * figure is believed as it is.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import { DeviceKind } from "@helixflow/schema/Device"
import { Bytes } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import { Clock, Context, Effect, Layer } from "effect"

export interface Peak {
  /** As the model store has it: with the estimate. */
  readonly spec: ModelSpec
  readonly kind: DeviceKind
  /** Bytes. */
  readonly peak: number
  /** It was read when the model had just been loaded. */
  readonly fresh: boolean
}

/** Never less than this part of the estimate. */
const leastOfEstimate = 0.75
/** The next worker may take a little more. */
const margin = 1.05
/** Smaller changes are not worth another claim. */
const noticeable = 1.02

/** What a peak says of the memory besides the KV cache, bytes. */
export const besidesCache = ({ fresh, kind, peak, spec }: Peak): number =>
  Math.ceil(fresh ? peak : Math.max(0, peak - spec.kvBytesOn(kind) - spec.prefixCache))

/** What is claimed for the weights and the runtime, from the estimate and the most that was seen. */
export const weightsOf = (estimate: number, seen: number): number =>
  Math.ceil(Math.max(seen * margin, estimate * leastOfEstimate))

/** Everything that the figure depends on: other files have another estimate. */
const keyOf = (spec: ModelSpec, kind: DeviceKind) =>
  JSON.stringify([spec.id, kind, spec.context, spec.slots, spec.footprintOn(kind).weights])

interface Table {
  readonly load: Effect.Effect<ReadonlyMap<string, number>>
  readonly save: (key: string, bytes: number) => Effect.Effect<void>
}

const make = Effect.fnUntraced(function* (table: Table) {
  const seen = new Map(yield* table.load)
  let before: { readonly specs: ReadonlyArray<ModelSpec>; readonly applied: ReadonlyArray<ModelSpec> } | undefined

  return {
    applied: (specs: ReadonlyArray<ModelSpec>) => {
      if (before?.specs === specs) return before.applied
      const applied = specs.map((spec) =>
        DeviceKind.literals.reduce((learned, kind) => {
          const footprint = spec.onKinds[kind]
          const known = footprint === undefined || footprint.declared ? undefined : seen.get(keyOf(spec, kind))
          if (footprint === undefined || known === undefined) return learned
          return learned.withWeightsOn(kind, Bytes.make(weightsOf(footprint.weights, known)))
        }, spec)
      )
      before = { specs, applied }
      return applied
    },
    observe: (peak: Peak) =>
      Effect.suspend(() => {
        // what is split is declared too, so that a peak is always of the whole model
        if (peak.spec.footprintOn(peak.kind).declared) return Effect.void
        const key = keyOf(peak.spec, peak.kind)
        const bytes = besidesCache(peak)
        if (bytes <= (seen.get(key) ?? 0) * noticeable) return Effect.void
        seen.set(key, bytes)
        before = undefined
        return table.save(key, bytes)
      })
  }
})

export class LearnedMemory extends Context.Tag("@helixflow/runtime/LearnedMemory")<
  LearnedMemory,
  {
    /** The models with what was learned of them on each kind of device that they have a footprint for; the same array as before while nothing has changed. */
    readonly applied: (specs: ReadonlyArray<ModelSpec>) => ReadonlyArray<ModelSpec>
    readonly observe: (peak: Peak) => Effect.Effect<void>
  }
>() {
  /** Forgets with the process. */
  static readonly layerMemory = Layer.effect(
    this,
    make({ load: Effect.succeed(new Map<string, number>()), save: () => Effect.void })
  )

  /** Kept in the database. While that does not answer, what is learned lasts as long as the process. */
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const rows = sql<{ readonly loaded: string; readonly bytes: number }>`SELECT loaded, bytes FROM learned_memory`
      return yield* make({
        load: rows.pipe(
          Effect.map((found) => new Map(found.map(({ bytes, loaded }) => [loaded, bytes] as const))),
          Effect.catchAllCause((cause) =>
            Effect.as(Effect.logWarning("what models take could not be read", cause), new Map<string, number>())
          )
        ),
        save: (loaded, bytes) =>
          Effect.flatMap(
            Clock.currentTimeMillis,
            (now) => sql`
              INSERT INTO learned_memory ${sql.insert({ loaded, bytes, seen_at: now })}
              ON CONFLICT (loaded) DO UPDATE SET bytes = excluded.bytes, seen_at = excluded.seen_at`
          ).pipe(Effect.ignoreLogged)
      })
    })
  )
}
