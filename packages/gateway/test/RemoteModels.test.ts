/** Models of another HelixFlow, both started as users start them. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { textsOf } from "./ChatStream.ts"
import { type Started, startServer } from "./Program.ts"
import { writeChatModel } from "./writeChatModel.ts"

const keys = { near: "hx-key-of-the-near-one", far: "hx-key-of-the-far-one" }

const chat = ({ url }: Started, key: string, model: string, more: object = {}) =>
  fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({
      model,
      messages: [{ role: "user", content: "Tell me of the sea" }],
      temperature: 0,
      max_tokens: 24,
      ...more
    })
  })

const jsonOf = async (response: Response) => JSON.parse(await response.text())

describe("a model of another HelixFlow", () => {
  it.live(
    "is answered here as it is there, plain and streamed, with our keys and not the other's; and while the other is away, by its fallback",
    () =>
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem
        const [theirs, ours] = yield* Effect.all([files.makeTempDirectoryScoped(), files.makeTempDirectoryScoped()])
        writeChatModel(theirs, "remote", { replicas: { min: 1, max: 1 } })
        writeChatModel(ours, "local", {})
        const env = { HELIX_MODELS_DIR: theirs, HELIX_BOOTSTRAP_KEY: keys.far, HELIX_HTTPS_PORT: "0" }
        const far = yield* startServer(env)
        mkdirSync(join(ours, "far"))
        writeFileSync(join(ours, "far", "key"), keys.far)
        const upstream = {
          url: `${far.url}/v1`,
          key: { file: "key" },
          prefix: "far/",
          fallback: ["local"],
          retries: 1,
          probeSeconds: 0.2
        }
        writeFileSync(join(ours, "far", "upstream.json"), JSON.stringify(upstream))
        const near = yield* startServer({
          HELIX_MODELS_DIR: ours,
          HELIX_BOOTSTRAP_KEY: keys.near,
          HELIX_HTTPS_PORT: "0"
        })

        const listed = Effect.promise(async () => {
          const answer = await fetch(`${near.url}/v1/models`, { headers: { authorization: `Bearer ${keys.near}` } })
          return await answer.text()
        })
        const found = yield* Effect.repeat(Effect.delay(listed, "50 millis"), {
          until: (models) => models.includes("far/remote")
        })
        assert.include(found, `"local"`)

        const there = yield* Effect.promise(async () => jsonOf(await chat(far, keys.far, "remote")))
        const here = yield* Effect.promise(() => chat(near, keys.near, "far/remote"))
        assert.strictEqual(here.status, 200)
        assert.strictEqual(here.headers.get("x-helixflow-upstream"), "far")
        const answer = yield* Effect.promise(() => jsonOf(here))
        assert.deepStrictEqual(answer.choices, there.choices)
        assert.deepStrictEqual(answer.usage.completion_tokens, there.usage.completion_tokens)
        const streamed = yield* Effect.promise(async () =>
          (await chat(near, keys.near, "far/remote", { stream: true })).text()
        )
        assert.strictEqual(textsOf(streamed).get(0), there.choices[0].message.content)
        const refused = yield* Effect.promise(() => chat(near, keys.far, "far/remote"))
        assert.strictEqual(refused.status, 401)

        // what has begun there can't be finished here: its client is told, and not left to wait
        const cut = yield* Effect.promise(async () => {
          const response = await chat(near, keys.near, "far/remote", {
            stream: true,
            max_tokens: 400,
            ignore_eos: true
          })
          process.kill(far.pid, "SIGKILL")
          return response.text()
        })
        assert.match(cut, /"code":"upstream_unavailable"[^\n]*\n\n$/)
        const instead = yield* Effect.promise(() => chat(near, keys.near, "far/remote"))
        assert.strictEqual(instead.status, 200)
        assert.strictEqual((yield* Effect.promise(() => jsonOf(instead))).model, "local")
        const status = yield* Effect.promise(async () =>
          jsonOf(await fetch(`${near.url}/admin/v1/upstreams`, { headers: { authorization: `Bearer ${keys.near}` } }))
        )
        assert.strictEqual(status.data[0].name, "far")
        assert.isNotNull(status.data[0].last_failure)
      }).pipe(Effect.scoped, Effect.provide(NodeContext.layer)),
    120_000
  )
})
