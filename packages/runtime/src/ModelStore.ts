/** The models on this node's disks: which folders they are and what they ask for. */
import * as fs from "node:fs"
import * as path from "node:path"
import { InvalidRequest, LoadFailed, ModelNotFound, StorageUnavailable } from "@helixflow/schema/Errors"
import type { ModelSpec } from "@helixflow/schema/Model"
import { Clock, Context, Effect, Layer } from "effect"
import { LocalDevices } from "./LocalDevices.ts"
import { appearance } from "./ModelRevision.ts"
import { type KnownFolders, nothing, scan, siblingsOf, versionsOf } from "./ModelScan.ts"
import * as ModelVersions from "./ModelVersions.ts"
import { RuntimeConfig } from "./RuntimeConfig.ts"
import type { StoredModel } from "./StoredModel.ts"

/** A folder that is there and can't be served. */
export interface RefusedModel {
  readonly id: string
  readonly error: LoadFailed
}

/** How long what was found is not doubted, unless something is missing in it, milliseconds. */
const freshness = 1_000

export class ModelStore extends Context.Tag("@helixflow/runtime/ModelStore")<
  ModelStore,
  {
    /** Every model that can be served, sorted by id, as last found: the same array until it changes. */
    readonly models: Effect.Effect<ReadonlyArray<ModelSpec>>
    /**
     * By id or alias; looked for again where it is not found. `LoadFailed` for a folder that can't be served, with the reason. Of a
     * name that several versions have, the one that the key draws; without a key the one that most are sent to.
     */
    readonly find: (name: string, key?: () => string) => Effect.Effect<StoredModel, ModelNotFound | LoadFailed>
    /** Names that several versions have, sorted, as last found. */
    readonly versioned: Effect.Effect<ReadonlyArray<ModelVersions.ModelVersions>>
    /** The versions of a name, whether or not any is sent anything. */
    readonly versions: (name: string) => Effect.Effect<ModelVersions.ModelVersions, ModelNotFound>
    /** Writes down the weights of a name's versions, for now and later starts. */
    readonly weigh: (
      name: string,
      weights: ModelVersions.Weights
    ) => Effect.Effect<ModelVersions.ModelVersions, ModelNotFound | InvalidRequest | StorageUnavailable>
    /** What can't be served, and why, as last found. */
    readonly refused: Effect.Effect<ReadonlyArray<RefusedModel>>
    /** Takes notice of folders that have come, gone or changed. Folders that have not are not read again. */
    readonly refresh: Effect.Effect<void>
    /** Whether a folder has changed, as far as those are concerned that are known; looks at one after the other, holding nobody up. */
    readonly hasChanged: Effect.Effect<boolean>
    /** Takes notice at once, whenever it was looked last: somebody has seen that a folder has changed. */
    readonly look: Effect.Effect<void>
  }
>() {
  /** Reads the folders at start, and again when asked to. */
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const { modelsDirs, policy } = yield* RuntimeConfig
      const { devices } = yield* LocalDevices
      const kinds = new Set(devices.map(({ device }) => device.kind))
      const known: KnownFolders = new Map()
      let found = nothing()
      let models: ReadonlyArray<ModelSpec> = []
      let at = Number.NEGATIVE_INFINITY

      const look = Effect.gen(function* () {
        const before = found.refused
        found = scan(modelsDirs, { known, kinds, policy })
        const now = [...found.models.values()].map(({ spec }) => spec).sort((a, b) => (a.id < b.id ? -1 : 1))
        if (now.length !== models.length || now.some((spec, index) => spec !== models[index])) models = now
        for (const [id, refused] of found.refused) {
          if (before.get(id)?.message !== refused.message) yield* Effect.logWarning(refused.message)
        }
      })
      const refresh = Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (now - at < freshness) return Effect.void
        at = now
        return look
      })
      const drawnOf = (name: string, key: (() => string) | undefined): StoredModel | undefined => {
        const versions = found.versions.get(name)
        const spec =
          versions && (key === undefined ? ModelVersions.foremost(versions) : ModelVersions.drawn(versions, key()))
        return spec && found.models.get(spec.id)
      }
      const lookup = (name: string, key?: () => string) =>
        found.names.get(name) ?? drawnOf(name, key) ?? found.refused.get(name)
      const versions = (name: string) =>
        Effect.suspend(() => {
          const siblings = siblingsOf(found, modelsDirs, name)
          if (siblings === undefined) return new ModelNotFound({ model: name })
          return Effect.succeed({ ...siblings, ...(found.versions.get(name) ?? versionsOf(name, {}, siblings.known)) })
        })

      yield* refresh
      return ModelStore.of({
        models: Effect.sync(() => models),
        refused: Effect.sync(() => [...found.refused].map(([id, error]) => ({ id, error }))),
        refresh,
        hasChanged: Effect.suspend(() =>
          Effect.exists([...known, ...found.versionFiles], ([place, { look }]) =>
            Effect.zipRight(
              Effect.yieldNow(),
              Effect.sync(() => look !== appearance(place))
            )
          )
        ),
        look,
        versioned: Effect.sync(() => [...found.versions.values()].sort((a, b) => (a.id < b.id ? -1 : 1))),
        versions,
        weigh: (name, weights) =>
          Effect.gen(function* () {
            const { folder, known } = yield* versions(name)
            const problem = ModelVersions.problemOf(weights, known)
            if (problem !== undefined) return yield* invalidWeights(problem)
            yield* Effect.try({
              try: () => writeWhole(path.join(folder, ModelVersions.fileName), ModelVersions.encode(weights)),
              catch: (cause) => new StorageUnavailable({ reason: `${folder} can't be written to: ${String(cause)}` })
            })
            yield* look
            return yield* versions(name)
          }),
        find: (name, key) =>
          Effect.gen(function* () {
            if (found.names.get(name) === undefined && !found.versions.has(name)) yield* refresh
            const model = lookup(name, key)
            if (model === undefined) return yield* new ModelNotFound({ model: name })
            return model instanceof LoadFailed ? yield* model : model
          })
      })
    })
  )
}

const invalidWeights = ({ reason, version }: ModelVersions.WeightsProblem) =>
  new InvalidRequest({
    reason: `Invalid value for 'weights': ${reason}.`,
    param: version === null ? "weights" : `weights.${version}`,
    code: "invalid_value"
  })

/** Whoever reads the file finds the one before or this one, and never a part. */
const writeWhole = (file: string, text: string): void => {
  const draft = `${file}.${process.pid}.tmp`
  fs.writeFileSync(draft, text)
  fs.renameSync(draft, file)
}
