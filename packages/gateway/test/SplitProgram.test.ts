import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { expect, layer } from "@effect/vitest"
import { writeTinyChatModel } from "@helixflow/runtime/TestModels"
import { Context, Effect, Layer, Schema } from "effect"
import { DeviceList } from "../src/DevicesApi.ts"
import { asked, helixflow, type Started, startServer } from "./Program.ts"
import { isRunning, pidIn, program } from "./TinyServer.ts"

/** A server of two devices, a program that takes a part of both, and a model that needs most of one. */
class Server extends Context.Tag("@helixflow/gateway/test/SplitProgram")<Server, Started>() {
  static readonly layer = Layer.scoped(
    Server,
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const models = yield* files.makeTempDirectoryScoped()
      const describe = (name: string, server: unknown, settings: unknown) => {
        mkdirSync(join(models, name), { recursive: true })
        if (server !== null) writeFileSync(join(models, name, "server.json"), JSON.stringify(server))
        writeFileSync(join(models, name, "helixflow.json"), JSON.stringify(settings))
      }
      const server = { command: [process.execPath, program, "{port}", "{devices}"], memory: "400MiB", context: 1024 }
      describe("wide", server, { placing: { split: { devices: 2, overhead: "50MiB" } } })
      describe("wider", server, { placing: { split: 3 } })
      writeTinyChatModel(join(models, "chat"))
      describe("chat", null, { memory: "200MiB" })
      writeTinyChatModel(join(models, "halved"))
      describe("halved", null, { placing: { split: 2 } })
      return yield* startServer({ HELIX_MODELS_DIR: models, HELIX_DEVICES: "cpu:0=300MiB,cpu:1=300MiB" })
    })
  ).pipe(Layer.provide(NodeContext.layer))
}

const ask = (model: string) =>
  Effect.flatMap(Server, (server) =>
    asked(server, "/v1/chat/completions", {
      method: "POST",
      body: JSON.stringify({ model, max_tokens: 2, messages: [{ role: "user", content: "Hi" }] })
    })
  )

/** MiB that replicas have claimed of each device. */
const claimed = Effect.map(
  Effect.flatMap(Server, (server) => asked(server, "/admin/v1/devices")),
  ({ text }) =>
    Schema.decodeUnknownSync(Schema.parseJson(DeviceList))(text).data.map(({ claims }) =>
      claims.filter(({ within }) => within === null).map(({ bytes }) => bytes / 2 ** 20)
    )
)

layer(Server.layer, { timeout: 120_000, excludeTestServices: true })("a program that is split over devices", (it) => {
  it.effect("is told which it has, and claims its part of each", () =>
    Effect.gen(function* () {
      const { env } = yield* Server
      expect((yield* ask("wide")).text).toContain("on cpu:0,cpu:1")
      expect(yield* claimed).toEqual([[250], [250]])
      expect((yield* helixflow(["models"], env)).stdout).toMatch(
        /^wide .* ready on local\/cpu:0 and local\/cpu:1 0\/16$/m
      )
      expect((yield* helixflow(["explain", "wide"], env)).stdout).toContain("ready on local/cpu:0 and local/cpu:1")
    })
  )

  it.effect("leaves both for a model that needs one of them", () =>
    Effect.gen(function* () {
      const before = pidIn((yield* ask("wide")).text)
      expect((yield* ask("chat")).status).toBe(200)
      expect(isRunning(before)).toBe(false)
      expect((yield* claimed).flat()).toHaveLength(1)
    })
  )

  it.effect("ends with either of its devices, and comes back when it is asked for again", () =>
    Effect.gen(function* () {
      const { env } = yield* Server
      const before = pidIn((yield* ask("wide")).text)
      const restarted = yield* helixflow(["tree", "restart", "local/cpu:1"], env)
      expect(restarted.code).toBe(0)
      expect(isRunning(before)).toBe(false)
      const after = pidIn((yield* ask("wide")).text)
      expect(after).not.toBe(before)
      expect(yield* claimed).toEqual([[250], [250]])
    })
  )

  it.effect("is refused where there are too few devices", () =>
    Effect.gen(function* () {
      const { status, text } = yield* ask("wider")
      expect(status).toBe(503)
      expect(text).toContain("it is split over 3 devices of one node and name, of which 2 can be had")
    })
  )

  it.effect("can't be a model of ONNX Runtime, which is told with the setting's name", () =>
    Effect.gen(function* () {
      const { status, text } = yield* ask("halved")
      expect(status).toBe(503)
      expect(text).toContain("`placing.split`: ONNX Runtime computes a model on one device")
    })
  )

  it.effect("ends with the server", () =>
    Effect.gen(function* () {
      const pid = pidIn((yield* ask("wide")).text)
      const { stop } = yield* Server
      expect(yield* stop("SIGTERM")).toBe(0)
      expect(isRunning(pid)).toBe(false)
    })
  )
})
