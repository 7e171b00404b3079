/** The models on this node's disks: which folders they are and what they ask for. */
import * as fs from "node:fs"
import * as path from "node:path"
import type { DeviceKind } from "@helixflow/schema/Device"
import { LoadFailed, ModelNotFound } from "@helixflow/schema/Errors"
import { ModelId } from "@helixflow/schema/Ids"
import type { EngineChoice, ModelSpec, PolicyName } from "@helixflow/schema/Model"
import { Clock, Context, Effect, Either, Layer, ParseResult } from "effect"
import { LocalDevices } from "./LocalDevices.ts"
import { describeModelFolder } from "./ModelFolder.ts"
import { appearance, revisionOf } from "./ModelRevision.ts"
import * as ModelSettings from "./ModelSettings.ts"
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

/** Folders below a models directory that are looked at: `name`, `org/name`, `org/name/version`. */
const maxDepth = 3

/** How long what was found is not doubted, unless something is missing in it, milliseconds. */
const freshness = 1_000

export class ModelStore extends Context.Tag("@helixflow/runtime/ModelStore")<
  ModelStore,
  {
    /** Every model that can be served, sorted by id, as last found: the same array until it changes. */
    readonly models: Effect.Effect<ReadonlyArray<ModelSpec>>
    /** By id or alias; looked for again where it is not found. `LoadFailed` for a folder that can't be served, with the reason. */
    readonly find: (name: string) => Effect.Effect<StoredModel, ModelNotFound | LoadFailed>
    /** What can't be served, and why, as last found. */
    readonly refused: Effect.Effect<ReadonlyArray<RefusedModel>>
    /** Takes notice of folders that have come, gone or changed. Folders that have not are not read again. */
    readonly refresh: Effect.Effect<void>
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
      let found: Found = { models: new Map(), names: new Map(), refused: new Map() }
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
      const lookup = (name: string) => found.names.get(name) ?? found.refused.get(name)

      yield* refresh
      return ModelStore.of({
        models: Effect.sync(() => models),
        refused: Effect.sync(() => [...found.refused].map(([id, error]) => ({ id, error }))),
        refresh,
        look,
        find: (name) =>
          Effect.gen(function* () {
            if (found.names.get(name) === undefined) yield* refresh
            const model = lookup(name)
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
}

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
  const found: Found = { models: new Map(), names: new Map(), refused: new Map() }
  const gone = new Set(known.keys())
  for (const directory of modelsDirs) {
    for (const folder of modelFolders(directory, maxDepth)) {
      const name = path.relative(directory, folder).split(path.sep).join("/") || path.basename(directory)
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
  return found
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
  const file = path.join(folder, "helixflow.json")
  if (!fs.existsSync(file)) return Either.right(ModelSettings.defaults)
  return Either.mapLeft(ModelSettings.decode(fs.readFileSync(file, "utf8")), malformed(name, file))
}

const malformed = (name: ModelId, file: string) => (error: ParseResult.ParseError) => {
  const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
  const where = issue === undefined || issue.path.length === 0 ? "" : `\`${issue.path.join(".")}\`: `
  return new LoadFailed({ model: name, reason: `${where}${issue?.message ?? "malformed"}`, file })
}
