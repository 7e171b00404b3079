import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { expect, layer } from "@effect/vitest"
import { writeTinyChatModel } from "@helixflow/runtime/TestModels"
import { Context, Effect, Layer } from "effect"
import { commit, type Hub, hubServer } from "./HubServer.ts"
import { freePort, helixflow, type Started, startServer } from "./Program.ts"

/** A started server and a hub with a model that the server does not have. */
class Setting extends Context.Tag("@helixflow/gateway/test/Setting")<
  Setting,
  { readonly server: Started; readonly hub: Hub }
>() {
  static readonly layer = Layer.scoped(
    Setting,
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const repository = yield* files.makeTempDirectoryScoped()
      writeTinyChatModel(repository)
      writeTinyChatModel(repository, { precision: "float16", file: "onnx/model_fp16.onnx" })
      return { server: yield* startServer(), hub: yield* hubServer(repository) }
    })
  ).pipe(Layer.provide(NodeContext.layer))
}

const run = (...args: ReadonlyArray<string>) =>
  Effect.flatMap(Setting, ({ hub, server }) => helixflow(args, { ...server.env, HF_ENDPOINT: hub.url }))

layer(Setting.layer, { timeout: 60_000, excludeTestServices: true })("the models of a running server", (it) => {
  it.effect("can be fetched, loaded, asked, unloaded and removed, without a restart", () =>
    Effect.gen(function* () {
      const { server } = yield* Setting
      const pulled = yield* run("pull", "org/model")
      expect(pulled).toMatchObject({ code: 0, stdout: expect.stringContaining(commit) })
      const folder = join(server.env["HELIX_MODELS_DIR"] ?? "", "org", "model")
      expect(pulled.stdout).toContain(folder)

      expect(yield* run("models", "load", "org/model")).toEqual({
        code: 0,
        stdout: "org/model is ready on local/cpu:0 0/16\n",
        stderr: ""
      })
      expect((yield* run("models")).stdout).toMatch(/^org\/model {9}text-generation .* ready on local\/cpu:0 0\/16$/m)
      expect((yield* run("chat", "--model", "org/model", "--max-tokens", "4", "Hello!")).code).toBe(0)
      // a worker is a process of Node.js, which takes tens of MiB
      expect((yield* run("models", "unload", "org/model")).stdout).toMatch(/its memory is free: \d{2,3}(\.\d)? MiB\.$/m)
      expect((yield* run("models", "unload", "org/model")).stdout).toMatch(/its memory is free: 0 /)
      expect((yield* run("models", "ls")).stdout).toMatch(/^org\/model {9}text-generation .* -$/m)

      expect((yield* run("models", "rm", "org/model")).code).toBe(0)
      expect(existsSync(folder)).toBe(false)
      expect((yield* run("models")).stdout).not.toContain("org/model")
    })
  )

  it.effect("answer by one name with the version that a conversation draws, in shares that can be changed", () =>
    Effect.gen(function* () {
      const { server } = yield* Setting
      const models = server.env["HELIX_MODELS_DIR"] ?? ""
      writeTinyChatModel(join(models, "org", "poet", "v1"))
      writeTinyChatModel(join(models, "org", "poet", "v2"), { hidden_size: 48 })
      const key = readFileSync(join(server.dataDir, "bootstrap-key"), "utf8").trim()
      const ask = (conversation: number, turns = 1) =>
        Effect.promise(async () => {
          const question = { role: "user", content: `question ${conversation}` }
          const more = Array.from({ length: turns - 1 }, () => [{ role: "assistant", content: "so" }, question]).flat()
          const answer = await fetch(`${server.url}/v1/chat/completions`, {
            method: "POST",
            headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
            body: JSON.stringify({ model: "org/poet", messages: [question, ...more], max_tokens: 1 })
          })
          return Object(await answer.json()).model
        })

      expect(yield* run("models", "route", "org/poet", "v1=1", "v2=0")).toEqual({
        code: 0,
        stdout: expect.stringMatching(/^v1 +org\/poet\/v1 +1$/m),
        stderr: ""
      })
      expect((yield* run("models")).stdout).toContain("org/poet/v2")
      expect(new Set(yield* Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], (n) => ask(n)))).toEqual(new Set(["org/poet/v1"]))

      expect((yield* run("models", "route", "org/poet", "v1=0.5", "v2=0.5")).code).toBe(0)
      const first = yield* Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], (n) => ask(n))
      expect(new Set(first)).toEqual(new Set(["org/poet/v1", "org/poet/v2"]))
      expect(yield* Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], (n) => ask(n, 3))).toEqual(first)

      expect((yield* run("models", "route", "org/poet")).stdout).toMatch(/^v2 +org\/poet\/v2 +0.5$/m)
      const kept = readFileSync(join(models, "org", "poet", "versions.json"), "utf8")
      expect(JSON.parse(kept)).toEqual({ weights: { v1: 0.5, v2: 0.5 } })
      const listed = yield* Effect.promise(async () =>
        (await fetch(`${server.url}/v1/models/org/poet`, { headers: { authorization: `Bearer ${key}` } })).json()
      )
      expect(listed).toMatchObject({ id: "org/poet", task: "text-generation" })
      for (const [shares, reason] of [
        [["v1=0.5"], "add up to 0.5, not to 1"],
        [["v3=1"], "no version `v3`"],
        [["v1"], "is no version with its share"]
      ] as const) {
        const { code, stderr, stdout } = yield* run("models", "route", "org/poet", ...shares)
        expect(code).not.toBe(0)
        expect(stdout + stderr).toContain(reason)
      }
    })
  )

  it.effect("are fetched for processors where a GPU is found that a server would not use", () =>
    Effect.gen(function* () {
      const { hub } = yield* Setting
      const files = yield* FileSystem.FileSystem
      const folder = yield* files.makeTempDirectoryScoped()
      const nvidiaSmi = join(folder, "nvidia-smi")
      writeFileSync(nvidiaSmi, "#!/bin/sh\necho 'GPU-a, NVIDIA L4, 24576, 24000, 576, 0, 40, 20, 0, [N/A]'\n", {
        mode: 0o755
      })
      const env = {
        HF_ENDPOINT: hub.url,
        HELIX_DATA_DIR: folder,
        HELIX_NVML_LIBRARY: "libhelixflow-nowhere.so.1",
        HELIX_NVIDIA_SMI: nvidiaSmi
      }
      const { code, stderr, stdout } = yield* helixflow(["pull", "org/model"], env)
      expect(code).toBe(0)
      expect(stderr + stdout).toContain("GPUs are not used: cuda:0 (NVIDIA L4)")
      expect(stdout).toContain("(onnx/model.onnx, ")
      const declared = yield* helixflow(["pull", "org/model"], { ...env, HELIX_DEVICES: "cuda:0" })
      expect(declared.stdout).toContain("(onnx/model_fp16.onnx, ")
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))
  )

  it.effect("have cards, which are shown without a server", () =>
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const env = {
        HELIX_HTTP_PORT: String(yield* freePort),
        HELIX_DATA_DIR: yield* files.makeTempDirectoryScoped()
      }
      const { code, stderr, stdout } = yield* helixflow(["models", "show", "helix-demo"], env)
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      expect(stdout).toMatch(/^# helix-demo\n/)
      expect(stdout).toContain("| **all** |")
      expect(stdout).not.toContain("## On ")
      const missing = yield* helixflow(["models", "show", "nobody"], env)
      expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining("There is no model `nobody`") })
      const url = `http://127.0.0.1:${env.HELIX_HTTP_PORT}`
      const named = yield* helixflow(["models", "show", "helix-demo", "--url", url], env)
      expect(named).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("nothing listens there") })
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))
  )

  it.effect("are shown with what a running server alone knows: their replicas, devices and claims", () =>
    Effect.gen(function* () {
      const { server } = yield* Setting
      const shown = yield* run("models", "show", "helix-demo")
      expect(shown).toMatchObject({ code: 0, stderr: "" })
      expect(shown.stdout).toMatch(
        /^## On http:\/\/127\.0\.0\.1:\d+\n\nhelix-demo is loaded \(the default model, kept loaded\)$/m
      )
      expect(shown.stdout).toMatch(
        /^A replica claims [\d.]+ .iB on cpu \([\d.]+ .iB of that without its KV cache\); there may be 1$/m
      )
      expect(shown.stdout).toMatch(
        /^local\/cpu:0\/helix-demo#0 +local\/cpu:0 +ready +0\/16 +[\d.]+ MiB resident +[\d.]+ MiB +\S+ .iB of \S+ .iB +\d+$/m
      )
      // the card of the bundled model of this name, for want of the server's own
      const { HELIX_MODELS_DIR: _, ...env } = server.env
      const both = yield* helixflow(["models", "show", "helix-demo"], env)
      expect(both.stdout).toMatch(/^# helix-demo\n[\s\S]*\n\n## On http/)
      const stranger = yield* helixflow(["models", "show", "helix-demo"], {
        ...env,
        HELIX_BOOTSTRAP_KEY: "hx-a-wrong-key-of-32-characters-and-more"
      })
      expect(stranger.code).toBe(0)
      expect(stranger.stdout).toMatch(/^# helix-demo\n/)
      expect(stranger.stdout).not.toContain("## On ")
      expect(stranger.stderr).toContain("The server on this machine tells no more: ")
      expect((yield* run("models", "show", "nobody")).stderr).toContain("There is no model `nobody`")
    })
  )

  it.effect("are refused what would harm the server, with a reason", () =>
    Effect.gen(function* () {
      const refusals = [
        [["models", "unload", "helix-demo"], "it is the default model, which is kept loaded"],
        [["models", "load", "nobody"], "does not exist"],
        [["models", "rm", "../nobody"], "does not exist"],
        [["pull", "../nobody"], "must be like org/name"],
        [["pull", "org/nobody"], "The hub has no model"]
      ] as const
      for (const [args, reason] of refusals) {
        const { code, stderr, stdout } = yield* run(...args)
        expect(code, args.join(" ")).not.toBe(0)
        expect(stdout + stderr).toContain(reason)
      }
    })
  )
})
