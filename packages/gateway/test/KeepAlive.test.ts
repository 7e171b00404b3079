/** How long a model stays loaded, said by its folder and by a request, in a server as a user starts it. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it, vi } from "@effect/vitest"
import { writeTinyChatModel } from "@helixflow/runtime/TestModels"
import { Effect, Schedule } from "effect"
import { startServer } from "./Program.ts"
import { request, Target } from "./Target.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const key = "hx-a-key-of-the-suite"

const ask = (model: string, more: Readonly<Record<string, unknown>> = {}) =>
  request("/v1/chat/completions", {
    json: { model, messages: [{ role: "user", content: "hi" }], max_tokens: 2, ...more }
  })

/** Whether a device's ledger has a claim of the model's. */
const loaded = (model: string) => Effect.map(request("/admin/v1/devices"), ({ text }) => text.includes(`/${model}#0`))

const comesTo = (model: string, wanted: boolean) =>
  loaded(model).pipe(
    Effect.flatMap((is) => (is === wanted ? Effect.void : Effect.fail(`${model} is ${is ? "" : "not "}loaded`))),
    Effect.retry(Schedule.spaced("20 millis")),
    Effect.timeout("20 seconds")
  )

describe("a model that nobody uses any more", () => {
  it.scopedLive("leaves when its folder says, or its last request", () =>
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const models = yield* Effect.orDie(files.makeTempDirectoryScoped({ prefix: "helixflow-models-" }))
      for (const [name, settings] of [
        ["stays", {}],
        ["leaves", { keepAlive: 0 }]
      ] as const) {
        writeTinyChatModel(join(models, name))
        writeFileSync(join(models, name, "helixflow.json"), JSON.stringify(settings))
      }
      const server = yield* startServer({ HELIX_BOOTSTRAP_KEY: key, HELIX_MODELS_DIR: models })
      yield* Effect.gen(function* () {
        assert.strictEqual((yield* ask("stays")).status, 200)
        assert.strictEqual((yield* ask("leaves")).status, 200)
        yield* comesTo("leaves", false)
        assert.isTrue(yield* loaded("stays"))

        assert.strictEqual((yield* ask("leaves", { keep_alive: "10m" })).status, 200)
        assert.strictEqual((yield* ask("stays", { keep_alive: 0 })).status, 200)
        yield* comesTo("stays", false)
        assert.isTrue(yield* loaded("leaves"))

        const refused = yield* ask("stays", { keep_alive: "soon" })
        assert.strictEqual(refused.status, 400)
        assert.include(refused.text, "keep_alive")
      }).pipe(
        Effect.provideService(Target, Target.of({ url: server.url, key, chatModel: "stays", embeddingModel: "stays" }))
      )
    }).pipe(Effect.provide(NodeContext.layer))
  )
})
