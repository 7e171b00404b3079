/**
 * Fetches a file of a hub into a folder: goes on where an earlier attempt stopped, and believes nothing before its checksum. Until then
 * the file has the suffix `.part`, so a file without it is whole.
 */
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { dirname, join } from "node:path"
import { FileSystem } from "@effect/platform"
import type { PlatformError } from "@effect/platform/Error"
import { Duration, Effect, Schedule, type Scope, Stream } from "effect"
import { type HubContent, type HubError, HubRefused, HubUnreachable } from "./ModelHub.ts"
import type { HubFile } from "./PullPlan.ts"

/** A connection that brings nothing for so long is given up. */
const stall = Duration.seconds(30)

/** Pauses of 0.5, 1, 2, … s; whatever a connection has brought is kept. */
const retries = Schedule.intersect(Schedule.exponential("500 millis"), Schedule.recurs(5))

const partOf = (target: string) => `${target}.part`

const sizeOf = (path: string): Effect.Effect<number, PlatformError, FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    Effect.flatMap(fs.exists(path), (there) =>
      there ? Effect.map(fs.stat(path), ({ size }) => Number(size)) : Effect.succeed(0)
    )
  )

/** Bytes of the file that the folder has already. */
export const bytesThere = (
  folder: string,
  file: HubFile
): Effect.Effect<number, PlatformError, FileSystem.FileSystem> => {
  const target = join(folder, file.path)
  return Effect.map(Effect.all([sizeOf(target), sizeOf(partOf(target))]), ([whole, part]) =>
    Math.min(file.size, Math.max(whole, part))
  )
}

const checksum = (path: string, file: HubFile): Effect.Effect<string, HubUnreachable> =>
  Effect.tryPromise({
    try: async () => {
      const hash = createHash(file.checksum.kind === "sha256" ? "sha256" : "sha1")
      if (file.checksum.kind === "git-blob") hash.update(`blob ${file.size}\0`)
      for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(chunk)
      return hash.digest("hex")
    },
    catch: (cause) => new HubUnreachable({ message: `${path} can't be read: ${String(cause)}` })
  })

/**
 * `open` gives the content from a byte on; `progress` is told how many bytes of the file are there, which may go back where a hub
 * begins anew.
 */
export const download = (
  folder: string,
  file: HubFile,
  open: (start: number) => Effect.Effect<HubContent, HubError, Scope.Scope>,
  progress: (there: number) => void
): Effect.Effect<void, HubError | PlatformError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const target = join(folder, file.path)
    const part = partOf(target)
    if (yield* fs.exists(target)) return
    yield* fs.makeDirectory(dirname(target), { recursive: true })

    const append = Effect.gen(function* () {
      const there = yield* sizeOf(part)
      if (there === file.size && there > 0) return
      // a part that is longer than the file is none of it
      const content = yield* open(there > file.size ? 0 : there)
      const output = yield* fs.open(part, { flag: content.start === 0 ? "w" : "a" })
      let written = content.start
      progress(written)
      yield* content.bytes.pipe(
        Stream.timeoutFail(
          () => new HubUnreachable({ message: `Nothing of \`${file.path}\` came for ${Duration.format(stall)}.` }),
          stall
        ),
        Stream.runForEach((chunk) =>
          Effect.map(output.writeAll(chunk), () => {
            written += chunk.length
            progress(written)
          })
        )
      )
      if (written < file.size) {
        return yield* new HubUnreachable({
          message: `\`${file.path}\` was cut off at ${written} of ${file.size} bytes.`
        })
      }
    }).pipe(Effect.scoped)

    yield* Effect.retry(append, { schedule: retries, while: (error) => error._tag === "HubUnreachable" })
    const found = yield* checksum(part, file)
    if (found !== file.checksum.hex) {
      yield* fs.remove(part)
      return yield* new HubRefused({
        message:
          `\`${file.path}\` is not what the hub says it is: its ${file.checksum.kind} is ${found}, not ` +
          `${file.checksum.hex}. It has been removed; try again.`
      })
    }
    yield* fs.rename(part, target)
  })
