import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { expect, layer } from "@effect/vitest"
import { writeTinyChatModel } from "@helixflow/runtime/TestModels"
import { Context, Effect, Layer } from "effect"
import { asked, helixflow, type Started, startServer } from "./Program.ts"
import { isRunning, pidIn, program } from "./TinyServer.ts"

/** A server whose one device holds either its chat model or a program that serves another, not both. */
class Server extends Context.Tag("@helixflow/gateway/test/ServedProgram")<Server, Started>() {
  static readonly layer = Layer.scoped(
    Server,
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const models = yield* files.makeTempDirectoryScoped()
      writeTinyChatModel(join(models, "chat"))
      const describe = (name: string, settings: unknown) => {
        mkdirSync(join(models, name))
        writeFileSync(join(models, name, "server.json"), JSON.stringify(settings))
      }
      describe("tiny", {
        command: [process.execPath, program, "{port}"],
        memory: "380MiB",
        context: 1024,
        model: "tiny-there"
      })
      describe("broken", { command: [process.execPath, "-e", "process.exit(7)"], memory: "1MiB", context: 8 })
      describe("nonsense", { command: [], memory: "1MiB", context: 8 })
      return yield* startServer({ HELIX_MODELS_DIR: models, HELIX_DEVICES: "cpu:0=400MiB" })
    })
  ).pipe(Layer.provide(NodeContext.layer))
}

const ask = (model: string, content: string, more: Readonly<Record<string, unknown>> = {}) =>
  Effect.flatMap(Server, (server) =>
    asked(server, "/v1/chat/completions", {
      method: "POST",
      body: JSON.stringify({ model, messages: [{ role: "user", content }], ...more })
    })
  )

layer(Server.layer, { timeout: 120_000, excludeTestServices: true })("a program that serves a model", (it) => {
  it.effect("is started when the model is asked for, and asked with its own name of it", () =>
    Effect.gen(function* () {
      const { env } = yield* Server
      const first = yield* ask("tiny", "Hi")
      expect(first.status).toBe(200)
      expect(JSON.parse(first.text)).toMatchObject({ model: "tiny-there" })
      const stream = yield* ask("tiny", "Hi", { stream: true })
      expect(stream.text).toMatch(/data: \[DONE\]\n\n$/)
      expect(pidIn((yield* ask("tiny", "Hi")).text)).toBe(pidIn(first.text))
      expect((yield* helixflow(["models"], env)).stdout).toMatch(
        /^tiny +text-generation .* ready on local\/cpu:0 0\/16$/m
      )
    })
  )

  it.effect("leaves when another model needs its memory, and comes back when it is asked for again", () =>
    Effect.gen(function* () {
      const before = pidIn((yield* ask("tiny", "Hi")).text)
      expect((yield* ask("chat", "Hi", { max_tokens: 2 })).status).toBe(200)
      expect(isRunning(before)).toBe(false)
      const after = pidIn((yield* ask("tiny", "Hi")).text)
      expect(after).not.toBe(before)
      expect(isRunning(after)).toBe(true)
    })
  )

  it.effect("is started anew when it has died, and who asks meanwhile waits", () =>
    Effect.gen(function* () {
      const before = pidIn((yield* ask("tiny", "Hi")).text)
      process.kill(before, "SIGKILL")
      const answered = yield* ask("tiny", "Hi").pipe(
        Effect.repeat({ until: ({ status }) => status === 200, times: 20 })
      )
      expect(pidIn(answered.text)).not.toBe(before)
    })
  )

  it.effect("that doesn't start, or is described wrongly, is told of with the reason", () =>
    Effect.gen(function* () {
      const broken = yield* ask("broken", "Hi")
      expect(broken.status).toBe(503)
      expect(broken.text).toContain("it exited with code 7")
      expect((yield* ask("nonsense", "Hi")).text).toContain("server.json")
    })
  )

  it.effect("ends with the server", () =>
    Effect.gen(function* () {
      const pid = pidIn((yield* ask("tiny", "Hi")).text)
      const { stop } = yield* Server
      expect(yield* stop("SIGTERM")).toBe(0)
      expect(isRunning(pid)).toBe(false)
    })
  )
})
