/** A tenant that takes all places with long streams, and one that comes later: on a server as a user starts it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { writeTinyChatModel } from "@helixflow/runtime/TestModels"
import { Effect } from "effect"
import { afterAll } from "vitest"
import { asked, helixflow, type Started, startServer } from "./Program.ts"

const models = mkdtempSync(join(tmpdir(), "helix-preemption-"))
writeTinyChatModel(join(models, "helix-demo"), { max_position_embeddings: 4096 })
writeFileSync(join(models, "helix-demo", "helixflow.json"), JSON.stringify({ slots: 3 }))
afterAll(() => rmSync(models, { recursive: true, force: true }))

/** A key, which is a tenant. */
const keyOf = (server: Started, name: string) =>
  Effect.map(asked(server, "/admin/v1/keys", { method: "POST", body: JSON.stringify({ name }) }), ({ text }) => {
    const { key } = JSON.parse(text)
    return String(key)
  })

interface Said {
  readonly text: string
  readonly logprobs: ReadonlyArray<number>
  readonly usage: unknown
}

/** What a completion says in all, streamed or not. */
const complete = (server: Started, key: string, body: object): Effect.Effect<Said> =>
  Effect.promise(async () => {
    const response = await fetch(`${server.url}/v1/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ model: "helix-demo", ignore_eos: true, ...body })
    })
    const whole = await response.text()
    assert.strictEqual(response.status, 200, whole)
    const parts = "stream" in body ? [...whole.matchAll(/^data: (\{.*)$/gm)].map(([, data = ""]) => data) : [whole]
    assert.notInclude(whole, `"error"`)
    const chunks = parts.map((data) => JSON.parse(data))
    return {
      text: chunks.map(({ choices: [choice] }) => choice?.text ?? "").join(""),
      logprobs: chunks.flatMap(({ choices: [choice] }) => choice?.logprobs?.token_logprobs ?? []),
      usage: chunks.at(-1)?.usage
    }
  })

const prompt = (n: number) => Array.from({ length: 40 }, (_, i) => 100 + ((n * 7 + i) % 50))

const long = { max_tokens: 3_000 }
const streamed = { stream: true, stream_options: { include_usage: true } }
const floods = [
  { prompt: prompt(1), temperature: 0, ...long, ...streamed },
  { prompt: prompt(2), temperature: 1, seed: 7, logprobs: 1, ...long, ...streamed },
  { prompt: prompt(3), temperature: 1, seed: 9, ...long },
  // waits for a place from the start
  { prompt: prompt(4), temperature: 0, ...long, max_tokens: 300, ...streamed }
]

describe("a tenant that takes all places with long streams", () => {
  it.scopedLive(
    "makes way for another at once, and its streams are the very ones that they would have been",
    () =>
      Effect.gen(function* () {
        const server = yield* startServer({ HELIX_MODELS_DIR: models, HELIX_PREEMPT_AFTER: "150ms" })
        const calm = yield* keyOf(server, "calm")
        const undisturbed = yield* Effect.forEach(floods, (body) => complete(server, calm, body))

        const flood = yield* keyOf(server, "flood")
        let ended = 0
        const flooded = yield* Effect.fork(
          Effect.forEach(
            floods,
            (body, n) =>
              Effect.delay(
                Effect.tap(complete(server, flood, body), () => void ended++),
                n * 20
              ),
            { concurrency: "unbounded" }
          )
        )
        yield* Effect.sleep("400 millis")
        const trickle = yield* keyOf(server, "trickle")
        for (const n of [5, 6]) {
          yield* complete(server, trickle, { prompt: prompt(n), max_tokens: 5 })
          assert.strictEqual(ended, 0, "a stream of the flood has ended before: it was no longer full")
          yield* Effect.sleep("200 millis")
        }
        const disturbed = yield* flooded
        const without = ({ logprobs: _, ...said }: Said) => said
        assert.deepStrictEqual(disturbed.map(without), undisturbed.map(without))
        for (const [n, { logprobs }] of disturbed.entries()) {
          const wanted = undisturbed[n]?.logprobs ?? []
          assert.strictEqual(logprobs.length, wanted.length)
          // the last digits depend on what is computed beside them
          for (const [at, value] of logprobs.entries()) assert.approximately(value, wanted[at] ?? 0, 0.001)
        }

        const metrics = (yield* asked(server, "/metrics")).text
        const preempted = Number(
          /^helixflow_preemptions_total\{[^}]*model="helix-demo"[^}]*\} (\d+)/m.exec(metrics)?.[1]
        )
        assert.isAtLeast(preempted, 2)
        assert.notMatch(metrics, /^helixflow_continuations_total\{.*\} [1-9]/m)
        const log = join(server.dataDir, "decisions.jsonl")
        yield* Effect.repeat(
          Effect.sync(() => readFileSync(log, "utf8").split(`"Completed"`).length),
          { until: (parts) => parts > floods.length * 2 + 2 + preempted }
        )
        const { stdout } = yield* helixflow(["replay", log, "--preempt-after", "off", "--json"])
        const { other, recorded } = JSON.parse(stdout)
        assert.strictEqual(recorded.requests, floods.length * 2 + 2)
        assert.isAtLeast(recorded.preemptions, 2)
        assert.strictEqual(other.preemptions, 0)
        assert.isAbove(other.wait_mean_ms, recorded.wait_mean_ms)
      }).pipe(Effect.provide(NodeContext.layer)),
    120_000
  )
})
