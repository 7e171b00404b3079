import * as fs from "node:fs"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { scan } from "@helixflow/runtime/ModelScan"
import { writeTinyChatModel } from "@helixflow/runtime/TestModels"
import { Effect, Fiber, Option, Redacted, type Scope, TestClock } from "effect"
import { ModelHub } from "../src/ModelHub.ts"
import { isModelName, type PullRequest, pull } from "../src/Pull.ts"
import { commit, type Hub, hubServer } from "./HubServer.ts"

const inTemporaryFolder = Effect.flatMap(FileSystem.FileSystem, (files) => files.makeTempDirectoryScoped())

/** A hub with a small model of two precisions, and an empty folder of models. */
const setting = Effect.gen(function* () {
  const repository = yield* inTemporaryFolder
  writeTinyChatModel(repository)
  const graph = join(repository, "onnx", "model.onnx")
  fs.copyFileSync(graph, join(repository, "onnx", "model_fp16.onnx"))
  fs.writeFileSync(join(repository, "pytorch_model.bin"), "not for us")
  const hub = yield* hubServer(repository)
  const folder = yield* inTemporaryFolder
  return { hub, repository, folder, graphBytes: fs.statSync(graph).size }
})

interface Asked extends Partial<PullRequest> {
  readonly token?: string
  /** Of the graph that will be fetched: connections that stop are cut when all that was sent has come. */
  readonly graphBytes?: number
}

/** Pulls `org/model`; what the observer was told last is the progress. Pauses between attempts take no time. */
const pulling = (hub: Hub, folder: string, { graphBytes = 0, token, ...asked }: Asked = {}) =>
  Effect.gen(function* () {
    let there = 0
    const begun: Array<readonly [total: number, there: number]> = []
    const request: PullRequest = {
      model: "org/model",
      revision: "main",
      folder,
      device: "cpu",
      dtype: undefined,
      ...asked
    }
    const running = yield* Effect.fork(
      pull(request, {
        begin: (_, total, before) => Effect.sync(() => begun.push([total, before])),
        progress: (bytes) => {
          there = bytes
          hub.received(bytes - (begun[0]?.[0] ?? 0) + graphBytes)
        }
      }).pipe(
        Effect.provide(
          ModelHub.layer({ endpoint: hub.url, token: Option.map(Option.fromNullable(token), Redacted.make) })
        )
      )
    )
    const skipping = yield* Effect.fork(
      Effect.forever(Effect.zipRight(TestClock.adjust("1 second"), Effect.promise(soon)))
    )
    const pulled = yield* Effect.ensuring(Fiber.join(running), Fiber.interrupt(skipping))
    return { ...pulled, begun, there }
  })

/** After whatever the sockets have now. */
const soon = () => new Promise<void>((resolve) => setImmediate(resolve))

const run = <A, E>(test: Effect.Effect<A, E, FileSystem.FileSystem | Scope.Scope>) =>
  test.pipe(Effect.scoped, Effect.provide(NodeContext.layer))

const graphRequests = (hub: Hub) => hub.requests.filter(({ path }) => path.endsWith(".onnx"))

describe("pulling a model", () => {
  it.effect("brings what a server needs to serve it, and nothing else", () =>
    run(
      Effect.gen(function* () {
        const { folder, hub } = yield* setting
        const pulled = yield* pulling(hub, folder)
        expect(pulled).toMatchObject({ commit, fetched: true, graph: "onnx/model.onnx" })
        expect([...scan([folder]).models.keys()]).toEqual(["org/model"])
        const files = fs.readdirSync(join(folder, "org", "model"), { recursive: true, encoding: "utf8" })
        expect(files).toContain("tokenizer.json")
        expect(files).not.toContain("pytorch_model.bin")
        expect(files).not.toContain(join("onnx", "model_fp16.onnx"))
        expect(pulled.begun).toEqual([[pulled.there, 0]])
      })
    )
  )

  it.effect("takes the precision that suits the device, or the one that is asked for", () =>
    run(
      Effect.gen(function* () {
        const { folder, hub } = yield* setting
        expect((yield* pulling(hub, folder, { device: "gpu" })).graph).toBe("onnx/model_fp16.onnx")
        expect((yield* pulling(hub, folder, { dtype: "fp32" })).graph).toBe("onnx/model.onnx")
        const missing = yield* Effect.flip(pulling(hub, folder, { dtype: "q4" }))
        expect(missing.message).toContain("no graph of precision `q4`. It has onnx/model")
      })
    )
  )

  it.effect("does nothing when the same commit is there", () =>
    run(
      Effect.gen(function* () {
        const { folder, hub } = yield* setting
        yield* pulling(hub, folder)
        const before = hub.requests.length
        expect(yield* pulling(hub, folder)).toMatchObject({ fetched: false, begun: [] })
        expect(hub.requests).toHaveLength(before + 1)
      })
    )
  )

  it.effect("goes on where a connection was cut, within a pull and in the next one", () =>
    run(
      Effect.gen(function* () {
        const { folder, graphBytes, hub } = yield* setting
        hub.faults({ cutAfter: [1000, 500] })
        yield* pulling(hub, folder, { graphBytes })
        expect(graphRequests(hub).map(({ range }) => range)).toEqual([undefined, "bytes=1000-", "bytes=1500-"])

        const elsewhere = yield* inTemporaryFolder
        hub.faults({ cutAfter: Array.from({ length: 6 }, () => 100) })
        const cut = yield* Effect.flip(pulling(hub, elsewhere, { graphBytes }))
        expect(cut._tag).toBe("HubUnreachable")
        expect(scan([elsewhere]).names.size).toBe(0)
        const { begun } = yield* pulling(hub, elsewhere)
        expect(graphRequests(hub).at(-1)?.range).toBe("bytes=600-")
        expect(begun.map(([total, there]) => total - there)).toEqual([graphBytes - 600])
      })
    )
  )

  it.effect("begins anew where the hub knows no ranges", () =>
    run(
      Effect.gen(function* () {
        const { folder, hub } = yield* setting
        hub.faults({ cutAfter: [1000], withoutRanges: true })
        expect((yield* pulling(hub, folder)).fetched).toBe(true)
      })
    )
  )

  it.effect("believes no file that is not what the hub said it was, and gets it right the next time", () =>
    run(
      Effect.gen(function* () {
        const { folder, hub } = yield* setting
        for (const file of ["config.json", "onnx/model.onnx"]) {
          hub.faults({ corrupt: [file] })
          const refused = yield* Effect.flip(pulling(hub, folder))
          expect(refused.message).toContain(`\`${file}\` is not what the hub says it is`)
          expect(scan([folder]).names.size).toBe(0)
        }
        hub.faults({})
        expect((yield* pulling(hub, folder)).fetched).toBe(true)
      })
    )
  )

  it.effect("shows its token to the hub, and not to where the hub redirects", () =>
    run(
      Effect.gen(function* () {
        const { folder, hub, repository } = yield* setting
        const storage = yield* hubServer(repository)
        hub.faults({ token: "hf_1", redirectTo: storage.url })
        const anonymous = yield* Effect.flip(pulling(hub, folder))
        expect(anonymous.message).toContain("needs a token in HF_TOKEN")
        const other = yield* Effect.flip(pulling(hub, folder, { token: "hf_2" }))
        expect(other.message).toContain("does not give this token access")
        expect((yield* pulling(hub, folder, { token: "hf_1" })).fetched).toBe(true)
        expect(storage.requests.length).toBeGreaterThan(0)
        expect(storage.requests.every(({ authorization }) => authorization === undefined)).toBe(true)
      })
    )
  )

  it.effect("begins nothing that the disk can't hold", () =>
    run(
      Effect.gen(function* () {
        const { folder, hub } = yield* setting
        hub.faults({ announcedSize: 2 ** 50 })
        const refused = yield* Effect.flip(pulling(hub, folder))
        expect(refused.message).toMatch(/needs [\d.]+ TiB more in .*, but only [\d.]+ [MGT]iB can be used/)
        expect(graphRequests(hub)).toEqual([])
      })
    )
  )

  it.effect("leaves what is served alone until the new one is whole, and keeps the operator's settings", () =>
    run(
      Effect.gen(function* () {
        const { folder, hub } = yield* setting
        yield* pulling(hub, folder, { device: "gpu" })
        const settings = join(folder, "org", "model", "helixflow.json")
        fs.writeFileSync(settings, `{"aliases":["gpt"]}`)
        hub.faults({ corrupt: ["onnx/model.onnx"] })
        yield* Effect.flip(pulling(hub, folder))
        expect(scan([folder]).names.get("gpt")?.spec.id).toBe("org/model")
        hub.faults({})
        yield* pulling(hub, folder)
        expect(scan([folder]).names.get("gpt")?.spec.id).toBe("org/model")
        expect(fs.existsSync(join(folder, "org", "model", "onnx", "model_fp16.onnx"))).toBe(false)
        expect(fs.readdirSync(join(folder, ".pull"))).toEqual([])
      })
    )
  )

  it.effect("says what can't be served, and that a model is not there", () =>
    run(
      Effect.gen(function* () {
        const { folder, hub, repository } = yield* setting
        const missing = yield* Effect.flip(pulling(hub, folder, { model: "org/other" }))
        expect(missing.message).toContain("The hub has no model `org/other`")
        fs.writeFileSync(join(repository, "config.json"), `{"architectures":["WhisperForAudio"]}`)
        const refused = yield* Effect.flip(pulling(hub, folder))
        expect(refused.message).toContain("`WhisperForAudio` is not supported")
        fs.rmSync(join(repository, "onnx"), { recursive: true })
        expect((yield* Effect.flip(pulling(hub, folder))).message).toContain("no ONNX graph")
      })
    )
  )
})

describe("a model's name", () => {
  it("stays below the folder of models", () => {
    for (const name of ["name", "org/name", "onnx-community/Qwen3-0.6B-ONNX"]) expect(isModelName(name)).toBe(true)
    for (const name of ["", "..", "../name", "org/..", "/name", "a/b/c", ".pull/x", "org/", "a b"]) {
      expect(isModelName(name)).toBe(false)
    }
  })
})
