/** Answers that are held to a grammar, of a started server and its bundled model, whose workers are killed in the middle of them. */
import { fileURLToPath } from "node:url"
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it, vi } from "@effect/vitest"
import { Effect } from "effect"
import type OpenAI from "openai"
import { startServer } from "./Program.ts"
import { openai, request, Target } from "./Target.ts"
import { killWorkers } from "./Workers.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const key = "hx-a-key-of-the-suite"
const models = fileURLToPath(new URL("../../runtime/models", import.meta.url))

type Params = OpenAI.Chat.Completions.ChatCompletionCreateParamsStreaming

const place = {
  type: "object",
  properties: {
    city: { type: "string", minLength: 12, maxLength: 24 },
    sights: { type: "array", items: { type: "string", minLength: 4, maxLength: 12 }, minItems: 3, maxItems: 5 },
    visited: { type: ["boolean", "null"] },
    kind: { enum: ["town", "village"] }
  },
  required: ["city", "sights", "visited", "kind"],
  additionalProperties: false
}
const isPlace = (text: string) => {
  const { city, kind, sights, visited, ...others } = JSON.parse(text)
  assert.isTrue(typeof city === "string" && [...city].length >= 12 && [...city].length <= 24, text)
  assert.isTrue(Array.isArray(sights) && sights.length >= 3 && sights.length <= 5, text)
  assert.include(["town", "village"], kind)
  assert.include([true, false, null], visited)
  assert.deepStrictEqual(others, {})
}

const tool = (name: string, parameters: Record<string, unknown>, strict = true) => ({
  type: "function" as const,
  function: { name, description: `Look for ${name}`, parameters, strict }
})
const city = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false
}
const base: Params = {
  model: "helix-demo",
  messages: [{ role: "user", content: "What is the weather in Paris?" }],
  stream: true,
  // so that there is a chunk for each token, also of calls
  logprobs: true
}
const json: Params["response_format"] = {
  type: "json_schema",
  json_schema: { name: "place", schema: place, strict: true }
}
const kinds: Readonly<Record<string, Params>> = {
  "greedy JSON": { ...base, response_format: json, temperature: 0 },
  "JSON of two choices": { ...base, response_format: json, temperature: 1, seed: 3, n: 2 },
  "a named call": {
    ...base,
    tools: [tool("find_place", place), tool("get_weather", city)],
    tool_choice: { type: "function", function: { name: "find_place" } },
    temperature: 0.8,
    seed: 5
  },
  "a required call": {
    ...base,
    tools: [tool("find_place", place)],
    tool_choice: "required",
    parallel_tool_calls: false,
    temperature: 0
  },
  "a call of the model's own": { ...base, tools: [tool("get_weather", city)], temperature: 0 }
}

interface Answer {
  content: string
  finish: string | null
  readonly calls: Array<{ readonly index: number; readonly name: string; readonly text: string }>
}

/** `onChunk` is given how many chunks with a token there have been. */
const answersOf = (client: OpenAI, params: Params, onChunk: (chunks: number) => void = () => {}) =>
  Effect.promise(async () => {
    const answers: Array<Answer> = Array.from({ length: params.n ?? 1 }, () => ({
      content: "",
      finish: null,
      calls: []
    }))
    let chunks = 0
    for await (const chunk of await client.chat.completions.create(params)) {
      for (const { delta, finish_reason, index, logprobs } of chunk.choices) {
        const answer = answers[index]
        if (answer === undefined) continue
        answer.content += delta.content ?? ""
        answer.finish = finish_reason ?? answer.finish
        for (const { function: call, index: place } of delta.tool_calls ?? []) {
          answer.calls.push({ index: place, name: call?.name ?? "", text: call?.arguments ?? "" })
        }
        if (logprobs?.content?.length) onChunk(++chunks)
      }
    }
    return answers
  })

describe("workers that are killed", () => {
  it.scopedLive("in the middle of JSON and of calls change nothing in them", () =>
    Effect.gen(function* () {
      const server = yield* startServer({ HELIX_BOOTSTRAP_KEY: key, HELIX_MODELS_DIR: models })
      yield* Effect.gen(function* () {
        const client = (yield* openai).withOptions({ timeout: 110_000 })
        const undisturbed = yield* Effect.forEach(Object.values(kinds), (params) => answersOf(client, params))
        for (const answers of undisturbed.slice(0, 2)) {
          for (const { content, finish } of answers) {
            isPlace(content)
            assert.strictEqual(finish, "stop")
          }
        }
        for (const [answer] of undisturbed.slice(2)) {
          // each call is one delta, whole
          assert.strictEqual(answer?.calls.length, 1)
          assert.strictEqual(answer?.content, "")
          assert.strictEqual(answer?.finish, "tool_calls")
        }
        isPlace(undisturbed[2]?.[0]?.calls[0]?.text ?? "")
        isPlace(undisturbed[3]?.[0]?.calls[0]?.text ?? "")
        assert.deepStrictEqual(undisturbed[4]?.[0]?.calls, [
          { index: 0, name: "get_weather", text: '{"city":"Paris"}' }
        ])

        // when all of them have begun and none has ended; twice, if by then the next worker is there
        const chunks = Object.keys(kinds).map(() => 0)
        const ended = Object.keys(kinds).map(() => false)
        const moments = [4, 8]
        let kills = 0
        const disturbed = yield* Effect.forEach(
          Object.values(kinds),
          (params, kind) =>
            answersOf(client, params, (count) => {
              chunks[kind] = count
              const moment = moments[0]
              if (moment === undefined || Math.min(...chunks) < moment || ended.includes(true)) return
              if (killWorkers(server.pid) === 0) return
              moments.shift()
              kills += 1
            }).pipe(
              Effect.tap(() =>
                Effect.sync(() => {
                  ended[kind] = true
                })
              )
            ),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(disturbed, undisturbed)
        assert.isAbove(kills, 0)
        const { text } = yield* request("/metrics")
        const continued = /helixflow_continuations_total\{[^}]*model="helix-demo"[^}]*\} (\d+)/.exec(text)?.[1]
        assert.isAtLeast(Number(continued), Object.keys(kinds).length)
      }).pipe(
        Effect.provideService(
          Target,
          Target.of({ url: server.url, key, chatModel: "helix-demo", embeddingModel: "helix-demo-embed" })
        )
      )
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("apart, JSON is cut where the tokens end", () =>
    Effect.gen(function* () {
      const server = yield* startServer({ HELIX_BOOTSTRAP_KEY: key, HELIX_MODELS_DIR: models })
      yield* Effect.gen(function* () {
        const client = yield* openai
        const [cut] = yield* answersOf(client, { ...base, response_format: json, temperature: 0, max_tokens: 6 })
        assert.strictEqual(cut?.finish, "length")
        assert.match(cut?.content ?? "", /^\{"city": ?"/)
        const [any] = yield* answersOf(client, {
          ...base,
          response_format: { type: "json_object" },
          temperature: 1,
          seed: 1,
          max_tokens: 400
        })
        if (any?.finish === "stop") assert.isTrue(JSON.parse(any.content) instanceof Object)
        else assert.strictEqual(any?.content.slice(0, 1), "{")
      }).pipe(
        Effect.provideService(
          Target,
          Target.of({ url: server.url, key, chatModel: "helix-demo", embeddingModel: "helix-demo-embed" })
        )
      )
    }).pipe(Effect.provide(NodeContext.layer))
  )
})
