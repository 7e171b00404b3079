import { join, sep } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Either, FastCheck, Layer, Option, Redacted } from "effect"
import { bundledModelsDir } from "../src/BundledModels.ts"
import { parseBytes, parseDevices } from "../src/DeviceDeclaration.ts"
import { RuntimeConfig } from "../src/RuntimeConfig.ts"
import * as Setting from "../src/Setting.ts"

const read = (env: Record<string, string>) =>
  RuntimeConfig.pipe(
    Effect.provide(
      Layer.provide(
        RuntimeConfig.layer,
        Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env)), { pathDelim: "_" }))
      )
    )
  )

const problems = (env: Record<string, string>) => Effect.map(Effect.flip(read(env)), Setting.explain)

describe("RuntimeConfig", () => {
  it.effect("needs no environment", () =>
    Effect.gen(function* () {
      const config = yield* read({})
      expect(config.dataDir.endsWith(`${sep}.helix`)).toBe(true)
      expect(config.modelsDirs).toEqual([...Option.toArray(bundledModelsDir()), config.pulledModelsDir])
      expect(config.pulledModelsDir).toBe(join(config.dataDir, "models"))
      expect(config.databaseUrl).toEqual(Option.none())
      expect(config.sessionRetention).toEqual(Duration.minutes(10))
      expect(config.sessionBytes).toBe(2 ** 30)
      expect(config.defaultModel).toEqual(Option.none())
      expect(config.devices).toEqual(Option.none())
    })
  )

  it.effect("preempts after half a second unless another time is said, or off", () =>
    Effect.gen(function* () {
      expect((yield* read({})).quantum).toBe(500)
      expect((yield* read({ HELIX_PREEMPT_AFTER: "2s" })).quantum).toBe(2_000)
      expect((yield* read({ HELIX_PREEMPT_AFTER: "off" })).quantum).toBe(Number.POSITIVE_INFINITY)
      expect(yield* problems({ HELIX_PREEMPT_AFTER: "0" })).toEqual([
        "HELIX_PREEMPT_AFTER must be a time such as 500ms, 2s, 1min or 1h, or off, but is `0`"
      ])
    })
  )

  it.effect("reads every variable", () =>
    Effect.gen(function* () {
      const config = yield* read({
        HELIX_DATA_DIR: "/var/lib/helix",
        HELIX_DATABASE_URL: "postgres://user:secret@db/helix",
        HELIX_SESSION_RETENTION: "0",
        HELIX_SESSION_BYTES: "2MB",
        HELIX_MODELS_DIR: "/models:/more models",
        HELIX_DEFAULT_MODEL: "org/name",
        HELIX_DEVICES: "cpu:0=1KiB, cuda:1"
      })
      expect(config.dataDir).toBe("/var/lib/helix")
      expect(config.sessionRetention).toEqual(Duration.zero)
      expect(config.sessionBytes).toBe(2_000_000)
      expect(config.databaseUrl).toEqual(Option.some(Redacted.make("postgres://user:secret@db/helix")))
      expect(config.modelsDirs).toEqual(["/models", "/more models"])
      expect(config.pulledModelsDir).toBe("/models")
      expect(config.defaultModel).toEqual(Option.some("org/name"))
      expect(config.devices).toEqual(
        Option.some([
          { kind: "cpu", index: 0, bytes: Option.some(1024) },
          { kind: "cuda", index: 1, bytes: Option.none() }
        ])
      )
    })
  )

  it.effect("takes an empty variable for an unset one", () =>
    Effect.gen(function* () {
      expect(yield* read({ HELIX_DEVICES: " ", HELIX_DATA_DIR: "" })).toEqual(yield* read({}))
    })
  )

  it.effect("names the variable and what is wrong with it", () =>
    Effect.gen(function* () {
      expect(yield* problems({ HELIX_DEVICES: "gpu:0" })).toEqual([
        "HELIX_DEVICES must be devices such as cpu:0=4GiB,cuda:0, but `gpu:0` is not a device such as cpu:0, cuda:0, webgpu:0"
      ])
    })
  )

  it.effect("reports all that is wrong at once", () =>
    Effect.gen(function* () {
      const lines = yield* problems({ HELIX_DEVICES: "cpu:0=much", HELIX_MODELS_DIR: ":" })
      expect(lines.map((line) => line.split(" ")[0])).toEqual(["HELIX_MODELS_DIR", "HELIX_DEVICES"])
    })
  )
})

describe("devices", () => {
  it("are told twice only by mistake", () => {
    expect(parseDevices("cpu:0,cpu:1,cpu:0=1GB")).toEqual(Either.left("`cpu:0` is there twice"))
  })

  it.each(["", "cpu", "cpu:", "cpu:x", "cpu:0=", "cpu:0=0", "cpu:0=-1GiB", "cpu:0=1XB", "cpu:0,", "CPU:0", "cpu:0==1"])(
    "refuses %j",
    (text) => {
      expect(Either.isLeft(parseDevices(text))).toBe(true)
    }
  )

  it.prop("come back as they were written", [FastCheck.integer({ min: 1, max: 1023 })], ([amount]) => {
    expect(parseBytes(`${amount}GiB`)).toEqual(Either.right(amount * 2 ** 30))
    expect(parseBytes(`${amount} mb`)).toEqual(Either.right(amount * 1e6))
    expect(parseBytes(`${amount}`)).toEqual(Either.right(amount))
  })
})

describe("the bundled models", () => {
  it.each(["packages/runtime/src/BundledModels.ts", "packages/gateway/dist/helixflow.js"])(
    "are found from %s",
    (file) => {
      const root = new URL("../../../", import.meta.url)
      expect(bundledModelsDir(new URL(file, root).href)).toEqual(bundledModelsDir())
      expect(Option.getOrThrow(bundledModelsDir()).endsWith(["packages", "runtime", "models"].join(sep))).toBe(true)
    }
  )

  it("are absent outside the repository", () => {
    expect(bundledModelsDir("file:///nowhere/at/all.js")).toEqual(Option.none())
  })
})

describe("a length of time", () => {
  it.each([
    ["500ms", 500],
    ["2s", 2_000],
    ["1.5 min", 90_000],
    ["1h", 3_600_000]
  ])("is written %s", (text, millis) => {
    expect(Setting.parseDuration(text)).toEqual(Either.right(millis))
  })

  it.each(["", "2", "s", "-1s", "0s", "1d", "1e3s"])("is not written %j", (text) => {
    expect(Either.isLeft(Setting.parseDuration(text))).toBe(true)
  })
})
