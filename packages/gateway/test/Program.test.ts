import { readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { connect, type SecureVersion } from "node:tls"
import { NodeContext } from "@effect/platform-node"
import { describe, expect, it, layer } from "@effect/vitest"
import { KeyStore } from "@helixflow/runtime/KeyStore"
import * as Storage from "@helixflow/runtime/Storage"
import { Context, Effect, Fiber, Layer, Schema } from "effect"
import { openStream, textsOf } from "./ChatStream.ts"
import { freePort, helixflow, type Started, startServer } from "./Program.ts"
import { stubServer } from "./StubServer.ts"

class Server extends Context.Tag("@helixflow/gateway/test/Server")<Server, Started>() {
  static readonly layer = Layer.scoped(Server, startServer()).pipe(Layer.provide(NodeContext.layer))
}

/** A TLS handshake that trusts the server's own certificate; the version, or why there is none. */
const handshake = ({ dataDir, httpsPort }: Started, maxVersion: SecureVersion) =>
  Effect.async<string | null>((resume) => {
    const ca = readFileSync(join(dataDir, "tls", "cert.pem"))
    const socket = connect({ host: "127.0.0.1", port: httpsPort, ca, maxVersion, servername: "localhost" }, () => {
      resume(Effect.succeed(socket.getProtocol()))
      socket.end()
    })
    socket.on("error", (error) => resume(Effect.succeed(error.message)))
  })

const Listed = Schema.parseJson(Schema.Array(Schema.Struct({ id: Schema.String })))

const Measured = Schema.parseJson(
  Schema.Array(Schema.Struct({ streams: Schema.Number, tokensPerSecond: Schema.Number }))
)

layer(Server.layer, { timeout: 60_000, excludeTestServices: true })("a started server", (it) => {
  it.effect("says what it has, where it listens and what to try", () =>
    Effect.gen(function* () {
      const { output, url } = yield* Server
      expect(output()).toContain("models   helix-demo, helix-demo-embed")
      expect(output()).toContain("devices  local/cpu:0")
      expect(output()).toContain(`http     ${url}`)
      expect(output()).toMatch(/ready in \d+\.\d s\. Try:\n\n {2}curl /)
      expect((yield* Effect.promise(() => fetch(`${url}/readyz`))).status).toBe(200)
    })
  )

  it.effect("shows the key that it has made, and keeps it to its owner", () =>
    Effect.gen(function* () {
      const { dataDir, output, url } = yield* Server
      const file = join(dataDir, "bootstrap-key")
      const key = readFileSync(file, "utf8").trim()
      expect(output()).toContain(`${key} (shown this once`)
      expect(statSync(file).mode & 0o777).toBe(0o600)
      const ask = (key: string) =>
        Effect.promise(() => fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } }))
      expect((yield* ask(key)).status).toBe(200)
      expect((yield* ask(`${key}x`)).status).toBe(401)
    })
  )

  it.effect("speaks TLS 1.3 and nothing older", () =>
    Effect.gen(function* () {
      const server = yield* Server
      expect(yield* handshake(server, "TLSv1.3")).toBe("TLSv1.3")
      expect(yield* handshake(server, "TLSv1.2")).toMatch(/alert protocol version/i)
    })
  )

  it.effect("lists its models in the terminal", () =>
    Effect.gen(function* () {
      const { env } = yield* Server
      const table = yield* helixflow(["models"], env)
      expect(table).toMatchObject({ code: 0, stderr: "" })
      expect(table.stdout).toMatch(
        /^MODEL {13}TASK {13}CONTEXT {2}MEMORY {3}LOADED\nhelix-demo {8}text-generation {2}\d+ .* ready on local\/cpu:0 0\/16\n/
      )
      const json = yield* helixflow(["models", "--json"], env)
      expect(Schema.decodeSync(Listed)(json.stdout).map(({ id }) => id)).toEqual(["helix-demo", "helix-demo-embed"])
    })
  )

  it.effect("shows in the terminal what runs in it", () =>
    Effect.gen(function* () {
      const { env, pid } = yield* Server
      const drawn = yield* helixflow(["tree"], env)
      expect(drawn).toMatchObject({ code: 0, stderr: "" })
      expect(drawn.stdout).toMatch(/^local +node +running +\d+s +0 +-$/m)
      // the decision log watches it
      expect(drawn.stdout).toMatch(/^├─ local\/scheduler +actor +running .* 1$/m)
      expect(drawn.stdout).toMatch(/ local\/cpu:0\/helix-demo#0\/model +actor +running .* helix-demo ready 0\/\d+$/m)
      expect(drawn.stdout).toMatch(/^└─ local\/services +supervisor +running +\d+s +0 +-$/m)
      for (const service of [
        "decision-log",
        "session-writer",
        "session-sweep",
        "session-leases",
        "key-use",
        "http-listener",
        "https-listener"
      ]) {
        expect(drawn.stdout).toMatch(new RegExp(` local/services/${service} +service +running .* 0 +-$`, "m"))
      }
      const [, worker] =
        / local\/cpu:0\/helix-demo#0\/model\/worker +worker +running .* pid (\d+)/.exec(drawn.stdout) ?? []
      expect(readFileSync(`/proc/${worker}/stat`, "utf8").split(" ")[3]).toBe(String(pid))
    })
  )

  it.effect("restarts, kills and drains places of its tree in the terminal, which shows it", () =>
    Effect.gen(function* () {
      const { env } = yield* Server
      const model = "local/cpu:0/helix-demo#0/model"
      const worker = Effect.map(
        helixflow(["tree"], env),
        ({ stdout }) => / worker +running .* pid (\d+)/.exec(stdout)?.[1]
      )
      /** Done, and then there is another worker. */
      const act = (...args: ReadonlyArray<string>) =>
        Effect.gen(function* () {
          const before = yield* worker
          const done = yield* helixflow(["tree", ...args], env)
          expect(done).toEqual({ code: 0, stdout: "", stderr: `${args.at(-1)}: ${args[0]} done.\n` })
          yield* Effect.repeat(worker, { until: (now) => now !== undefined && now !== before })
        })
      yield* act("kill", `${model}/worker`)
      const { stdout } = yield* helixflow(["tree"], env)
      expect(stdout).toMatch(new RegExp(` ${model} +actor +running +\\d+s +1 .*last failure: .*SIGKILL`, "m"))
      yield* act("restart", model)
      yield* act("drain", "--grace", "5", "local/cpu:0")
      expect(yield* helixflow(["tree", "kill", "local/nowhere"], env)).toMatchObject({ code: 1, stdout: "" })
      const root = yield* helixflow(["tree", "restart", "local"], env)
      expect(root.stderr).toContain("is the node itself")
    })
  )

  it.effect("makes keys in the terminal, which end when they are revoked", () =>
    Effect.gen(function* () {
      const { env, url } = yield* Server
      const made = yield* helixflow(["keys", "create", "--rpm", "5", "--expires", "30d", "alice"], env)
      expect(made.code).toBe(0)
      const id = /^(key_[0-9a-f]{24}), for alice\./.exec(made.stderr)?.[1] ?? ""
      const key = made.stdout.trim()
      expect(key).toMatch(/^hx-[\w-]{43}$/)
      const ask = Effect.promise(() => fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } }))
      expect((yield* ask).status).toBe(200)
      const listed = yield* helixflow(["keys", "ls"], env)
      expect(listed.stdout).toMatch(
        new RegExp(`^${id} +alice +hx-.{3}….{4} +inference +5 rpm +\\S+Z +\\S+Z +\\S+Z$`, "m")
      )
      expect(yield* helixflow(["keys", "revoke", id], env)).toMatchObject({ code: 0, stdout: "" })
      expect((yield* ask).status).toBe(401)
      const again = yield* helixflow(["keys", "revoke", id], env)
      expect(again).toMatchObject({ code: 1, stderr: `There is no API key \`${id}\`.\n` })
    })
  )

  it.effect("answers in the terminal: from arguments, from a pipe, over TLS alone", () =>
    Effect.gen(function* () {
      const { env, httpsPort } = yield* Server
      const options = ["--temperature", "0", "--max-tokens", "8"]
      const asked = yield* helixflow(["chat", "-m", "helix-demo", ...options, "Hello there"], env)
      expect(asked).toMatchObject({ code: 0, stderr: "" })
      expect(asked.stdout.trim()).not.toBe("")
      expect(yield* helixflow(["chat", ...options], env, "Hello there\n")).toEqual(asked)
      expect(yield* helixflow(["chat", "helix-demo", ...options, "Hello", "there"], env)).toEqual(asked)
      const url = `https://localhost:${httpsPort}`
      expect(yield* helixflow(["chat", "--url", url, ...options, "Hello there"], env)).toEqual(asked)
    })
  )

  it.effect("measures itself in the terminal", () =>
    Effect.gen(function* () {
      const { env } = yield* Server
      const options = ["--streams", "1,3", "--tokens", "12", "--prompt-words", "5"]
      const shown = yield* helixflow(["bench", "server", ...options], env)
      expect(shown).toMatchObject({ code: 0, stderr: "" })
      expect(shown.stdout).toMatch(/STREAMS {2}TOKENS\/S.*\n1 +\d+\.\d +.*\n3 +\d+\.\d +/)
      const json = yield* helixflow(["bench", "server", "--json", ...options], env)
      const measured = Schema.decodeSync(Measured)(json.stdout)
      expect(measured.map(({ streams }) => streams)).toEqual([1, 3])
      for (const { tokensPerSecond } of measured) expect(tokensPerSecond).toBeGreaterThan(0)
      expect((yield* helixflow(["bench", "server", "--streams", "0"], env)).code).toBe(2)
    })
  )

  it.effect("refuses in the terminal with its own words", () =>
    Effect.gen(function* () {
      const { env } = yield* Server
      const unknown = yield* helixflow(["chat", "-m", "nobody", "Hi"], env)
      expect(unknown).toMatchObject({ code: 1, stdout: "" })
      expect(unknown.stderr).toContain("The model `nobody` does not exist")
      const guess = yield* helixflow(["chat", "Hi"], env)
      expect(guess).toMatchObject({ code: 1, stdout: "" })
      expect(guess.stderr).toContain('helixflow chat -m helix-demo "Hi"')
      const stranger = yield* helixflow(["models", "--api-key", "wrong"], env)
      expect(stranger).toMatchObject({ code: 1, stdout: "" })
      expect(stranger.stderr).toMatch(/Incorrect API key provided.*\nGive a key with --api-key/)
    })
  )

  it.effect("keeps its port from a second server, which says which variable helps", () =>
    Effect.gen(function* () {
      const { env } = yield* Server
      const second = yield* helixflow(["serve"], env)
      expect(second.code).toBe(1)
      expect(second.stderr).toMatch(/Port \d+ is taken by another program.*HELIX_HTTP_PORT/)
    })
  )
})

describe("a server", () => {
  it.scopedLive.each(["SIGTERM", "SIGINT"] as const)("stops in order at %s", (signal) =>
    Effect.gen(function* () {
      const server = yield* startServer({ HELIX_HTTPS_PORT: "0", HELIX_BOOTSTRAP_KEY: "given" })
      expect(server.output()).toContain("key      from HELIX_BOOTSTRAP_KEY")
      expect(yield* server.stop(signal)).toBe(0)
      expect(server.output()).toMatch(/stopping: .*\nstopped\n$/)
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("finishes the streams that have begun when it is told to stop, and takes no others", () =>
    Effect.gen(function* () {
      const server = yield* startServer({ HELIX_HTTPS_PORT: "0", HELIX_BOOTSTRAP_KEY: "given" })
      const { rest } = yield* openStream(server.url)
      const stopped = yield* Effect.fork(server.stop("SIGTERM"))
      const readyz = Effect.promise(() => fetch(`${server.url}/readyz`))
      const { status } = yield* Effect.repeat(readyz, { until: ({ status }) => status !== 200 })
      expect(status).toBe(503)
      expect(yield* openStream(server.url).pipe(Effect.flatMap(({ rest }) => rest))).toContain("shutting_down")
      const text = yield* rest
      expect(text.match(/"finish_reason":"length"/g)).toHaveLength(16)
      expect(text).toMatch(/"usage":\{"prompt_tokens":.*\n\ndata: \[DONE\]\n\n$/)
      expect(yield* Fiber.join(stopped)).toBe(0)
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("tells the streams that are not finished in time, and ends in order all the same", () =>
    Effect.gen(function* () {
      const server = yield* startServer({
        HELIX_HTTPS_PORT: "0",
        HELIX_BOOTSTRAP_KEY: "given",
        HELIX_SHUTDOWN_SECONDS: "0"
      })
      const { rest } = yield* openStream(server.url)
      expect(yield* server.stop("SIGTERM")).toBe(0)
      const text = yield* rest
      expect(text).toMatch(/"code":"shutting_down"\}\}\n\n$/)
      expect(server.output()).toMatch(/time is up.*\nstopped\n$/)
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive(
    "tells, before it ends, the collector of its last requests and the database of its keys' last use",
    () =>
      Effect.gen(function* () {
        const collector = yield* stubServer((_, response) => response.end("{}"))
        const server = yield* startServer({ HELIX_HTTPS_PORT: "0", OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })
        const { stdout } = yield* helixflow(["keys", "create", "alice"], server.env)
        const traceId = "0af7651916cd43dd8448eb211c80319c"
        const headers = { authorization: `Bearer ${stdout.trim()}`, traceparent: `00-${traceId}-b7ad6b7169203331-01` }
        expect((yield* Effect.promise(() => fetch(`${server.url}/v1/models`, { headers }))).status).toBe(200)
        expect(yield* server.stop("SIGTERM")).toBe(0)
        expect(collector.requests.map(({ body }) => JSON.stringify(body)).join()).toContain(traceId)
        const used = Effect.flatMap(KeyStore, ({ list }) =>
          Effect.map(list, (keys) => keys.map(({ lastUsedAt }) => lastUsedAt))
        )
        const database = Storage.layerSqlite(join(server.dataDir, "helixflow.db"))
        const [lastUsedAt] = yield* Effect.provide(used, Layer.provide(KeyStore.layer, database))
        expect(lastUsedAt).toBeGreaterThan(Date.now() - 60_000)
      }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("finishes its streams, whatever an operator does to what computes them", () =>
    Effect.gen(function* () {
      const server = yield* startServer({
        HELIX_HTTPS_PORT: "0",
        HELIX_BOOTSTRAP_KEY: "given",
        HELIX_DEVICES: "cpu:0=2GiB,cpu:1=2GiB"
      })
      const admin = (path: string, method = "GET") =>
        Effect.promise(async () => {
          const headers = { authorization: "Bearer given" }
          const response = await fetch(`${server.url}/admin/v1/${path}`, { method, headers })
          return { status: response.status, text: await response.text() }
        })
      const short = { n: 4, max_tokens: 60 }
      const undisturbed = textsOf(yield* Effect.flatMap(openStream(server.url, short), ({ rest }) => rest))
      expect(undisturbed.size).toBe(4)
      const replica = Effect.map(
        admin("tree"),
        ({ text }) => /"id":"([^"]+#\d+)","kind":"replica"/.exec(text)?.[1] ?? ""
      )
      const actions = [
        (id: string) => admin(`tree/${encodeURIComponent(id)}/drain?grace_seconds=0`, "POST"),
        (id: string) => admin(`tree/${encodeURIComponent(id)}/kill`, "POST"),
        (id: string) => admin(`tree/${encodeURIComponent(`${id}/model`)}/restart`, "POST"),
        () => admin("tree/local%2Fscheduler/restart", "POST")
      ]
      for (const act of actions) {
        const id = yield* Effect.repeat(replica, { until: (id) => id !== "" })
        const { rest } = yield* openStream(server.url, short)
        expect(yield* act(id)).toMatchObject({ status: 200 })
        expect(textsOf(yield* rest)).toEqual(undisturbed)
      }
      const devices = yield* admin("devices")
      expect(JSON.parse(devices.text).data.map(({ id }: { readonly id: string }) => id)).toEqual([
        "local/cpu:0",
        "local/cpu:1"
      ])
      expect((yield* admin("tree/local%2Fcpu%3A9/drain", "POST")).status).toBe(404)
      expect((yield* admin("tree/local%2Fscheduler/kill", "POST")).text).toContain("unsupported_action")
      expect((yield* admin("tree/local/restart", "POST")).text).toContain("unsupported_action")
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("ends at once when it is told again", () =>
    Effect.gen(function* () {
      const server = yield* startServer({ HELIX_HTTPS_PORT: "0", HELIX_BOOTSTRAP_KEY: "given" })
      const { rest } = yield* openStream(server.url)
      yield* Effect.fork(Effect.ignoreLogged(rest))
      yield* Effect.fork(server.stop("SIGTERM"))
      // what comes within half a second is taken for the same wish
      expect(yield* Effect.delay(server.stop("SIGTERM"), "700 millis")).toBe(130)
    }).pipe(Effect.provide(NodeContext.layer))
  )
})

describe("helixflow", () => {
  it.live("tells what it can do, and fails on what it cannot", () =>
    Effect.gen(function* () {
      const help = yield* helixflow(["--help"])
      expect(help).toMatchObject({ code: 0, stderr: "" })
      for (const word of ["serve", "models", "chat", "bench", "Examples:"]) expect(help.stdout).toContain(word)
      expect(yield* helixflow([])).toEqual(help)
      const chat = yield* helixflow(["chat", "--help"])
      for (const option of ["--model", "--system", "--temperature", "--max-tokens", "--url", "--api-key"]) {
        expect(chat.stdout).toContain(option)
      }
      const keys = yield* helixflow(["keys", "create", "--help"])
      for (const option of ["--rpm", "--tpm", "--concurrency", "--scopes", "--expires"]) {
        expect(keys.stdout).toContain(option)
      }
      const mistyped = yield* helixflow(["modles"])
      expect(mistyped).toMatchObject({ code: 2, stdout: "" })
      expect(mistyped.stderr).toContain("Did you mean `models`?")
      expect((yield* helixflow(["models", "--jsn"])).code).toBe(2)
      expect((yield* helixflow(["chat", "--temperature", "9", "Hi"])).code).toBe(2)
      const engine = yield* helixflow(["bench", "engine", "z"])
      expect(engine).toMatchObject({ code: 1, stdout: "" })
      expect(engine.stderr).toContain("In parts, all unless some are named")
    })
  )

  it.live("says how to start a server where there is none", () =>
    Effect.gen(function* () {
      const none = yield* helixflow(["chat", "Hi"], { HELIX_HTTP_PORT: String(yield* freePort) })
      expect(none).toMatchObject({ code: 1, stdout: "" })
      expect(none.stderr).toContain("npm start")
    })
  )

  it.live("names every variable that is wrong", () =>
    Effect.gen(function* () {
      const wrong = yield* helixflow(["serve"], { HELIX_HTTP_PORT: "http", HELIX_DEVICES: "gpu" })
      expect(wrong.code).toBe(2)
      expect(wrong.stderr).toMatch(/^HELIX_DEVICES .*\nHELIX_HTTP_PORT .*\n$/)
      const nowhere = yield* helixflow(["serve"], { HELIX_HTTP_PORT: "0", HELIX_HTTPS_PORT: "0" })
      expect(nowhere.code).toBe(2)
      const missing = { HELIX_DEFAULT_MODEL: "nobody", HELIX_HTTP_PORT: String(yield* freePort), HELIX_HTTPS_PORT: "0" }
      const unknown = yield* helixflow(["serve"], missing)
      expect(unknown).toMatchObject({ code: 1 })
      expect(unknown.stderr).toContain("HELIX_DEFAULT_MODEL is `nobody`")
    })
  )
})
