import { fork } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as path from "node:path"
import { describe, expect, it, layer } from "@effect/vitest"
import {
  ActorUnreachable,
  ContextLengthExceeded,
  EngineFailed,
  InvalidRequest,
  LoadFailed,
  ModelReplaced
} from "@helixflow/schema/Errors"
import { ChatMessage, type TokenBatch } from "@helixflow/schema/Generation"
import { DeviceId, ModelId, makeReplicaId, RequestId, TokenId } from "@helixflow/schema/Ids"
import { Context, Effect, Fiber, Layer, Stream } from "effect"
import { vi } from "vitest"
import { PROCESSOR } from "../src/ExecutionProvider.ts"
import { revisionOf } from "../src/ModelRevision.ts"
import { writeTinyChatModel, writeTinyEmbeddingModel } from "../src/TestModels.ts"
import * as WorkerProcess from "../src/WorkerProcess.ts"
import { compiled } from "./compiled.ts"
import { sequence, stopping } from "./sequences.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const root = temporaryFolder()
writeTinyChatModel(path.join(root, "chat"))
writeTinyEmbeddingModel(path.join(root, "embed"))

const entry = await compiled()
const spawn = WorkerProcess.spawn({
  replica: makeReplicaId(DeviceId.make("local/cpu:0"), ModelId.make("tiny"), 0),
  entry,
  socketDir: root,
  records: path.join(root, "workers"),
  liveness: { freezeMillis: 500, stepMillis: 20_000 }
})
type Worker = Effect.Effect.Success<typeof spawn>["client"]

const loadPayload = (name: string, task: "text-generation" | "embedding") => ({
  model: ModelId.make(name),
  path: path.join(root, name),
  task,
  context: 512,
  slots: 16,
  device: PROCESSOR,
  threads: 1,
  engine: "auto" as const
})
class ChatWorker extends Context.Tag("ChatWorker")<ChatWorker, Worker>() {
  static readonly layer = Layer.scoped(
    this,
    Effect.tap(
      Effect.map(spawn, ({ client }) => client),
      (client) => client.Load(loadPayload("chat", "text-generation"))
    )
  )
}
const encode = (client: Worker, text: string) =>
  Effect.map(client.Tokenize({ prompt: { _tag: "Text", text, addSpecialTokens: true } }), ({ tokens }) => tokens)

/** Listens until every one of these requests has finished or failed; what was said of each. */
const listen = (client: Worker, requests: ReadonlyArray<string>) => {
  const open = new Set(requests)
  return client.Events().pipe(
    Stream.tap(({ batches, failures }) =>
      Effect.sync(() => {
        for (const { request, finish } of batches) if (finish !== null) open.delete(request)
        for (const { request } of failures) open.delete(request)
      })
    ),
    Stream.takeUntil(() => open.size === 0),
    Stream.runCollect,
    Effect.map((events) => {
      const said = new Map<string, Array<TokenBatch>>()
      for (const batch of [...events].flatMap(({ batches }) => batches)) {
        said.set(batch.request, [...(said.get(batch.request) ?? []), batch])
      }
      return said
    })
  )
}
const textOf = (batches: ReadonlyArray<TokenBatch> | undefined) => batches?.map(({ text }) => text).join("")

describe("a worker process", () => {
  it.scopedLive("loads a model once and says what it is", () =>
    Effect.gen(function* () {
      const { client } = yield* spawn
      const load = client.Load(loadPayload("chat", "text-generation"))
      const [first, second] = yield* Effect.all([load, load], { concurrency: 2 })
      expect(first).toMatchObject({ vocabulary: 320, context: 512 })
      expect(first.rss).toBeGreaterThan(1e7)
      expect(second).toEqual(first)
      const health = yield* client.Health()
      expect(health).toMatchObject({ active: 0, steps: 0 })
    })
  )

  it.scopedLive("says why a model can't be loaded", () =>
    Effect.gen(function* () {
      const { client } = yield* spawn
      const failed = yield* Effect.flip(client.Load(loadPayload("nowhere", "text-generation")))
      expect(failed).toBeInstanceOf(LoadFailed)
      expect(failed.message).toContain("config.json")
      expect(yield* Effect.flip(encode(client, "x"))).toBeInstanceOf(EngineFailed)
    })
  )

  it.scopedLive("loads only the files that are meant", () =>
    Effect.gen(function* () {
      const { client } = yield* spawn
      const load = loadPayload("chat", "text-generation")
      expect(yield* Effect.flip(client.Load({ ...load, revision: "another" }))).toEqual(
        new ModelReplaced({ model: "chat" })
      )
      const second = yield* spawn
      yield* second.client.Load({ ...load, revision: revisionOf(load.path) })
    })
  )

  it.scopedLive("embeds, and does nothing else with an embedding model", () =>
    Effect.gen(function* () {
      const { client } = yield* spawn
      yield* client.Load(loadPayload("embed", "embedding"))
      const tokens = yield* encode(client, "hello")
      const inputs = Array.from({ length: 40 }, () => tokens)
      const embeddings = yield* client.Embed({ request: RequestId.make("e"), inputs })
      expect(embeddings).toMatchObject({ dimensions: 32, promptTokens: 40 * tokens.length })
      expect(embeddings.vectors.map(({ byteLength }) => byteLength)).toEqual(inputs.map(() => 32 * 4))
      const long = client.Embed({
        request: RequestId.make("l"),
        inputs: [Array.from({ length: 129 }, () => TokenId.make(9))]
      })
      expect(yield* Effect.flip(long)).toBeInstanceOf(ContextLengthExceeded)
      expect(yield* Effect.flip(client.Submit(sequence("text", tokens)))).toBeInstanceOf(EngineFailed)
    })
  )

  it.live("ends with its parent, and leaves no socket behind", () =>
    Effect.promise(async () => {
      const socket = path.join(root, "orphan.sock")
      const child = fork(entry.path, [socket])
      await once(child, "message")
      expect(fs.existsSync(socket)).toBe(true)
      child.disconnect()
      const [code] = await once(child, "exit")
      expect(code).toBe(0)
      expect(fs.existsSync(socket)).toBe(false)
    })
  )

  it.scopedLive("is missed by its callers when it is killed", () =>
    Effect.gen(function* () {
      const { client, exited, pid } = yield* spawn
      const events = yield* Effect.fork(Effect.flip(Stream.runDrain(client.Events())))
      yield* client.Health()
      process.kill(pid, "SIGKILL")
      expect(yield* Fiber.join(events)).toBeInstanceOf(ActorUnreachable)
      expect(yield* exited).toEqual({ reason: "killed by SIGKILL", crashed: false })
    })
  )

  it.scopedLive("is killed when it is stopped, whether it has anything to do or not, and not for a moment's stop", () =>
    Effect.gen(function* () {
      const { client, exited, pid } = yield* spawn
      process.kill(pid, "SIGSTOP")
      yield* Effect.sleep("250 millis")
      process.kill(pid, "SIGCONT")
      yield* client.Health()
      process.kill(pid, "SIGSTOP")
      expect(yield* exited).toEqual({ reason: "it was stopped by a signal for 0.5 s", crashed: false })
    })
  )

  it.scopedLive("is killed when it hangs", () =>
    Effect.gen(function* () {
      const { exited, keepAlive } = yield* spawn
      // a question that is never answered, of a process that has nothing to compute
      yield* keepAlive(Effect.never)
      expect((yield* exited).reason).toContain("it hangs")
    })
  )
})

layer(ChatWorker.layer, { excludeTestServices: true })("a worker process with a loaded model", (it) => {
  it.scoped("turns chats into tokens and tokens into text", () =>
    Effect.gen(function* () {
      const client = yield* ChatWorker
      const messages = [ChatMessage.make({ role: "user", content: "Hello" })]
      const { tokens } = yield* client.Tokenize({ prompt: { _tag: "Chat", messages } })
      const { text } = yield* client.Detokenize({ tokens })
      expect(text).toBe("<|user|>\nHello<|end|>\n<|assistant|>\n")
      const unknown = yield* Effect.flip(client.Detokenize({ tokens: [TokenId.make(5000)] }))
      expect(unknown).toBeInstanceOf(InvalidRequest)
    })
  )

  it.scoped("computes sixteen uneven sequences at once, each as if it were alone", () =>
    Effect.gen(function* () {
      const client = yield* ChatWorker
      const ids = Array.from({ length: 16 }, (_, index) => `s${index}`)
      const prompts = yield* Effect.forEach(ids, (_, index) => encode(client, `${index} ${"word ".repeat(index * 4)}`))
      const submit = (name: string, index: number) =>
        client.Submit(
          sequence(name, prompts[index] ?? [], { stopping: stopping({ maxTokens: 8 + index }), logprobs: 1 })
        )
      const together = yield* Effect.fork(listen(client, ids))
      yield* Effect.forEach(ids, submit, { concurrency: 16, discard: true })
      const said = yield* Fiber.join(together)
      for (const [index, id] of ids.entries()) {
        const batches = said.get(id) ?? []
        expect(batches.map(({ seq }) => seq)).toEqual(Array.from({ length: 8 + index }, (_, seq) => seq))
        expect(batches.at(-1)?.finish).toBe("length")
        expect(batches.every(({ logprobs }) => logprobs?.[0]?.top.length === 1)).toBe(true)
      }
      const alone = yield* Effect.fork(listen(client, ["alone"]))
      yield* submit("alone", 9)
      expect(textOf((yield* Fiber.join(alone)).get("alone"))).toBe(textOf(said.get("s9")))
    })
  )

  it.scoped("computes nothing that nobody would hear of", () =>
    Effect.gen(function* () {
      const client = yield* ChatWorker
      const { steps } = yield* client.Health()
      yield* client.Submit(sequence("early", yield* encode(client, "early")))
      expect(yield* client.Health()).toMatchObject({ active: 1, steps })
      expect((yield* listen(client, ["early"])).get("early")).toHaveLength(24)
    })
  )

  it.scoped("takes a cancelled sequence out of the batch within a step", () =>
    Effect.gen(function* () {
      const client = yield* ChatWorker
      const prompt = yield* encode(client, "endless")
      const endless = stopping({ maxTokens: null, ignoreEos: true })
      const { steps } = yield* client.Health()
      const listening = yield* Effect.fork(listen(client, ["short"]))
      yield* client.Submit(sequence("endless", prompt, { stopping: endless }))
      const before = yield* client.Health()
      yield* client.Cancel({ request: RequestId.make("endless") })
      const after = yield* client.Health()
      expect(before.active).toBe(1)
      expect(after.active).toBe(0)
      yield* client.Cancel({ request: RequestId.make("endless") })
      yield* client.Submit(sequence("short", prompt))
      const said = yield* Fiber.join(listening)
      // what was said of it before it was cancelled, and nothing since
      expect(said.get("endless")?.length ?? 0).toBeLessThanOrEqual(after.steps - steps)
      expect(said.get("short")).toHaveLength(24)
    })
  )

  it.scoped("refuses a prompt that the context has no room for", () =>
    Effect.gen(function* () {
      const client = yield* ChatWorker
      const prompt = yield* encode(client, "x".repeat(512))
      expect(yield* Effect.flip(client.Submit(sequence("long", prompt)))).toBeInstanceOf(ContextLengthExceeded)
    })
  )
})
