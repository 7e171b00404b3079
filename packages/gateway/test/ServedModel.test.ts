/** The whole of it, started as a user starts it: server, actors, worker processes and a model behind OpenAI's API. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, describe, expect, it, layer, vi } from "@effect/vitest"
import { writeTinyChatModel } from "@helixflow/runtime/TestModels"
import { Effect, Layer, Schedule } from "effect"
import type OpenAI from "openai"
import { malformedSuite } from "./MalformedSuite.ts"
import { openAiSuite } from "./OpenAiSuite.ts"
import { type Started, startServer } from "./Program.ts"
import { openai, request, Target } from "./Target.ts"
import { isAlive, killWorkers, workersOf } from "./Workers.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const key = "hx-a-key-of-the-suite"

const target = (server: Started) =>
  Target.of({ url: server.url, key, chatModel: "helix-demo", embeddingModel: "helix-demo-embed" })

const served = Layer.scoped(Target, Effect.map(startServer({ HELIX_BOOTSTRAP_KEY: key }), target)).pipe(
  Layer.provide(NodeContext.layer)
)

openAiSuite("unmodified clients and a served model", served)
malformedSuite("a served model", served)

type Params = OpenAI.Chat.Completions.ChatCompletionCreateParamsNonStreaming

const plain = (client: OpenAI, params: Params) =>
  Effect.map(
    Effect.promise(() => client.chat.completions.create(params)),
    ({ choices }) => choices[0]?.message.content ?? ""
  )

/** `onChunk` is given how many chunks there have been. */
const streamed = (client: OpenAI, params: Params, onChunk: (chunks: number) => void = () => {}) =>
  Effect.promise(async () => {
    const stream = await client.chat.completions.create({ ...params, stream: true })
    let text = ""
    let chunks = 0
    for await (const { choices } of stream) {
      text += choices[0]?.delta.content ?? ""
      onChunk(++chunks)
    }
    return text
  })

const prompts = Array.from({ length: 16 }, (_, n) => `Question ${n}: ${"why is that so ".repeat(1 + (n % 7))}?`)

layer(served, { timeout: 120_000, excludeTestServices: true })("an answer", (it) => {
  for (const [how, sampling] of [
    ["greedy", { temperature: 0 }],
    ["seeded", { temperature: 1, top_p: 0.9, seed: 7 }]
  ] as const) {
    it.effect(`is the same alone, in a batch of 16, streamed and plain: ${how}`, () =>
      Effect.gen(function* () {
        const client = yield* openai
        const params = (content: string): Params => ({
          model: "helix-demo",
          messages: [{ role: "user", content }],
          max_tokens: 24,
          ...sampling
        })
        const alone = yield* Effect.forEach(prompts, (prompt) => plain(client, params(prompt)))
        const batched = yield* Effect.forEach(
          prompts,
          (prompt, n) => (n % 2 === 0 ? plain : streamed)(client, params(prompt)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(batched, alone)
        assert.isAbove(new Set(alone).size, 1)
      })
    )
  }

  it.effect("says how much of its prompt was known already", () =>
    Effect.gen(function* () {
      const client = yield* openai
      const params: Params = {
        model: "helix-demo",
        messages: [{ role: "user", content: "Nobody has asked this. ".repeat(8) }],
        max_tokens: 2
      }
      const usage = Effect.map(
        Effect.promise(() => client.chat.completions.create(params)),
        (completion) => completion.usage
      )
      const cached = (yield* usage)?.prompt_tokens_details?.cached_tokens
      const again = yield* usage
      assert.isBelow(cached ?? 99, 16)
      assert.isAbove(again?.prompt_tokens_details?.cached_tokens ?? 0, 16)
      assert.isBelow(again?.prompt_tokens_details?.cached_tokens ?? 999, again?.prompt_tokens ?? 0)
      const echo = yield* Effect.promise(() =>
        client.completions.create({ model: "helix-demo", prompt: ["a", "b"], max_tokens: 1 })
      )
      assert.strictEqual(echo.usage?.prompt_tokens_details?.cached_tokens, 0)
      const metric = (name: string) =>
        Effect.map(request("/metrics"), ({ text }) =>
          Number(new RegExp(`^${name}\\{[^}]*model="helix-demo"[^}]*\\} (\\d+)`, "m").exec(text)?.[1] ?? 0)
        )
      const counted = yield* metric("helixflow_prompt_cached_tokens_total")
      assert.isAtLeast(counted, again?.prompt_tokens_details?.cached_tokens ?? 999)
      // told with the worker's next sign of life
      yield* metric("helixflow_prefix_cache_used_bytes").pipe(
        Effect.filterOrFail((bytes) => bytes > 0),
        Effect.retry(Schedule.spaced("50 millis").pipe(Schedule.upTo("10 seconds")))
      )
    })
  )
})

const ready = Effect.flatMap(request("/readyz"), ({ status, text }) =>
  status === 200 ? Effect.void : Effect.fail(new Error(text))
)

describe("a worker that is killed", () => {
  it.scopedLive("is restarted by its supervisor, while the server lives on", () =>
    Effect.gen(function* () {
      const server = yield* startServer({ HELIX_BOOTSTRAP_KEY: key })
      yield* Effect.gen(function* () {
        const client = yield* openai
        const params: Params = { model: "helix-demo", messages: [{ role: "user", content: "hi" }], max_tokens: 8 }
        for (let round = 0; round < 2; round++) {
          assert.isAbove(killWorkers(server.pid), 0)
          // not ready for as long as there is no worker, and ready again by itself
          yield* Effect.flip(ready).pipe(Effect.retry(Schedule.spaced("10 millis")), Effect.timeout("10 seconds"))
          yield* ready.pipe(Effect.retry(Schedule.spaced("50 millis")), Effect.timeout("10 seconds"))
          assert.isNotEmpty(yield* plain(client, { ...params, temperature: 0 }))
        }
        assert.isTrue(isAlive(server.pid))
      }).pipe(Effect.provideService(Target, target(server)))
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("costs its streams a pause: no error, no gap, no other text", () =>
    Effect.gen(function* () {
      const server = yield* startServer({ HELIX_BOOTSTRAP_KEY: key })
      yield* Effect.gen(function* () {
        const client = yield* openai
        const params = (content: string, sampling: Partial<Params>): Params => ({
          model: "helix-demo",
          messages: [{ role: "user", content }],
          max_tokens: 60,
          ...sampling
        })
        const requests = prompts
          .slice(0, 6)
          .map((prompt, n) => params(prompt, n % 2 === 0 ? { temperature: 0 } : { temperature: 1, seed: n }))
        // without an end the texts are long enough to be interrupted
        const endless = requests.map((request) => ({ ...request, ignore_eos: true }))
        const undisturbed = yield* Effect.forEach(endless, (request) => plain(client, request))
        let killed = 0
        const disturbed = yield* Effect.forEach(
          endless,
          (request, n) =>
            streamed(client, request, (chunks) => {
              if (n === 0 && (chunks === 10 || chunks === 30)) killed += killWorkers(server.pid)
            }),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(disturbed, undisturbed)
        assert.isAbove(killed, 0)
      }).pipe(Effect.provideService(Target, target(server)))
    }).pipe(Effect.provide(NodeContext.layer))
  )
})

describe("workers that are killed", () => {
  it.scopedLive("are noticed by no kind of request", () =>
    Effect.gen(function* () {
      const server = yield* startServer({ HELIX_BOOTSTRAP_KEY: key })
      yield* Effect.gen(function* () {
        const client = (yield* openai).withOptions({ timeout: 110_000 })
        const chat = { model: "helix-demo", messages: [{ role: "user" as const, content: "Go on." }], max_tokens: 60 }
        const endless = { ...chat, ignore_eos: true, seed: 11, temperature: 1 }
        const letters = yield* plain(client, endless)
        const pieces = { ...endless, logprobs: true, top_logprobs: 2 }
        const ask = <A>(request: () => Promise<A>) => Effect.promise(request)
        const kinds = [
          ask(async () => {
            const { choices, usage } = await client.chat.completions.create({ ...pieces, n: 3 })
            return { choices, usage: usage?.completion_tokens }
          }),
          // begins to match again and again, and matches near the end
          ask(async () => {
            const stop = [`${letters.slice(0, 3)}\u0000`, letters.slice(-12, -6)]
            return (await client.chat.completions.create({ ...endless, stop })).choices
          }),
          ask(async () => {
            const answer = await client.completions.create({
              model: "helix-demo",
              prompt: ["One", "Two"],
              max_tokens: 40,
              best_of: 3,
              logprobs: 2,
              seed: 5
            })
            return answer.choices
          }),
          ask(async () => {
            const input = Array.from({ length: 120 }, (_, n) => `${n} ${"long text ".repeat(1 + (n % 12))}`)
            return (await client.embeddings.create({ model: "helix-demo-embed", input })).data
          }),
          streamed(client, pieces),
          ask(async () => {
            const chunks = await client.completions.create({
              ...{ model: "helix-demo", prompt: "Once", max_tokens: 120, temperature: 1, seed: 9, logprobs: 1 },
              ...{ ignore_eos: true, echo: true },
              stream: true
            })
            const said: Array<unknown> = []
            for await (const { choices } of chunks) said.push(...choices)
            return said
          })
        ] as const
        const undisturbed = yield* Effect.all(kinds)
        let killed = 0
        const disturbing = streamed(client, { ...endless, max_tokens: 300 }, (chunks) => {
          if (chunks === 5 || chunks === 60) killed += killWorkers(server.pid)
        })
        const [disturbed] = yield* Effect.all([Effect.all(kinds, { concurrency: "unbounded" }), disturbing], {
          concurrency: "unbounded"
        })
        // in single precision the last bits of log probabilities may differ
        const nearly = (value: unknown) =>
          JSON.parse(JSON.stringify(value), (_, part) => (typeof part === "number" ? expect.closeTo(part, 3) : part))
        expect(disturbed).toEqual(nearly(undisturbed))
        assert.isAbove(killed, 1)
        const { text } = yield* request("/metrics")
        assert.match(text, /helixflow_continuations_total\{[^}]*model="helix-demo"[^}]*\} [1-9]/)
      }).pipe(Effect.provideService(Target, target(server)))
    }).pipe(Effect.provide(NodeContext.layer))
  )
})

describe("a worker that is frozen", () => {
  it.scopedLive("has its embeddings computed by another", () =>
    Effect.gen(function* () {
      const server = yield* startServer({ HELIX_BOOTSTRAP_KEY: key, HELIX_FREEZE_TIMEOUT: "1s" })
      yield* Effect.gen(function* () {
        const client = yield* openai
        const embed = Effect.promise(() =>
          client.embeddings.create({ model: "helix-demo-embed", input: ["one", "two"], encoding_format: "float" })
        )
        const { data } = yield* embed
        for (const pid of workersOf(server.pid)) process.kill(pid, "SIGSTOP")
        const again = yield* embed.pipe(Effect.timeout("20 seconds"))
        assert.deepStrictEqual(again.data, data)
        const { text } = yield* request("/metrics")
        assert.match(text, /helixflow_continuations_total\{[^}]*model="helix-demo-embed"[^}]*\} [1-9]/)
      }).pipe(Effect.provideService(Target, target(server)))
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("is killed within seconds, and its streams continue", () =>
    Effect.gen(function* () {
      const server = yield* startServer({ HELIX_BOOTSTRAP_KEY: key, HELIX_FREEZE_TIMEOUT: "1s" })
      yield* Effect.gen(function* () {
        const client = yield* openai
        const params: Params = { model: "helix-demo", messages: [{ role: "user", content: "hi" }], max_tokens: 60 }
        const endless = { ...params, temperature: 0, ignore_eos: true }
        const undisturbed = yield* plain(client, endless)
        const [frozen] = workersOf(server.pid)
        const disturbed = yield* streamed(client, endless, (chunks) => {
          if (chunks === 10 && frozen !== undefined) process.kill(frozen, "SIGSTOP")
        }).pipe(Effect.timeout("15 seconds"))
        assert.strictEqual(disturbed, undisturbed)
        assert.notInclude(workersOf(server.pid), frozen)
        // nobody asks the next one for anything
        const idle = workersOf(server.pid)
        for (const pid of idle) process.kill(pid, "SIGSTOP")
        yield* Effect.sync(() => workersOf(server.pid).filter((pid) => idle.includes(pid))).pipe(
          Effect.repeat({ until: (left) => left.length === 0, schedule: Schedule.spaced("50 millis") }),
          Effect.timeout("10 seconds")
        )
      }).pipe(Effect.provideService(Target, target(server)))
    }).pipe(Effect.provide(NodeContext.layer))
  )
})

describe("a worker that is frozen when its server is killed", () => {
  it.scopedLive("is killed by the next server that starts", () =>
    Effect.gen(function* () {
      const server = yield* startServer({ HELIX_BOOTSTRAP_KEY: key, HELIX_FREEZE_TIMEOUT: "1h" })
      const orphans = workersOf(server.pid)
      assert.isNotEmpty(orphans)
      for (const pid of orphans) process.kill(pid, "SIGSTOP")
      // its output stays open, since its workers have it too: its end is seen by its pid alone
      process.kill(server.pid, "SIGKILL")
      yield* Effect.sync(() => isAlive(server.pid)).pipe(
        Effect.repeat({ while: (alive) => alive, schedule: Schedule.spaced("20 millis") }),
        Effect.timeout("10 seconds")
      )
      assert.deepStrictEqual(orphans.filter(isAlive), [...orphans])
      yield* startServer({ HELIX_BOOTSTRAP_KEY: key, HELIX_DATA_DIR: server.dataDir })
      assert.deepStrictEqual(orphans.filter(isAlive), [])
    }).pipe(Effect.provide(NodeContext.layer))
  )
})

describe("a client that hangs up", () => {
  it.scopedLive("frees its slot", () =>
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const models = yield* Effect.orDie(files.makeTempDirectoryScoped({ prefix: "helixflow-models-" }))
      const folder = join(models, "helix-demo")
      // one slot, and an answer that takes longer than anybody waits
      writeTinyChatModel(folder, { max_position_embeddings: 200_000 })
      writeFileSync(join(folder, "helixflow.json"), JSON.stringify({ slots: 1, context: 200_000 }))
      const server = yield* startServer({ HELIX_BOOTSTRAP_KEY: key, HELIX_MODELS_DIR: models })
      yield* Effect.gen(function* () {
        const client = yield* openai
        const params: Params = { model: "helix-demo", messages: [{ role: "user", content: "hi" }] }
        const endless = { ...params, stream: true as const, ignore_eos: true }
        for (let round = 0; round < 3; round++) {
          yield* Effect.promise(async () => {
            for await (const _ of await client.chat.completions.create(endless)) break
          })
        }
        assert.isNotEmpty(yield* plain(client, { ...params, max_tokens: 4, temperature: 0 }))
      }).pipe(Effect.provideService(Target, target(server)))
    }).pipe(Effect.provide(NodeContext.layer))
  )
})

describe("a server that is told to stop", () => {
  it.scopedLive("lets the streams that have begun end first", () =>
    Effect.gen(function* () {
      const server = yield* startServer({ HELIX_BOOTSTRAP_KEY: key })
      yield* Effect.gen(function* () {
        const client = yield* openai
        const params: Params = {
          model: "helix-demo",
          messages: [{ role: "user", content: "hi" }],
          max_tokens: 40,
          temperature: 0,
          ...{ ignore_eos: true }
        }
        const whole = yield* plain(client, params)
        const text = yield* streamed(client, params, (chunks) => {
          if (chunks === 2) process.kill(server.pid, "SIGTERM")
        })
        assert.strictEqual(text, whole)
        assert.strictEqual(yield* server.ended, 0)
      }).pipe(Effect.provideService(Target, target(server)))
    }).pipe(Effect.provide(NodeContext.layer))
  )
})

describe("a server that is killed", () => {
  it.scopedLive("leaves no worker behind", () =>
    Effect.gen(function* () {
      const server = yield* startServer({ HELIX_BOOTSTRAP_KEY: key })
      const workers = workersOf(server.pid).filter((pid) => isAlive(pid))
      assert.isNotEmpty(workers)
      yield* server.stop("SIGKILL")
      yield* Effect.suspend(() => (workers.some((pid) => isAlive(pid)) ? Effect.fail("alive") : Effect.void)).pipe(
        Effect.retry(Schedule.spaced("50 millis")),
        Effect.timeout("10 seconds")
      )
    }).pipe(Effect.provide(NodeContext.layer))
  )
})
