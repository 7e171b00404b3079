/** Models of a started server that can't be had, and those that answer in their place. */
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { type Started, startServer } from "./Program.ts"
import { writeChatModel } from "./writeChatModel.ts"

const key = "hx-a-key-of-the-suite"

class Server extends Context.Tag("@helixflow/gateway/test/ModelFallback")<Server, Started>() {
  static readonly layer = Layer.scoped(
    Server,
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const models = yield* files.makeTempDirectoryScoped()
      const chat = (name: string, settings: object) => writeChatModel(models, name, settings)
      chat("huge", { memory: "3GiB", fallback: ["large", "short", "small"] })
      chat("large", { memory: "2GiB", fallback: ["larger"] })
      chat("larger", { memory: "4GiB" })
      chat("short", { memory: "100MiB", context: 8 })
      chat("small", { memory: "400MiB", replicas: { min: 1, max: 1 }, aliases: ["any"] })
      // there is room once nothing is kept, so that it is waited for
      chat("crowded", { memory: "700MiB", fallback: ["any"] })
      chat("alone", { memory: "3GiB" })
      chat("misled", { fallback: ["nobody"] })
      return yield* startServer({
        HELIX_MODELS_DIR: models,
        HELIX_DEVICES: "cpu:0=900MiB",
        HELIX_BOOTSTRAP_KEY: key
      })
    })
  ).pipe(Layer.provide(NodeContext.layer))
}

const post = (path: string, body: object) =>
  Effect.flatMap(Server, ({ url }) =>
    Effect.promise(async () => {
      const response = await fetch(url + path, {
        method: "POST",
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        body: JSON.stringify(body)
      })
      const instead = response.headers.get("x-helixflow-fallback-for")
      return { status: response.status, instead, text: await response.text() }
    })
  )

const ask = (model: string, more: object = {}) =>
  post("/v1/chat/completions", {
    model,
    messages: [{ role: "user", content: "Tell me something about the sea" }],
    max_tokens: 4,
    ...more
  })

layer(Server.layer, { timeout: 120_000, excludeTestServices: true })("a model that can't be had", (it) => {
  it.effect("has the first of its fallbacks answer that can, and the answer, the log and the metrics say who did", () =>
    Effect.gen(function* () {
      const { output, url } = yield* Server
      const { instead, status, text } = yield* ask("huge")
      assert.deepStrictEqual(
        { instead, status, model: JSON.parse(text).model },
        { instead: "huge", status: 200, model: "small" }
      )
      const stream = yield* ask("huge", { stream: true })
      assert.strictEqual(stream.instead, "huge")
      assert.deepStrictEqual(new Set(stream.text.match(/"model":"[^"]*"/g)), new Set([`"model":"small"`]))
      assert.include(stream.text, "[DONE]")
      assert.include(output(), "small has answered in place of huge")
      const metrics = yield* Effect.promise(async () => (await fetch(`${url}/metrics`)).text())
      assert.match(
        metrics,
        /^helixflow_fallbacks_total\{(?=.*request_model="huge")(?=.*response_model="small")(?=.*NoDeviceFits).*\} 2$/m
      )
    })
  )

  it.effect("is waited for as long as the client says, and then a place that is free is taken", () =>
    Effect.gen(function* () {
      const { instead, status, text } = yield* ask("crowded", { queue_timeout: 1.5 })
      assert.deepStrictEqual(
        { instead, status, model: JSON.parse(text).model },
        { instead: "crowded", status: 200, model: "small" }
      )
      const itself = yield* ask("small")
      assert.deepInclude(itself, { instead: null, status: 200 })
    })
  )

  it.effect("is refused where it has no fallback, where none can answer, and where token ids were asked with", () =>
    Effect.gen(function* () {
      for (const refused of [
        yield* ask("alone"),
        yield* ask("large"),
        yield* ask("huge", { logit_bias: { "5": 1 } }),
        yield* post("/v1/completions", { model: "huge", prompt: [5, 6, 7] })
      ]) {
        assert.deepInclude(refused, { instead: null, status: 503 })
        assert.include(JSON.parse(refused.text).error.message, "No device can hold the model")
      }
    })
  )

  it.effect("is told of at the start where its fallback is nobody", () =>
    Effect.gen(function* () {
      const { output } = yield* Server
      assert.include(output(), "`fallback`: there is no model `nobody`")
      const { status, text } = yield* ask("misled")
      assert.strictEqual(status, 503)
      assert.include(JSON.parse(text).error.message, "there is no model `nobody`")
    })
  )
})
