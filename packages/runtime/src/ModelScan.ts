/** Which folders below the models directories are models, by which names, and which names several versions have. */
import * as fs from "node:fs"
import * as path from "node:path"
import type { DeviceKind } from "@helixflow/schema/Device"
import { LoadFailed } from "@helixflow/schema/Errors"
import { ModelId } from "@helixflow/schema/Ids"
import type { ModelSpec } from "@helixflow/schema/Model"
import { Either } from "effect"
import * as Fallbacks from "./Fallbacks.ts"
import { appearance } from "./ModelRevision.ts"
import * as ModelVersions from "./ModelVersions.ts"
import * as ServerSettings from "./ServerSettings.ts"
import { malformed, type Pool, type Read, readModel, type StoredModel, settingsFile } from "./StoredModel.ts"

/** Folders below a models directory that are looked at: `name`, `org/name`, `org/name/version`. */
const maxDepth = 3

export interface Found {
  readonly models: Map<string, StoredModel>
  /** By id and by alias. */
  readonly names: Map<string, StoredModel>
  readonly refused: Map<string, LoadFailed>
  /** Names that several models have. */
  readonly versions: Map<string, ModelVersions.ModelVersions>
  /** The files that say so, and what they looked like. */
  readonly versionFiles: Map<string, { readonly look: string }>
}

export const nothing = (): Found => ({
  models: new Map(),
  names: new Map(),
  refused: new Map(),
  versions: new Map(),
  versionFiles: new Map()
})

/** What was read from a folder, and what the folder looked like then. */
export type KnownFolders = Map<string, { readonly look: string; readonly read: Read }>

const processorAlone: ReadonlySet<DeviceKind> = new Set(["cpu"])

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
  nameAll(found, modelsDirs)
  const misled = [...found.models.values()].flatMap((model) => {
    const problem = Fallbacks.problemOf(model.spec, namedIn(found))
    return problem === undefined ? [] : [{ model, problem }]
  })
  if (misled.length > 0) {
    for (const { model, problem } of misled) {
      const { folder, spec } = model
      const reason = `\`fallback\`: ${problem}`
      found.models.delete(spec.id)
      found.refused.set(spec.id, new LoadFailed({ model: spec.id, reason, file: path.join(folder, settingsFile) }))
    }
    nameAll(found, modelsDirs)
  }
  return found
}

const namedIn =
  ({ names, refused, versions }: Found): Fallbacks.Named =>
  (name) => {
    const model = names.get(name)
    if (model !== undefined) return [model.spec]
    return versions.get(name)?.versions.map(({ spec }) => spec) ?? (refused.has(name) ? [] : undefined)
  }

/** Who has which name. */
const nameAll = (found: Found, modelsDirs: ReadonlyArray<string>): void => {
  for (const names of [found.names, found.versions, found.versionFiles]) names.clear()
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
export const siblingsOf = (found: Found, modelsDirs: ReadonlyArray<string>, name: string) => {
  for (const directory of modelsDirs) {
    for (const folder of foldersAbove(directory, found)) {
      if (nameOf(directory, folder) === name) return { folder, known: siblingsIn(found, folder) }
    }
  }
  return undefined
}

export const versionsOf = (
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
