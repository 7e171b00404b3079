import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { RuntimeConfig } from "@helixflow/runtime/RuntimeConfig"
import { Effect, Layer, Option, Redacted } from "effect"
import * as BootstrapKey from "../src/BootstrapKey.ts"
import { GatewayConfig } from "../src/GatewayConfig.ts"
import { environment } from "./environment.ts"

const inFolder = (dataDir: string, given: Option.Option<Redacted.Redacted> = Option.none()) =>
  Layer.merge(RuntimeConfig.layer, GatewayConfig.layer).pipe(
    Layer.provide(
      environment({
        HELIX_DATA_DIR: dataDir,
        ...Option.match(given, { onNone: () => ({}), onSome: (key) => ({ HELIX_BOOTSTRAP_KEY: Redacted.value(key) }) })
      })
    )
  )

const withFolder = <A, E>(test: (folder: string) => Effect.Effect<A, E, FileSystem.FileSystem>) =>
  Effect.gen(function* () {
    const files = yield* FileSystem.FileSystem
    return yield* test(join(yield* files.makeTempDirectoryScoped(), "data"))
  }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))

describe("the bootstrap key", () => {
  it.effect("is made once, for its owner's eyes only", () =>
    withFolder((folder) =>
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem
        const first = yield* BootstrapKey.obtain
        const second = yield* BootstrapKey.obtain
        expect(Redacted.value(first.key)).toMatch(/^hx-[A-Za-z0-9_-]{43}$/)
        expect([first.source, second.source]).toEqual(["generated", "file"])
        expect(Redacted.value(second.key)).toBe(Redacted.value(first.key))
        expect((yield* files.stat(first.file)).mode & 0o777).toBe(0o600)
        expect((yield* files.stat(folder)).mode & 0o777).toBe(0o700)
        expect(yield* files.readDirectory(folder)).toEqual(["bootstrap-key"])
      }).pipe(Effect.provide(inFolder(folder)))
    )
  )

  it.effect("is closed to others again when somebody has opened it", () =>
    withFolder((folder) =>
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem
        const { file } = yield* BootstrapKey.obtain
        yield* files.chmod(file, 0o644)
        yield* BootstrapKey.obtain
        expect((yield* files.stat(file)).mode & 0o777).toBe(0o600)
      }).pipe(Effect.provide(inFolder(folder)))
    )
  )

  it.effect("is the operator's where there is one, and then nothing is written", () =>
    withFolder((folder) =>
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem
        const { key, source } = yield* BootstrapKey.obtain
        expect([Redacted.value(key), source]).toEqual(["from-the-operator", "environment"])
        expect(yield* files.exists(folder)).toBe(false)
      }).pipe(Effect.provide(inFolder(folder, Option.some(Redacted.make("from-the-operator")))))
    )
  )

  it.effect("is the same for servers that start at the same time", () =>
    withFolder((folder) =>
      Effect.gen(function* () {
        const keys = yield* Effect.all(
          Array.from({ length: 8 }, () => BootstrapKey.obtain),
          { concurrency: "unbounded" }
        )
        expect(new Set(keys.map(({ key }) => Redacted.value(key))).size).toBe(1)
        expect(keys.filter(({ source }) => source === "generated")).toHaveLength(1)
      }).pipe(Effect.provide(inFolder(folder)))
    )
  )

  it.effect("is not made by looking for it", () =>
    withFolder((folder) =>
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem
        expect(yield* BootstrapKey.find).toEqual(Option.none())
        expect(yield* files.exists(folder)).toBe(false)
      }).pipe(Effect.provide(inFolder(folder)))
    )
  )
})
