import * as path from "node:path"
import { expect, layer } from "@effect/vitest"
import { ContextLengthExceeded, EngineFailed, InvalidRequest } from "@helixflow/schema/Errors"
import { DeviceId, ModelId, makeReplicaId, RequestId, TokenId } from "@helixflow/schema/Ids"
import { Context, Effect, Fiber, Layer, Schedule } from "effect"
import { vi } from "vitest"
import { PROCESSOR } from "../src/ExecutionProvider.ts"
import { wordShareWeights, writeTinyClassifierModel } from "../src/TestClassifiers.ts"
import * as WorkerProcess from "../src/WorkerProcess.ts"
import { pair } from "./classifierSuite.ts"
import { compiled } from "./compiled.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

// processes are started from source, which takes seconds on a busy machine
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const root = temporaryFolder()
writeTinyClassifierModel(path.join(root, "reranker"), { weights: wordShareWeights("fox") })

const spawn = WorkerProcess.spawn({
  replica: makeReplicaId(DeviceId.make("local/cpu:0"), ModelId.make("tiny"), 0),
  entry: await compiled(),
  socketDir: root,
  records: path.join(root, "workers"),
  liveness: { freezeMillis: 20_000, stepMillis: 20_000 }
})

class Reranker extends Context.Tag("Reranker")<Reranker, Effect.Effect.Success<typeof spawn>["client"]>() {
  static readonly layer = Layer.scoped(
    this,
    Effect.tap(
      Effect.map(spawn, ({ client }) => client),
      (client) =>
        client.Load({
          model: ModelId.make("reranker"),
          path: path.join(root, "reranker"),
          task: "classification",
          context: 512,
          slots: 16,
          device: PROCESSOR,
          threads: 1,
          engine: "auto"
        })
    )
  )
}

layer(Reranker.layer, { excludeTestServices: true })("a worker process with a cross-encoder", (it) => {
  it.effect("scores the pairs of many requests at once, without anybody listening to events", () =>
    Effect.gen(function* () {
      const client = yield* Reranker
      const documents = (count: number) =>
        Array.from({ length: count }, (_, index) => `dog ${"fox ".repeat(index % 9)}`)
      const classify = (count: number) =>
        client.Classify({
          request: RequestId.make(`r${count}`),
          inputs: documents(count).map((document) => pair("fox", document))
        })
      const [few, many] = yield* Effect.all([classify(5), classify(60)], { concurrency: 2 })
      expect(few.scores).toHaveLength(5)
      expect(many.scores).toHaveLength(60)
      const flat = few.scores.map(([score = 0]) => score)
      expect(flat).toEqual([...flat].sort((a, b) => a - b))
      expect(new Set(flat).size).toBe(5)
      for (const [index, score] of flat.entries()) expect(many.scores[index]?.[0]).toBeCloseTo(score, 5)
      expect(few.promptTokens).toBe(5 * 5 + (0 + 1 + 2 + 3 + 4))
    })
  )

  it.effect("says which input it can't read", () =>
    Effect.gen(function* () {
      const client = yield* Reranker
      const refusal = (...inputs: Parameters<typeof client.Classify>[0]["inputs"]) =>
        Effect.flip(client.Classify({ request: RequestId.make("bad"), inputs }))
      const long = yield* refusal(pair("fox", "dog"), pair("fox", "dog ".repeat(130)))
      expect(long).toBeInstanceOf(ContextLengthExceeded)
      expect(long).toMatchObject({ context: 128, param: "inputs[1]" })
      const unknown = yield* refusal({ _tag: "Tokens", tokens: [TokenId.make(9999)] })
      expect(unknown).toBeInstanceOf(InvalidRequest)
      expect(unknown).toMatchObject({ param: "inputs[0]" })
    })
  )

  it.effect("does nothing else", () =>
    Effect.gen(function* () {
      const client = yield* Reranker
      const embedded = client.Embed({ request: RequestId.make("e"), inputs: [[TokenId.make(5)]] })
      expect(yield* Effect.flip(embedded)).toBeInstanceOf(EngineFailed)
    })
  )

  it.effect("forgets what nobody waits for any more", () =>
    Effect.gen(function* () {
      const client = yield* Reranker
      const inputs = Array.from({ length: 2000 }, () => pair("fox ".repeat(20), "dog ".repeat(40)))
      const asked = yield* Effect.fork(client.Classify({ request: RequestId.make("left"), inputs }))
      const active = Effect.map(client.Health(), (health) => health.active)
      const until = (done: (active: number) => boolean) =>
        Effect.repeat(active, { until: done, schedule: Schedule.spaced("5 millis") })
      yield* until((count) => count > 0)
      yield* Fiber.interrupt(asked)
      yield* until((count) => count === 0)
      const { steps } = yield* client.Health()
      // a step has 16 of them at most
      expect(steps).toBeLessThan(2000 / 16)
    })
  )
})
