/** Devices whose free memory is in pieces: a model is moved, with its streams, so that a larger one fits. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { writeTinyChatModel } from "@helixflow/runtime/TestModels"
import { Context, Effect, Layer } from "effect"
import { helixflow, type Started, startServer } from "./Program.ts"

const key = "hx-a-key-of-the-suite"

/** Two models that are half of a device each, and one that is most of a device. */
const memory = { first: "400MiB", second: "400MiB", large: "700MiB" } as const

class Server extends Context.Tag("@helixflow/gateway/test/Moves")<Server, Started>() {
  static readonly layer = Layer.scoped(
    Server,
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const models = yield* files.makeTempDirectoryScoped()
      for (const [seed, name] of (["first", "second", "large"] as const).entries()) {
        const folder = join(models, name)
        writeTinyChatModel(folder, { seed, max_position_embeddings: 4096 })
        // the second goes where most is free, and so not beside the first
        writeFileSync(
          join(folder, "helixflow.json"),
          JSON.stringify({ memory: memory[name], policy: "least-loaded", context: 4096, slots: 2, prefixCache: 0 })
        )
      }
      const devices = "cpu:0=900MiB,cpu:1=900MiB"
      return yield* startServer({ HELIX_MODELS_DIR: models, HELIX_DEVICES: devices, HELIX_BOOTSTRAP_KEY: key })
    })
  ).pipe(Layer.provide(NodeContext.layer))
}

const text = (url: string, model: string, maxTokens: number, onFirst: () => void = () => {}) =>
  Effect.promise(async () => {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({
        model,
        messages: [{ role: "user", content: "Go on and on" }],
        max_tokens: maxTokens,
        temperature: 0,
        stream: true
      })
    })
    assert.strictEqual(response.status, 200, await (response.ok ? "" : response.clone().text()))
    const decoder = new TextDecoder()
    let all = ""
    for await (const bytes of response.body ?? assert.fail()) {
      all += decoder.decode(bytes, { stream: true })
      if (all.includes("content")) onFirst()
    }
    assert.include(all, "[DONE]")
    return [...all.matchAll(/"content":"((?:[^"\\]|\\.)*)"/g)].map(([, content]) => content).join("")
  })

const decisions = ({ dataDir }: Started) =>
  readFileSync(join(dataDir, "decisions.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))

const tokens = 3_000

layer(Server.layer, { timeout: 240_000, excludeTestServices: true })("a model that fits in no piece", (it) => {
  it.effect(
    "has another moved, whose streams go on with the very same text",
    () =>
      Effect.gen(function* () {
        const server = yield* Server
        const { env, url } = server
        const alone = yield* Effect.forEach(["first", "second"], (model) => text(url, model, tokens))
        // asked for often enough to be worth more than a load
        for (const model of ["first", "second", "first", "second", "first", "second"]) yield* text(url, model, 2)
        assert.match((yield* helixflow(["explain", "large"], env)).stdout, /would fit on .* once .* has moved to /)
        let begun = 0
        const both = yield* Effect.fork(
          Effect.forEach(
            ["first", "second"],
            (model) => {
              let first = true
              return text(url, model, tokens, () => {
                if (first) begun += 1
                first = false
              })
            },
            { concurrency: "unbounded" }
          )
        )
        yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => begun === 2 })
        assert.isAbove((yield* text(url, "large", 4)).length, 0)
        assert.deepStrictEqual(yield* both, alone)
        const log = decisions(server)
        const move = log.find(({ _tag, cause }) => _tag === "LoadStarted" && cause === "move") ?? assert.fail("no move")
        const [ready, left] = [
          log.findIndex(({ _tag, replica }) => _tag === "LoadEnded" && replica === move.replica),
          log.findIndex(({ _tag, replica }) => _tag === "Evicted" && replica === move.replaces)
        ]
        assert.isAbove(ready, 0)
        assert.isAbove(left, ready)
        assert.strictEqual(log.filter(({ _tag }) => _tag === "Evicted").length, 1)
        const { stdout } = yield* helixflow(["models"], env)
        for (const model of ["first", "second", "large"])
          assert.match(stdout, new RegExp(`^${model} .* ready on local/cpu:`, "m"))
      }),
    240_000
  )
})
