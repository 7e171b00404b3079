/** Thirty models on devices that hold four, asked for by eight clients at a time. */
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { randomOf, zipf } from "../../scheduler/test/traces.ts"
import { helixflow, type Started, startServer } from "./Program.ts"
import { nameOf, sampleWhile, writeModels } from "./SharedDevices.ts"

const key = "hx-a-key-of-the-suite"
const MiB = 2 ** 20
const modelBytes = 192 * MiB
/** What a model's two slots take besides is less than a MiB. */
const deviceBytes = 2 * modelBytes + 8 * MiB

class Server extends Context.Tag("@helixflow/gateway/test/SharedDevices")<Server, Started>() {
  static readonly layer = Layer.scoped(
    Server,
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const models = yield* files.makeTempDirectoryScoped()
      writeModels(models, 30, modelBytes)
      const devices = `cpu:0=${deviceBytes},cpu:1=${deviceBytes}`
      return yield* startServer({ HELIX_MODELS_DIR: models, HELIX_DEVICES: devices, HELIX_BOOTSTRAP_KEY: key })
    })
  ).pipe(Layer.provide(NodeContext.layer))
}

const ask = async (url: string, model: string): Promise<string> => {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ model, messages: [{ role: "user", content: "hi" }], max_tokens: 8, queue_timeout: 120 })
  })
  const text = await response.text()
  return response.status === 200 ? "200" : `${response.status} ${text}`
}

layer(Server.layer, { timeout: 240_000, excludeTestServices: true })("many models on few devices", (it) => {
  it.effect(
    "are all served, no device has more taken than it has, and the decisions can be explained and decided again",
    () =>
      Effect.gen(function* () {
        const { dataDir, env, pid, url } = yield* Server
        const draw = zipf(randomOf(3), 30, 1.8)
        const order = Array.from({ length: 40 }, draw)
        const answers: Array<string> = []
        const client = async (): Promise<void> => {
          for (let index = order.pop(); index !== undefined; index = order.pop()) {
            answers.push(await ask(url, nameOf(index)))
          }
        }
        const served = Promise.all(Array.from({ length: 8 }, client))
        const samples = yield* Effect.promise(() => sampleWhile({ url, key, pid, period: 100 }, served))
        assert.deepStrictEqual(
          answers.filter((answer) => answer !== "200"),
          []
        )
        assert.strictEqual(answers.length, 40)
        assert.strictEqual(samples.above, 0)
        // there was something to be seen
        assert.isAbove(samples.count, 10)
        assert.isAbove(samples.mostClaimed, 0.9)
        assert.isAbove(samples.mostResident, 0.1)

        const explained = yield* helixflow(["explain", nameOf(29)], env)
        assert.match(explained.stdout, /^model-29 .*\n\nDEVICES +FITS +HERE +WHY\n/)
        const replayed = yield* helixflow(["replay", join(dataDir, "decisions.jsonl"), "--json"])
        assert.strictEqual(JSON.parse(replayed.stdout).recorded.placed, 40, replayed.stdout)
        const larger = yield* helixflow(["replay", join(dataDir, "decisions.jsonl"), "--devices", "cpu:0=8GiB"])
        assert.match(larger.stdout, /^ +AS RECORDED +THESE DEVICES\n/)
        assert.match(larger.stdout, /^evictions +[1-9]\d* +0$/m)
      }),
    240_000
  )
})
