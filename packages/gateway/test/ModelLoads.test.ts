/** Loads that an operator asks for without waiting for them, in a started server. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { helixflow, type Started, startServer } from "./Program.ts"
import { writeChatModel } from "./writeChatModel.ts"

const key = "hx-a-key-of-the-suite"

/** A program that is ready once there is a file `go` in its folder. */
const program = `
require("node:http").createServer((request, response) => {
  response.writeHead(require("node:fs").existsSync("go") ? 200 : 503).end()
}).listen(Number(process.argv[1]), "127.0.0.1")
`

interface Served {
  readonly server: Started
  /** Lets the program `slow` be ready. */
  readonly go: () => void
}

class Setting extends Context.Tag("@helixflow/gateway/test/ModelLoads")<Setting, Served>() {
  static readonly layer = Layer.scoped(
    Setting,
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const models = yield* files.makeTempDirectoryScoped()
      const chat = (name: string, settings: object) => writeChatModel(models, name, settings)
      chat("kept", { memory: "400MiB", replicas: { min: 1, max: 1 } })
      chat("crowded", { memory: "700MiB" })
      chat("huge", { memory: "3GiB" })
      const slow = join(models, "slow")
      mkdirSync(slow)
      const server = { command: [process.execPath, "-e", program, "{port}"], memory: "200MiB", context: 128 }
      writeFileSync(join(slow, "server.json"), JSON.stringify(server))
      return {
        server: yield* startServer({
          HELIX_MODELS_DIR: models,
          HELIX_DEVICES: "cpu:0=900MiB",
          HELIX_BOOTSTRAP_KEY: key
        }),
        go: () => writeFileSync(join(slow, "go"), "")
      }
    })
  ).pipe(Layer.provide(NodeContext.layer))
}

const call = (method: string, path: string) =>
  Effect.flatMap(Setting, ({ server }) =>
    Effect.promise(async () => {
      const response = await fetch(server.url + path, { method, headers: { authorization: `Bearer ${key}` } })
      const body: unknown = await response.json()
      return { status: response.status, body: Object(body) }
    })
  )

/** The model when it has come into this state. */
const inState = (model: string, state: string) =>
  Effect.repeat(Effect.zipRight(Effect.sleep("50 millis"), call("GET", `/admin/v1/models/${model}`)), {
    until: ({ body }) => body.state === state
  }).pipe(Effect.map(({ body }) => body))

const load = (model: string, wait = "false") => call("POST", `/admin/v1/models/${model}/load?wait=${wait}`)

const cli = (...args: ReadonlyArray<string>) => Effect.flatMap(Setting, ({ server }) => helixflow(args, server.env))

layer(Setting.layer, { timeout: 120_000, excludeTestServices: true })("a load that nobody waits for", (it) => {
  it.effect("is accepted at once, goes on without its client and is seen where models are listed", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* call("GET", "/admin/v1/models/slow")).body.state, "unloaded")
      const { code, stdout } = yield* cli("models", "load", "slow", "--no-wait")
      assert.strictEqual(code, 0)
      assert.match(stdout, /^slow is (queued|loading); `helixflow models` says how it goes on\.\n$/)
      yield* inState("slow", "loading")
      const again = yield* load("slow")
      assert.deepStrictEqual(again, {
        status: 202,
        body: { object: "model.load", id: "slow", state: "loading", status_url: "/admin/v1/models/slow" }
      })
      assert.match((yield* cli("models")).stdout, /^slow .* loading on local\/cpu:0/m)
      const { go } = yield* Setting
      go()
      assert.strictEqual((yield* inState("slow", "loaded")).replicas.length, 1)
      assert.strictEqual((yield* load("slow")).body.state, "loaded")
      assert.strictEqual((yield* load("slow", "true")).status, 200)
      assert.strictEqual((yield* call("POST", "/admin/v1/models/slow/unload")).body.state, "unloaded")
    })
  )

  it.effect("waits for its place, until it is unloaded", () =>
    Effect.gen(function* () {
      yield* inState("kept", "loaded")
      yield* load("crowded")
      yield* inState("crowded", "queued")
      assert.match((yield* cli("models")).stdout, /^crowded .* queued$/m)
      const unloaded = yield* call("POST", "/admin/v1/models/crowded/unload")
      assert.deepInclude(unloaded.body, { state: "unloaded", failure: null })
      const { waiting } = (yield* call("GET", "/admin/v1/schedule/explain?model=crowded")).body
      assert.strictEqual(waiting, 0)
    })
  )

  it.effect("tells why it failed", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* load("huge")).status, 202)
      const { failure } = yield* inState("huge", "failed")
      assert.match(failure, /needs 3(\.\d+)? GiB, the whole device has 900 MiB/)
      assert.match((yield* cli("models")).stdout, /^huge .* failed: .*the whole device has 900 MiB/m)
      assert.strictEqual((yield* load("huge", "true")).status, 503)
    })
  )

  it.effect("can be told beforehand: of every device whether the model fits, and if not how much is missing", () =>
    Effect.gen(function* () {
      yield* inState("kept", "loaded")
      const free = (yield* call("GET", "/admin/v1/devices")).body.data[0].free_bytes
      const explained = (model: string) =>
        Effect.gen(function* () {
          const claim = (yield* call("GET", `/admin/v1/models/${model}`)).body.claim_bytes
          const { body } = yield* call("GET", `/admin/v1/schedule/explain?model=${model}&devices=all`)
          return { claim, groups: body.groups, devices: body.devices }
        })
      const crowded = yield* explained("crowded")
      const short = { fits: false, missing_bytes: crowded.claim - free }
      assert.isAbove(short.missing_bytes, 100 * 2 ** 20)
      assert.deepInclude(crowded.groups[0], { ...short, devices: 1, waiting_helps: true })
      assert.deepInclude(crowded.devices[0], { ...short, id: "local/cpu:0", action: "none" })
      const huge = yield* explained("huge")
      assert.deepInclude(huge.devices[0], { fits: false, missing_bytes: huge.claim - free, waiting_helps: false })
      assert.deepInclude((yield* explained("slow")).devices[0], { fits: true, missing_bytes: 0, action: "load" })
      assert.deepInclude((yield* explained("kept")).devices[0], { fits: true, missing_bytes: 0, action: "use" })
      const { stdout } = yield* cli("explain", "huge", "--devices")
      assert.match(stdout, /^local\/cpu:0 +2\.\d GiB missing +no +needs 3(\.\d+)? GiB, the whole device has 900 MiB$/m)
    })
  )

  it.effect("is refused for a model that there is not, and other words than true and false", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* load("nobody")).status, 404)
      const { body, status } = yield* load("huge", "perhaps")
      assert.strictEqual(status, 400)
      assert.deepInclude(body.error, { param: "wait" })
    })
  )
})
