/**
 * Several versions of a model behind one name. A folder `org/name` with a `versions.json` and the models `org/name/v1`, `org/name/v2` in
 * it answers as `org/name`, with the version that a conversation's key draws: a conversation stays with its version, and when weights
 * change only as many conversations move as must. Pure.
 */
import { hash } from "@helixflow/scheduler/FitTree"
import type { ModelId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import { Schema } from "effect"

export const fileName = "versions.json"

const VersionsFile = Schema.Struct({ weights: Schema.Record({ key: Schema.NonEmptyString, value: Schema.Number }) })

export const decode = Schema.decodeUnknownEither(Schema.parseJson(VersionsFile), { onExcessProperty: "error" })

export const encode = (weights: Weights): string => `${JSON.stringify({ weights }, null, 2)}\n`

/** The share of the conversations of each version, by the name of its folder. */
export type Weights = Readonly<Record<string, number>>

export interface ModelVersion {
  /** Its folder's name. */
  readonly version: string
  readonly spec: ModelSpec
  /** 0: nobody is sent there, and whoever asks for it by its own id is answered. */
  readonly weight: number
}

export interface ModelVersions {
  /** The name that all have in common. */
  readonly id: ModelId
  /** Sorted by their names. */
  readonly versions: ReadonlyArray<ModelVersion>
}

export interface WeightsProblem {
  readonly reason: string
  /** Of the weights. */
  readonly version: string | null
}

/** What rounding may leave of a sum. */
const tolerance = 1e-6

/** Why these can't be the weights of these versions, if they can't. */
export const problemOf = (weights: Weights, known: ReadonlyMap<string, ModelSpec>): WeightsProblem | undefined => {
  const names = Object.keys(weights)
  for (const version of names) {
    const weight = weights[version] ?? 0
    if (!known.has(version)) {
      return { reason: `there is no version \`${version}\`, but ${[...known.keys()].join(", ")}`, version }
    }
    if (!(weight >= 0 && weight <= 1)) return { reason: `${weight} is no share between 0 and 1`, version }
  }
  const sum = names.reduce((sum, version) => sum + (weights[version] ?? 0), 0)
  if (Math.abs(sum - 1) > tolerance) return { reason: `the weights add up to ${sum}, not to 1`, version: null }
  const kinds = new Set(names.map((version) => `${known.get(version)?.task}/${known.get(version)?.external}`))
  return kinds.size > 1
    ? { reason: "its versions do different things, or some are served by programs of their own", version: null }
    : undefined
}

/** A number of its own for each conversation and version, evenly distributed between 0 and 1. */
const luck = (key: string, version: string): number => (hash(`${key}\n${version}`) + 0.5) / 2 ** 32

/** The version that a key draws: rendezvous hashing with weights. */
export const drawn = ({ versions }: ModelVersions, key: string): ModelSpec | undefined => {
  let best: { readonly spec: ModelSpec; readonly score: number } | undefined
  for (const { spec, version, weight } of versions) {
    if (weight === 0) continue
    const score = -weight / Math.log(luck(key, version))
    if (best === undefined || score > best.score) best = { spec, score }
  }
  return best?.spec
}

/** The version that most conversations have: whom an operator means who names none. */
export const foremost = ({ versions }: ModelVersions): ModelSpec | undefined =>
  versions.reduce<ModelVersion | undefined>((best, one) => (one.weight > (best?.weight ?? 0) ? one : best), undefined)
    ?.spec
