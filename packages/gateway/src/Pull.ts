/**
 * Fetches a model from a hub into a folder of models. Everything is fetched into `.pull/` beside the models, which no server looks
 * into, and moved to its place when it is whole and found to be servable: a server never sees half a model, and a pull that was cut off
 * goes on where it was.
 */
import * as fsPromises from "node:fs/promises"
import { dirname, join } from "node:path"
import { FileSystem } from "@effect/platform"
import type { PlatformError } from "@effect/platform/Error"
import { describeModelFolder } from "@helixflow/runtime/ModelFolder"
import type { Dtype } from "@helixflow/runtime/ModelGraph"
import { readOnnxFile } from "@helixflow/runtime/OnnxFile"
import { LoadFailed } from "@helixflow/schema/Errors"
import { Effect, Either, type Scope } from "effect"
import { bytesThere, download } from "./Download.ts"
import { type HubError, HubRefused, ModelHub } from "./ModelHub.ts"
import * as PullPlan from "./PullPlan.ts"
import { bytes } from "./PullProgress.ts"

export interface PullRequest {
  /** `name` or `org/name`: its folder below `folder`, and its id. */
  readonly model: string
  /** A branch, a tag or a commit. */
  readonly revision: string
  /** The folder of models. */
  readonly folder: string
  readonly device: "cpu" | "gpu"
  readonly dtype: Dtype | undefined
}

export interface PullObserver {
  /** Before anything is fetched: what will be there at the end, and what of it is there already, bytes. */
  readonly begin: (graph: string, total: number, there: number) => Effect.Effect<void>
  /** Bytes there, of all files. */
  readonly progress: (there: number) => void
}

export interface Pulled {
  readonly folder: string
  readonly commit: string
  readonly graph: string
  /** False: this commit was there already. */
  readonly fetched: boolean
}

export type PullError = HubError | PlatformError

/** Files fetched at once: more connections do not make a large one faster. */
const concurrency = 3

/** Left free on the disk, bytes: a full disk harms more than this pull. */
const reserve = 64 * 2 ** 20

/** What a folder was pulled from, beside its files. */
const recordName = ".helixflow-pull.json"

export const isModelName = (name: string): boolean =>
  /^[\w-][\w.-]*(\/[\w-][\w.-]*)?$/.test(name) && !name.includes("..")

const freeBytes = (folder: string): Effect.Effect<number, HubRefused> =>
  Effect.tryPromise({
    try: async () => {
      const { bavail, bsize } = await fsPromises.statfs(folder)
      return bavail * bsize
    },
    catch: (cause) => new HubRefused({ message: `${folder} can't be written to: ${String(cause)}` })
  })

export const pull = (
  request: PullRequest,
  observer: PullObserver
): Effect.Effect<Pulled, PullError, ModelHub | FileSystem.FileSystem> =>
  Effect.scoped(
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const hub = yield* ModelHub
      const { commit, files } = yield* hub.revision(request.model, request.revision)
      const plan = yield* Either.mapLeft(
        PullPlan.plan(files, request),
        (reason) => new HubRefused({ message: `\`${request.model}\` can't be pulled. ${reason}` })
      )
      const target = join(request.folder, request.model)
      const pulled = { folder: target, commit, graph: plan.graph.path }
      const record = JSON.stringify({ model: request.model, commit, graph: plan.graph.path })
      const recordFile = join(target, recordName)
      if ((yield* fs.exists(recordFile)) && (yield* fs.readFileString(recordFile)) === record) {
        return { ...pulled, fetched: false }
      }

      const staging = join(
        request.folder,
        ".pull",
        [request.model, commit, plan.graph.path].map((part) => part.replaceAll("/", "--")).join("@")
      )
      yield* fs.makeDirectory(staging, { recursive: true })
      yield* alone(`${staging}.lock`, request.model)
      const there = new Map(
        yield* Effect.forEach(plan.files, (file) =>
          Effect.map(bytesThere(staging, file), (size) => [file.path, size] as const)
        )
      )
      const sum = () => [...there.values()].reduce((total, size) => total + size, 0)
      const missing = plan.bytes - sum()
      const free = (yield* freeBytes(staging)) - reserve
      if (missing > free) {
        return yield* new HubRefused({
          message:
            `\`${request.model}\` needs ${bytes(missing)} more in ${request.folder}, but only ${bytes(Math.max(0, free))} can be ` +
            `used there (${bytes(reserve)} are left alone).`
        })
      }
      yield* observer.begin(plan.graph.path, plan.bytes, sum())
      const fetch = (file: PullPlan.HubFile) =>
        download(
          staging,
          file,
          (start) => hub.open(request.model, commit, file, start),
          (size) => {
            there.set(file.path, size)
            observer.progress(sum())
          }
        )
      yield* Effect.forEach(plan.files, fetch, { concurrency, discard: true })
      yield* Effect.forEach(yield* unplannedWeights(staging, plan, files), fetch, { concurrency, discard: true })
      yield* servable(staging, request.model)
      yield* fs.writeFileString(join(staging, recordName), record)
      yield* replace(staging, target)
      return { ...pulled, fetched: true }
    })
  )

/** Whether a process of this machine runs. */
const runs = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM"
  }
}

/** Two pulls must not write the same files. A lock that a process left which is no more does not count. */
const alone = (lock: string, model: string): Effect.Effect<void, PullError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    if (yield* fs.exists(lock)) {
      const pid = Number(yield* fs.readFileString(lock))
      if (runs(pid)) {
        return yield* new HubRefused({ message: `\`${model}\` is being pulled already, by process ${pid}.` })
      }
      yield* fs.remove(lock)
    }
    yield* Effect.acquireRelease(fs.writeFileString(lock, String(process.pid), { flag: "wx" }), () =>
      Effect.ignore(fs.remove(lock))
    )
  })

/** Weights under names that no exporter is known for: the graph tells of them once it is there. */
const unplannedWeights = (
  staging: string,
  plan: PullPlan.PullPlan,
  files: ReadonlyArray<PullPlan.HubFile>
): Effect.Effect<ReadonlyArray<PullPlan.HubFile>, HubRefused> =>
  Effect.gen(function* () {
    const named = yield* Effect.try({
      try: () => readOnnxFile(join(staging, plan.graph.path)).externalFiles.map(({ location }) => location),
      catch: (cause) => new HubRefused({ message: `\`${plan.graph.path}\` is no ONNX graph: ${String(cause)}` })
    })
    const weights = PullPlan.weightsOf(files, plan, named)
    const absent = weights.find(({ file }) => file === undefined)
    if (absent !== undefined) {
      return yield* new HubRefused({
        message: `\`${plan.graph.path}\` has weights in \`${absent.location}\`, which the repository does not have.`
      })
    }
    return weights.flatMap(({ file }) => (file === undefined || plan.files.includes(file) ? [] : [file]))
  })

/** Refuses what a server would refuse at load, while what is in the target's place still works. */
const servable = (staging: string, model: string): Effect.Effect<void, HubRefused> =>
  Effect.try({
    try: () => describeModelFolder(staging, model),
    catch: (cause) =>
      new HubRefused({
        message: `\`${model}\` has been fetched to ${staging}, but can't be served: ${
          cause instanceof LoadFailed ? cause.reason : String(cause)
        }.`
      })
  })

/** Moves a folder to its place, with what was there before away first; workers that have the old files open keep them. */
const replace = (staging: string, target: string): Effect.Effect<void, PlatformError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    yield* fs.makeDirectory(dirname(target), { recursive: true })
    const old = `${staging}.old`
    const before = yield* fs.exists(target)
    if (before) {
      yield* fs.rename(target, old)
      // what the operator has said of the model stays said
      const settings = join(old, "helixflow.json")
      if (yield* fs.exists(settings)) yield* fs.copyFile(settings, join(staging, "helixflow.json"))
    }
    yield* fs.rename(staging, target)
    if (before) yield* fs.remove(old, { recursive: true })
  })
