import { once } from "node:events"
import * as Http from "node:http"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Ref, Schedule } from "effect"
import OpenAI from "openai"
import { drained } from "../src/EventStream.ts"
import { Misfortune, StubSlots } from "../src/StubRuntime.ts"
import { listening } from "./listening.ts"
import { connect, post } from "./RawClient.ts"
import * as StubGateway from "./StubGateway.ts"
import { openai, request, Target } from "./Target.ts"

const chat = (content: string, more: object = {}) => ({
  json: {
    model: "helix-demo",
    temperature: 0,
    max_tokens: 4,
    messages: [{ role: "user", content }],
    stream: true,
    ...more
  }
})

/** The JSON of all frames but the last, which is `[DONE]`; a frame is one `data:` line and an empty one. */
const frames = (text: string) => {
  assert.isTrue(text.endsWith("\n\n"))
  return text
    .slice(0, -2)
    .split("\n\n")
    .map((frame) => {
      assert.isTrue(frame.startsWith("data: "), frame)
      assert.notInclude(frame, "\n")
      return frame.slice("data: ".length)
    })
}

const until = <R>(count: Effect.Effect<number, never, R>, wanted: number) =>
  Effect.repeat(count, { until: (now) => now === wanted, schedule: Schedule.spaced("5 millis") })

const slots = Effect.flatMap(StubSlots, Ref.get)
const connections = Effect.flatten(StubGateway.Connections)

layer(StubGateway.layer(), { excludeTestServices: true })("A stream", (it) => {
  it.effect("is framed as OpenAI does, byte for byte", () =>
    Effect.gen(function* () {
      const { headers, status, text } = yield* request("/v1/chat/completions", chat("hi"))
      assert.strictEqual(status, 200)
      assert.strictEqual(headers.get("content-type"), "text/event-stream; charset=utf-8")
      assert.strictEqual(headers.get("cache-control"), "no-cache")
      assert.strictEqual(headers.get("x-accel-buffering"), "no")
      assert.isNotNull(headers.get("openai-processing-ms"))
      const [first = "{}"] = frames(text)
      const { id, created, system_fingerprint } = JSON.parse(first)
      const chunk = (choice: string) =>
        `data: {"id":"${id}","object":"chat.completion.chunk","created":${created},"model":"helix-demo",` +
        `"system_fingerprint":"${system_fingerprint}","choices":[{"index":0,${choice}}]}\n\n`
      const content = (word: string) => chunk(`"delta":{"content":"${word}"},"logprobs":null,"finish_reason":null`)
      assert.strictEqual(
        text,
        [
          chunk(`"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null`),
          content("— "),
          content("naïve "),
          content("日本 "),
          content("🙂 "),
          chunk(`"delta":{},"logprobs":null,"finish_reason":"length"`),
          "data: [DONE]\n\n"
        ].join("")
      )
    })
  )

  it.effect("says how it stands while it waits, in comments, only when it is asked for", () =>
    Effect.gen(function* () {
      const told = chat(Misfortune.waits, { stream_options: { include_progress: true } })
      const { text } = yield* request("/v1/chat/completions", told)
      const [queued, loading, ...rest] = text.split("\n\n")
      assert.strictEqual(queued, ": queued position=2 waiting=7 waited=0.1s")
      assert.strictEqual(loading, ": loading elapsed=0.2s usual=1.0s position=1 waiting=1 waited=1.1s expected=0.8s")
      assert.isTrue(rest.every((frame) => frame === "" || frame.startsWith("data: ")))
      // readers of event streams, OpenAI's clients among them, skip comments
      const client = yield* openai
      const body = {
        ...told.json,
        messages: [{ role: "user" as const, content: Misfortune.waits }],
        stream: true as const
      }
      const streamed = yield* Effect.promise(() => client.chat.completions.create(body))
      const first = yield* Effect.promise(() => streamed[Symbol.asyncIterator]().next())
      assert.strictEqual(first.value?.object, "chat.completion.chunk")
      const untold = yield* request("/v1/chat/completions", chat(Misfortune.waits))
      assert.notInclude(untold.text, "queued")
    })
  )

  it.effect("whose wait was told ends with an error that would else have been its status", () =>
    Effect.gen(function* () {
      const untold = yield* request("/v1/chat/completions", chat(Misfortune.starves))
      assert.strictEqual(untold.status, 503)
      const told = yield* request(
        "/v1/chat/completions",
        chat(Misfortune.starves, { stream_options: { include_progress: true } })
      )
      assert.strictEqual(told.status, 200)
      const [, , last] = told.text.split("\n\n")
      assert.strictEqual(JSON.parse(last?.slice("data: ".length) ?? "").error.code, "queue_timeout")
      assert.notInclude(told.text, "[DONE]")
    })
  )

  it.effect("has a usage chunk, and null in all others, only when it is asked for", () =>
    Effect.gen(function* () {
      const { text } = yield* request("/v1/chat/completions", chat("hi", { stream_options: { include_usage: true } }))
      const chunks = frames(text)
        .slice(0, -1)
        .map((json) => JSON.parse(json))
      const last = chunks.pop()
      assert.deepStrictEqual(last.choices, [])
      assert.deepStrictEqual(last.usage, {
        prompt_tokens: 3,
        completion_tokens: 4,
        total_tokens: 7,
        prompt_tokens_details: { cached_tokens: 0 }
      })
      for (const chunk of chunks) assert.isNull(chunk.usage)
    })
  )

  it.effect("gives every choice its role once and its finish reason once", () =>
    Effect.gen(function* () {
      const { text } = yield* request(
        "/v1/chat/completions",
        chat("hi", { n: 3, temperature: 1, logprobs: true, top_logprobs: 1 })
      )
      const chunks = frames(text)
      assert.strictEqual(chunks.pop(), "[DONE]")
      const choices = chunks.map((json) => JSON.parse(json).choices[0])
      for (const index of [0, 1, 2]) {
        const own = choices.filter((choice) => choice.index === index)
        assert.deepStrictEqual(
          own.filter(({ delta }) => "role" in delta),
          own.slice(0, 1)
        )
        assert.deepStrictEqual(
          own.filter(({ finish_reason }) => finish_reason !== null),
          own.slice(-1)
        )
        assert.deepStrictEqual(own.at(-1).delta, {})
        assert.lengthOf(
          own.flatMap(({ logprobs }) => logprobs?.content ?? []),
          4
        )
      }
    })
  )

  it.effect("that cannot begin is a plain error", () =>
    Effect.gen(function* () {
      const { headers, status, text } = yield* request("/v1/chat/completions", chat("hi", { max_tokens: 5000 }))
      assert.strictEqual(status, 400)
      assert.strictEqual(headers.get("content-type"), "application/json")
      assert.strictEqual(JSON.parse(text).error.code, "context_length_exceeded")
    })
  )

  it.effect("that fails tells why in its last event, without [DONE]", () =>
    Effect.gen(function* () {
      const { status, text } = yield* request("/v1/chat/completions", chat(Misfortune.fails))
      assert.strictEqual(status, 200)
      assert.notInclude(text, "[DONE]")
      assert.deepStrictEqual(JSON.parse(frames(text).at(-1) ?? ""), {
        error: {
          message: "The engine failed: the stub was asked to fail",
          type: "server_error",
          param: null,
          code: "engine_failed"
        }
      })
      const whole = yield* request("/v1/chat/completions", chat(Misfortune.fails, { stream: false }))
      assert.strictEqual(whole.status, 500)
    })
  )

  it.effect("that meets a defect tells nothing of it but the request's id", () =>
    Effect.gen(function* () {
      const { text } = yield* request("/v1/chat/completions", {
        ...chat(Misfortune.dies),
        headers: { "x-request-id": "my.id-1" }
      })
      const { error } = JSON.parse(frames(text).at(-1) ?? "")
      assert.strictEqual(error.code, "internal_error")
      assert.include(error.message, "my.id-1")
      assert.notInclude(text, "RuntimeException")
      const whole = yield* request("/v1/chat/completions", chat(Misfortune.dies, { stream: false }))
      assert.strictEqual(whole.status, 500)
      assert.strictEqual(JSON.parse(whole.text).error.code, "internal_error")
    })
  )

  it.effect("raises the client's own error class when it fails on the way", () =>
    Effect.gen(function* () {
      const client = yield* openai
      const { chatModel } = yield* Target
      const error = yield* Effect.tryPromise({
        try: async () => {
          const messages = [{ role: "user" as const, content: Misfortune.fails }]
          for await (const _ of await client.chat.completions.create({ model: chatModel, messages, stream: true }));
        },
        catch: (error) => error
      }).pipe(Effect.flip)
      assert.instanceOf(error, OpenAI.APIError)
    })
  )

  it.effect("frees its slot at once when its client hangs up", () =>
    Effect.gen(function* () {
      const client = yield* openai
      const { chatModel } = yield* Target
      yield* Effect.promise(async () => {
        const messages = [{ role: "user" as const, content: Misfortune.hangs }]
        const stream = await client.chat.completions.create({ model: chatModel, messages, stream: true })
        for await (const _ of stream) break
        stream.controller.abort()
      })
      yield* until(slots, 0)
    })
  )

  it.scoped("is no more needed when the client of a whole answer hangs up", () =>
    Effect.gen(function* () {
      const client = yield* connect
      yield* client.send(yield* post("/v1/chat/completions", chat(Misfortune.hangs, { stream: false }).json))
      yield* until(slots, 1)
      client.socket.destroy()
      yield* until(slots, 0)
    })
  )
})

// An answer that no socket's buffers can hold: 128 times the prompt.
const large = { model: "helix-demo", n: 128, max_tokens: 1, echo: true, prompt: "long ".repeat(40_000) }

const impatient = StubGateway.layer({ context: 100_000 }, { stallMillis: 50 })

layer(impatient, { excludeTestServices: true })("A client that stops reading", (it) => {
  for (const stream of [true, false]) {
    it.scoped(`is cut off from its answer, ${stream ? "streamed" : "whole"}`, () =>
      Effect.gen(function* () {
        const client = yield* connect
        client.socket.pause()
        yield* client.send(yield* post("/v1/completions", { ...large, stream }))
        yield* until(connections, 1)
        yield* until(connections, 0)
        client.socket.resume()
        const text = yield* client.rest
        assert.include(text, "HTTP/1.1 200")
        assert.isBelow(text.length, 128 * large.prompt.length)
        yield* until(slots, 0)
      })
    )
  }
})

layer(StubGateway.layer({ context: 100_000 }), { excludeTestServices: true })("A client that reads slowly", (it) => {
  const active = Effect.map(request("/metrics"), ({ text }) =>
    Number(/http_server_active_requests\{.*"\/v1\/completions"\} (\d+)/.exec(text)?.[1])
  )

  for (const stream of [true, false]) {
    it.scoped(`keeps its request active until it has read all, ${stream ? "streamed" : "whole"}`, () =>
      Effect.gen(function* () {
        const client = yield* connect
        yield* client.send(yield* post("/v1/completions", { ...large, stream }))
        yield* client.until("HTTP/1.1 200")
        client.socket.pause()
        assert.strictEqual(yield* active, 1)
        client.socket.resume()
        yield* until(active, 0)
      })
    )
  }

  for (const stream of [true, false]) {
    it.scoped(`gets all of its answer, ${stream ? "streamed" : "whole"}`, () =>
      Effect.gen(function* () {
        const { status, text } = yield* request("/v1/completions", { json: { ...large, stream } })
        assert.strictEqual(status, 200)
        assert.isTrue(text.endsWith(stream ? "[DONE]\n\n" : "}"))
        assert.isAbove(text.length, 128 * large.prompt.length)
        yield* until(slots, 0)
      })
    )
  }
})

describe("A stream that waits for its client to read", () => {
  it.scopedLive("goes on where it has read before the wait began", () =>
    Effect.gen(function* () {
      const server = Http.createServer()
      const url = yield* listening(server)
      const asked = Effect.async<Http.ServerResponse>((resume) => {
        server.once("request", (_, response) => resume(Effect.succeed(response)))
        Http.get(url, (answer) => answer.resume())
      })
      const response = yield* asked
      const hasRead = once(response, "drain")
      assert.isFalse(response.write("x".repeat(2 ** 20)))
      yield* Effect.promise(() => hasRead)
      yield* drained(response, 1_000)
      assert.isFalse(response.destroyed)
      response.end()
    })
  )
})
