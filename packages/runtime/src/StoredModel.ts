/** A folder on this node's disks as a model: what its files and its `helixflow.json` say. */
import * as fs from "node:fs"
import * as path from "node:path"
import type { DeviceKind } from "@helixflow/schema/Device"
import { LoadFailed } from "@helixflow/schema/Errors"
import type { ModelId } from "@helixflow/schema/Ids"
import type { EngineChoice, ModelSpec, PolicyName } from "@helixflow/schema/Model"
import { Either, ParseResult } from "effect"
import { describeModelFolder } from "./ModelFolder.ts"
import { revisionOf } from "./ModelRevision.ts"
import * as ModelSettings from "./ModelSettings.ts"
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

export const settingsFile = "helixflow.json"

export type Read = Either.Either<StoredModel, LoadFailed>

/** What the models share. */
export interface Pool {
  /** Kinds of the devices that the models may be loaded on; the processor when absent. */
  readonly kinds: ReadonlySet<DeviceKind>
  /** Of models that name none; `best-fit` when absent. */
  readonly policy: PolicyName
}

export const readModel = (folder: string, name: ModelId, { kinds, policy }: Pool): Read =>
  Either.flatMap(readSettings(folder, name), (settings) => {
    if (fs.existsSync(path.join(folder, ServerSettings.fileName)))
      return readServed(folder, name, settings, { kinds, policy })
    if (settings.placing.split.devices > 1) return Either.left(notSplit(folder, name))
    return Either.try({
      try: () => {
        const onKinds = new Map(Array.from(kinds, (kind) => [kind, describeModelFolder(folder, name, kind)] as const))
        // what else the files say is the same for all
        const [files = describeModelFolder(folder, name)] = onKinds.values()
        const created = createdAt(path.join(folder, "config.json"))
        return {
          folder,
          engine: settings.engine,
          threads: settings.threads ?? ModelSettings.threadsOf(files),
          server: null,
          spec: ModelSettings.toSpec(
            name,
            { ...files, onKinds, created, revision: revisionOf(folder) },
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
  { kinds, policy }: Pool
): Read => {
  const file = path.join(folder, ServerSettings.fileName)
  return Either.map(
    Either.mapLeft(ServerSettings.decode(fs.readFileSync(file, "utf8")), malformed(name, file)),
    (server) => {
      const { context, memory, task } = server
      const files = {
        task,
        context,
        onKinds: new Map(Array.from(kinds, (kind) => [kind, { weights: memory, kvPerToken: 0 }] as const)),
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

const readSettings = (folder: string, name: ModelId): Either.Either<ModelSettings.ModelSettings, LoadFailed> => {
  const file = path.join(folder, settingsFile)
  if (!fs.existsSync(file)) return Either.right(ModelSettings.defaults)
  return Either.mapLeft(ModelSettings.decode(fs.readFileSync(file, "utf8")), malformed(name, file))
}

export const malformed = (name: ModelId, file: string) => (error: ParseResult.ParseError) => {
  const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
  const where = issue === undefined || issue.path.length === 0 ? "" : `\`${issue.path.join(".")}\`: `
  return new LoadFailed({ model: name, reason: `${where}${issue?.message ?? "malformed"}`, file })
}
