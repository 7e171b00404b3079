/** Requests that kill every worker they are in, as their clients and everybody else's see it: over HTTP, on real workers. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Runtime } from "@helixflow/runtime/Runtime"
import { Attribute } from "@helixflow/runtime/Telemetry"
import { writeTinyChatModel } from "@helixflow/runtime/TestModels"
import * as WorkerEntry from "@helixflow/runtime/WorkerEntry"
import { ConfigProvider, Effect, Layer, Logger } from "effect"
import { afterAll, vi } from "vitest"
import { compiled } from "../../runtime/test/compiled.ts"
import { poison, swiftPoison } from "../../runtime/test/poison.ts"
import { recordingTracer } from "./RecordingTracer.ts"
import * as StubGateway from "./StubGateway.ts"
import { request } from "./Target.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const folder = mkdtempSync(join(tmpdir(), "helix-poisoned-"))
const model = join(folder, "models", "helix-demo")
writeTinyChatModel(model)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const { tracer, ended } = recordingTracer()

const worker = await compiled("./poisonWorker.ts")

/** A gateway on workers that die of the poison. */
const poisonable = (name: string, variables: Readonly<Record<string, string>> = {}) => {
  const runtime = Runtime.layer.pipe(
    Layer.provide(Layer.succeed(WorkerEntry.WorkerProgram, worker)),
    Layer.provide(
      Layer.setConfigProvider(
        ConfigProvider.fromMap(
          new Map(
            Object.entries({
              HELIX_MODELS_DIR: join(folder, "models"),
              HELIX_DATA_DIR: join(folder, name),
              HELIX_DECISION_LOG: "off",
              ...variables
            })
          ),
          { pathDelim: "_" }
        )
      )
    ),
    Layer.provide(Logger.remove(Logger.defaultLogger)),
    Layer.orDie
  )
  return StubGateway.layer({}, {}, { runtime }).pipe(Layer.provide(Layer.setTracer(tracer)), Layer.fresh)
}

/** A completion of this prompt, whose text is long enough to be there when workers die. */
const complete = (prompt: ReadonlyArray<number>, more: object = {}) =>
  request("/v1/completions", {
    json: { model: "helix-demo", prompt, max_tokens: 150, ignore_eos: true, temperature: 1, seed: 3, ...more }
  })

const prompt = (n: number) => Array.from({ length: 12 }, (_, i) => 100 + ((n * 7 + i) % 50))
const poisoned = (n: number) => [...prompt(20 + n), poison]

const textOf = ({ status, text }: { readonly status: number; readonly text: string }): string => {
  assert.strictEqual(status, 200, text)
  return JSON.parse(text).choices[0].text
}
const errorOf = ({ text }: { readonly text: string }) => JSON.parse(text).error

const innocents = Effect.forEach([0, 1, 2, 3], (n) => Effect.map(complete(prompt(n)), textOf), {
  concurrency: "unbounded"
})

const pids = Effect.map(
  Effect.flatMap(Runtime, ({ fleet }) => fleet),
  ({ replicas }) => replicas.map(({ pid }) => pid)
)

/** Of all series of a counter, or of a histogram's count. */
const metric = (name: string) =>
  Effect.map(request("/metrics"), ({ text }) =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].reduce(
      (sum, [, value]) => sum + Number(value),
      0
    )
  )

layer(poisonable("roomy"), { timeout: 120_000, excludeTestServices: true })(
  "requests that kill their workers",
  (it) => {
    it.effect("fail alone, each by itself; the streams of others are whole; sent again they are refused at once", () =>
      Effect.gen(function* () {
        const undisturbed = yield* innocents
        const [answers, refusals, streamed] = yield* Effect.all(
          [
            innocents,
            Effect.forEach([0, 1, 2], (n) => complete(poisoned(n)), { concurrency: "unbounded" }),
            complete(poisoned(3), { stream: true })
          ],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(answers, undisturbed)
        for (const refusal of refusals) {
          assert.strictEqual(refusal.status, 500)
          assert.deepInclude(errorOf(refusal), { code: "request_quarantined", type: "server_error" })
          assert.isAbove(Number(refusal.headers.get("retry-after")), 500)
        }
        // its stream had begun
        assert.strictEqual(streamed.status, 200)
        assert.include(streamed.text, `"code":"request_quarantined"`)

        const before = yield* pids
        for (const n of [0, 1, 2]) assert.strictEqual(errorOf(yield* complete(poisoned(n))).code, "request_quarantined")
        // the seed makes no other request of it
        assert.strictEqual((yield* complete(poisoned(0), { seed: 4, stream: true })).status, 500)
        assert.deepStrictEqual(yield* pids, before)
        assert.deepStrictEqual(yield* innocents, undisturbed)
      })
    )

    it.effect("are counted, as are the continuations of others, and told in their spans", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* metric("helixflow_quarantined_total"), 4)
        assert.isAbove(yield* metric("helixflow_continuations_total"), 4)
        assert.isAbove(yield* metric("helixflow_continuation_duration_seconds_count"), 0)
        const continued = ended.filter((attributes) => attributes.has(Attribute.attempt))
        assert.isTrue(continued.every((attributes) => attributes.get(Attribute.responseModel) === "helix-demo"))
        assert.isTrue(continued.every((attributes) => Number(attributes.get(Attribute.attempt)) > 0))
        // some went on after tokens that they had, and the suspects were tried alone
        assert.isTrue(continued.some((attributes) => Number(attributes.get(Attribute.continuedFrom)) > 0))
        assert.isTrue(continued.some((attributes) => attributes.get(Attribute.alone) === true))
        assert.isTrue(continued.some((attributes) => attributes.get(Attribute.alone) === false))
      })
    )
  }
)

layer(poisonable("impatient", { HELIX_CONTINUATION_ATTEMPTS: "2" }), { timeout: 120_000, excludeTestServices: true })(
  "a request whose attempts are used up",
  (it) => {
    it.effect("fails with how many there were, and the server goes on", () =>
      Effect.gen(function* () {
        const refusal = yield* complete([...prompt(9), swiftPoison])
        assert.strictEqual(refusal.status, 500)
        const error = errorOf(refusal)
        assert.strictEqual(error.code, "attempts_exhausted")
        assert.match(error.message, /2 attempts/)
        assert.isNotEmpty(textOf(yield* complete(prompt(0))))
      })
    )
  }
)

/** What the model takes, and a device that has room for one of it and not for another. */
const crowded = () => {
  writeFileSync(join(model, "helixflow.json"), JSON.stringify({ memory: "200MiB", slots: 4, prefixCache: 0 }))
  return poisonable("crowded", { HELIX_DEVICES: "cpu:0=300MiB" })
}

layer(Layer.suspend(crowded), { timeout: 120_000, excludeTestServices: true })(
  "requests that kill their workers where there is no room for a worker of their own",
  (it) => {
    it.effect("fail all the same, one at a time, and others do not", () =>
      Effect.gen(function* () {
        const undisturbed = yield* innocents
        const [answers, refusals] = yield* Effect.all(
          [innocents, Effect.forEach([0, 1], (n) => complete(poisoned(n)), { concurrency: "unbounded" })],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(answers, undisturbed)
        for (const refusal of refusals) assert.strictEqual(errorOf(refusal).code, "request_quarantined")
      })
    )
  }
)
