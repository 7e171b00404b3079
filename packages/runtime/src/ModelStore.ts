/** The models on this node's disks: which folders they are and what they ask for. */
import * as fs from "node:fs"
import * as path from "node:path"
import type { DeviceKind } from "@helixflow/schema/Device"
import { InvalidRequest, LoadFailed, ModelNotFound, StorageUnavailable } from "@helixflow/schema/Errors"
import { ModelId } from "@helixflow/schema/Ids"
import type { EngineChoice, ModelSpec, PolicyName } from "@helixflow/schema/Model"
import { Clock, Context, Effect, Either, Layer, ParseResult } from "effect"
import { LocalDevices } from "./LocalDevices.ts"
import { describeModelFolder } from "./ModelFolder.ts"
import { appearance, revisionOf } from "./ModelRevision.ts"
import * as ModelSettings from "./ModelSettings.ts"
import * as ModelVersions from "./ModelVersions.ts"
import { RuntimeConfig } from "./RuntimeConfig.ts"
import * as ServerSettings from "./ServerSettings.ts"

export interface StoredModel {
  readonly spec: ModelSpec
  /** The model's folder, absolute. */
  readonly folder: string
  readonly engine: EngineChoice
  /** Threads of one operator; null: as many as the node gives every replica. */
  readonly threads: number | null
  /** The program that serves it; null: an engine of ours does. */
  readonly server: ServerSettings.ServerSettings | null
}

/** A folder that is there and can't be served. */
export interface RefusedModel {
  readonly id: string
  readonly error: LoadFailed
}

const settingsFile = "helixflow.json"

/** Folders below a models directory that are looked at: `name`, `org/name`, `org/name/version`. */
const maxDepth = 3

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
          if (before.get(id) !== refused) yield* Effect.logWarning(refused.message)
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

interface Found {
  readonly models: Map<string, StoredModel>
  /** By id and by alias. */
  readonly names: Map<string, StoredModel>
  readonly refused: Map<string, LoadFailed>
  /** Names that several models have. */
  readonly versions: Map<string, ModelVersions.ModelVersions>
  /** The files that say so, and what they looked like. */
  readonly versionFiles: Map<string, { readonly look: string }>
}

const nothing = (): Found => ({
  models: new Map(),
  names: new Map(),
  refused: new Map(),
  versions: new Map(),
  versionFiles: new Map()
})

type Read = Either.Either<StoredModel, LoadFailed>

/** What was read from a folder, and what the folder looked like then. */
type KnownFolders = Map<string, { readonly look: string; readonly read: Read }>

const processorAlone: ReadonlySet<DeviceKind> = new Set(["cpu"])

/** What the models share. */
interface Pool {
  /** Kinds of the devices that the models may be loaded on; the processor when absent. */
  readonly kinds: ReadonlySet<DeviceKind>
  /** Of models that name none; `best-fit` when absent. */
  readonly policy: PolicyName
}

export interface ScanOptions extends Partial<Pool> {
  readonly known?: KnownFolders
}

/**
 * An id that two folders have belongs to the one in the earlier directory; an id wins over an alias. Folders that look as they are
 * `known` are not read again; `known` is brought up to date.
 */
export const scan = (
  modelsDirs: ReadonlyArray<string>,
  { known = new Map(), kinds = processorAlone, policy = "best-fit" }: ScanOptions = {}
): Found => {
  const found = nothing()
  const gone = new Set(known.keys())
  for (const directory of modelsDirs) {
    for (const folder of modelFolders(directory, maxDepth)) {
      const name = nameOf(directory, folder)
      const look = appearance(folder)
      const before = known.get(folder)
      const read = before?.look === look ? before.read : readModel(folder, ModelId.make(name), { kinds, policy })
      known.set(folder, { look, read })
      gone.delete(folder)
      if (Either.isLeft(read)) found.refused.set(name, read.left)
      else if (!found.models.has(read.right.spec.id)) found.models.set(read.right.spec.id, read.right)
    }
  }
  for (const folder of gone) known.delete(folder)
  for (const model of found.models.values()) {
    for (const alias of model.spec.aliases) if (!found.names.has(alias)) found.names.set(alias, model)
  }
  for (const [id, model] of found.models) found.names.set(id, model)
  for (const directory of modelsDirs) {
    for (const folder of foldersAbove(directory, found)) {
      const file = path.join(folder, ModelVersions.fileName)
      const name = nameOf(directory, folder)
      if (!fs.existsSync(file) || found.names.has(name) || found.versions.has(name)) continue
      found.versionFiles.set(file, { look: appearance(file) })
      const read = readVersions(name, file, siblingsIn(found, folder))
      if (Either.isRight(read)) found.versions.set(name, read.right)
      else found.refused.set(name, read.left)
    }
  }
  return found
}

const nameOf = (directory: string, folder: string): string =>
  path.relative(directory, folder).split(path.sep).join("/") || path.basename(directory)

/** The folders below the directory that models are in. */
const foldersAbove = (directory: string, { models }: Found): ReadonlySet<string> =>
  new Set(
    Array.from(models.values(), ({ folder }) => path.dirname(folder)).filter(
      (folder) => !/^(\.\.(\/|$)|$)/.test(path.relative(directory, folder))
    )
  )

/** The models in a folder, by the names of theirs. */
const siblingsIn = ({ models }: Found, folder: string): ReadonlyMap<string, ModelSpec> =>
  new Map(
    Array.from(models.values())
      .filter((model) => path.dirname(model.folder) === folder)
      .map((model) => [path.basename(model.folder), model.spec] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1))
  )

/** What has this name in common, and where; a name is only ever compared, never made a path of. */
const siblingsOf = (found: Found, modelsDirs: ReadonlyArray<string>, name: string) => {
  for (const directory of modelsDirs) {
    for (const folder of foldersAbove(directory, found)) {
      if (nameOf(directory, folder) === name) return { folder, known: siblingsIn(found, folder) }
    }
  }
  return undefined
}

const versionsOf = (
  name: string,
  weights: ModelVersions.Weights,
  known: ReadonlyMap<string, ModelSpec>
): ModelVersions.ModelVersions => ({
  id: ModelId.make(name),
  versions: Array.from(known, ([version, spec]) => ({ version, spec, weight: weights[version] ?? 0 }))
})

const readVersions = (
  name: string,
  file: string,
  known: ReadonlyMap<string, ModelSpec>
): Either.Either<ModelVersions.ModelVersions, LoadFailed> =>
  Either.flatMap(
    Either.mapLeft(ModelVersions.decode(fs.readFileSync(file, "utf8")), malformed(ModelId.make(name), file)),
    ({ weights }) => {
      const problem = ModelVersions.problemOf(weights, known)
      return problem === undefined
        ? Either.right(versionsOf(name, weights, known))
        : Either.left(new LoadFailed({ model: name, reason: problem.reason, file }))
    }
  )

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

/** A folder with a `config.json` or a `server.json` is a model, and models do not lie within models. */
const modelFolders = (directory: string, depth: number): ReadonlyArray<string> => {
  if (["config.json", ServerSettings.fileName].some((file) => fs.existsSync(path.join(directory, file))))
    return [directory]
  if (depth === 0 || !fs.existsSync(directory)) return []
  return fs
    .readdirSync(directory, { withFileTypes: true })
    .filter((entry) => !entry.name.startsWith("."))
    .map((entry) => path.join(directory, entry.name))
    .filter((entry) => fs.statSync(entry, { throwIfNoEntry: false })?.isDirectory() ?? false)
    .sort()
    .flatMap((entry) => modelFolders(entry, depth - 1))
}

const readModel = (folder: string, name: ModelId, { kinds, policy }: Pool): Read =>
  Either.flatMap(readSettings(folder, name), (settings) => {
    if (fs.existsSync(path.join(folder, ServerSettings.fileName))) return readServed(folder, name, settings, policy)
    if (settings.placing.split.devices > 1) return Either.left(notSplit(folder, name))
    return Either.try({
      try: () => {
        const files = describeFor(folder, name, [...kinds])
        return {
          folder,
          engine: settings.engine,
          threads: settings.threads ?? ModelSettings.threadsOf(files),
          server: null,
          spec: ModelSettings.toSpec(
            name,
            { ...files, created: createdAt(path.join(folder, "config.json")), revision: revisionOf(folder) },
            settings,
            policy
          )
        }
      },
      catch: (error) =>
        error instanceof LoadFailed ? error : new LoadFailed({ model: name, reason: String(error), file: folder })
    })
  })

const notSplit = (folder: string, name: ModelId) =>
  new LoadFailed({
    model: name,
    reason:
      "`placing.split`: ONNX Runtime computes a model on one device; only a program of its own (`server.json`) can be split over several",
    file: path.join(folder, settingsFile)
  })

/** Seconds since the epoch. */
const createdAt = (file: string): number => Math.floor(fs.statSync(file).mtimeMs / 1000)

/** A model that a program of its own serves. */
const readServed = (
  folder: string,
  name: ModelId,
  settings: ModelSettings.ModelSettings,
  policy: PolicyName | undefined
): Read => {
  const file = path.join(folder, ServerSettings.fileName)
  return Either.map(
    Either.mapLeft(ServerSettings.decode(fs.readFileSync(file, "utf8")), malformed(name, file)),
    (server) => {
      const { context, memory, task } = server
      const files = {
        task,
        context,
        weights: memory,
        kvPerToken: 0,
        sampling: {},
        labels: [],
        revision: revisionOf(folder)
      }
      return {
        folder,
        engine: settings.engine,
        threads: null,
        server,
        spec: ModelSettings.toSpec(name, { ...files, created: createdAt(file), external: true }, settings, policy)
      }
    }
  )
}

/** On each kind of device another file may be loaded. One claim has to do for all of them: the largest. */
const describeFor = (folder: string, name: ModelId, [first = "cpu", ...others]: ReadonlyArray<DeviceKind>) => {
  const described = describeModelFolder(folder, name, first)
  const all = [described, ...others.map((kind) => describeModelFolder(folder, name, kind))]
  return {
    ...described,
    weights: Math.max(...all.map(({ weights }) => weights)),
    kvPerToken: Math.max(...all.map(({ kvPerToken }) => kvPerToken))
  }
}

const readSettings = (folder: string, name: ModelId): Either.Either<ModelSettings.ModelSettings, LoadFailed> => {
  const file = path.join(folder, settingsFile)
  if (!fs.existsSync(file)) return Either.right(ModelSettings.defaults)
  return Either.mapLeft(ModelSettings.decode(fs.readFileSync(file, "utf8")), malformed(name, file))
}

const malformed = (name: ModelId, file: string) => (error: ParseResult.ParseError) => {
  const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
  const where = issue === undefined || issue.path.length === 0 ? "" : `\`${issue.path.join(".")}\`: `
  return new LoadFailed({ model: name, reason: `${where}${issue?.message ?? "malformed"}`, file })
}
