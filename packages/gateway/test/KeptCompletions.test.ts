/** Streams that are come back to, on a server as a user starts it, and across its death. */
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it, vi } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { type Environment, type Started, startServer } from "./Program.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const key = "hx-a-key-of-the-suite"
const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" }

const chat = (more: object = {}) => ({
  model: "helix-demo",
  messages: [{ role: "user", content: "Tell me a long story." }],
  max_tokens: 200,
  ignore_eos: true,
  seed: 7,
  stream: true,
  stream_options: { include_usage: true },
  ...more
})

interface Frame {
  readonly id: number
  readonly data: string
}

const post = (server: Started, body: object, path = "/v1/chat/completions") =>
  Effect.promise((signal) => fetch(server.url + path, { method: "POST", headers, body: JSON.stringify(body), signal }))

const get = (server: Started, path: string, more: Record<string, string> = {}) =>
  Effect.promise(() => fetch(server.url + path, { headers: { ...headers, ...more } }))

/** The frames of a stream, at most so many; then it is hung up. What was cut off in the middle is none. */
const frames = (response: Response, most = Number.POSITIVE_INFINITY) =>
  Effect.promise(async () => {
    const found: Array<Frame> = []
    const decoder = new TextDecoder()
    let text = ""
    try {
      for await (const bytes of response.body ?? []) {
        text += decoder.decode(bytes, { stream: true })
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
          const [, id = "-1", data = ""] = /^(?:id: (\d+)\n)?data: (.*)$/.exec(text.slice(0, end)) ?? []
          text = text.slice(end + 2)
          found.push({ id: Number(id), data })
          if (found.length >= most) return found
        }
      }
    } catch {
      // the server was killed: what has come counts
    }
    return found
  })

const idOf = ([first]: ReadonlyArray<Frame>): string => JSON.parse(first?.data ?? "{}").id

/** What differs between two streams of the same request. */
const normal = (all: ReadonlyArray<Frame>) =>
  all.map(({ data, id }) => {
    if (data === "[DONE]") return { id, data }
    const { choices, usage } = JSON.parse(data)
    return { id, choices, completion: usage?.completion_tokens }
  })

const served = (test: (server: Started) => Effect.Effect<void>, env: Environment = {}) =>
  Effect.flatMap(startServer({ HELIX_BOOTSTRAP_KEY: key, ...env }), test).pipe(
    Effect.scoped,
    Effect.provide(NodeContext.layer)
  )

const whole = (server: Started, body: object) => Effect.flatMap(post(server, body), frames)

describe("A stream that was hung up", () => {
  it.live("goes on with the chunk after the last one that its client has", () =>
    served((server) =>
      Effect.gen(function* () {
        const undisturbed = yield* whole(server, chat())
        assert.deepStrictEqual(
          undisturbed.slice(0, -1).map(({ id }) => id),
          undisturbed.slice(0, -1).map((_, index) => index)
        )
        const begun = yield* Effect.flatMap(post(server, chat()), (response) => frames(response, 20))
        const path = `/v1/chat/completions/${idOf(begun)}`
        const rest = yield* Effect.flatMap(get(server, `${path}?stream=true&starting_after=19`), frames)
        assert.deepStrictEqual(normal([...begun, ...rest]), normal(undisturbed))
        // and from anywhere, as often as one likes
        const again = yield* Effect.flatMap(get(server, path, { "last-event-id": "4" }), frames)
        assert.deepStrictEqual(normal(again), normal(undisturbed.slice(5)))
        const all = yield* Effect.flatMap(get(server, `${path}?stream=true`), frames)
        assert.deepStrictEqual(normal(all), normal(undisturbed))
      })
    )
  )

  it.live("is finished by the next server after its own was killed, though nobody listens, if it is to be stored", () =>
    served((server) =>
      Effect.gen(function* () {
        const body = chat({ store: true, max_tokens: 400 })
        const undisturbed = yield* whole(server, body)
        const begun = yield* Effect.flatMap(post(server, body), (response) => frames(response, 40))
        const path = `/v1/chat/completions/${idOf(begun)}`
        yield* server.stop("SIGKILL")
        yield* served(
          (next) =>
            Effect.gen(function* () {
              const answer = Effect.flatMap(get(next, path), (response) => Effect.promise(() => response.text()))
              const { choices, usage } = yield* Effect.repeat(
                Effect.map(Effect.delay(answer, "100 millis"), (text) => JSON.parse(text)),
                { until: ({ choices: [choice] }) => choice.finish_reason !== null }
              )
              const text = undisturbed
                .slice(0, -1)
                .map(({ data }) => JSON.parse(data).choices[0]?.delta.content ?? "")
                .join("")
              assert.strictEqual(choices[0].message.content, text)
              assert.strictEqual(choices[0].finish_reason, "length")
              assert.strictEqual(usage.completion_tokens, 400)
            }),
          { HELIX_DATA_DIR: server.dataDir, HELIX_MODELS_DIR: server.env["HELIX_MODELS_DIR"] ?? "" }
        )
      })
    )
  )

  it.live("is cut off where its server has no more time to end in order, and goes on at the next", () =>
    served(
      (server) =>
        Effect.gen(function* () {
          const body = chat({ max_tokens: 450 })
          const undisturbed = yield* whole(server, body)
          // among these it takes long enough to be there still when the signal comes
          const others = Array.from({ length: 3 }, () => post(server, chat({ max_tokens: 450, n: 16, store: false })))
          yield* Effect.all(others, { concurrency: "unbounded" })
          const reading = yield* Effect.fork(frames(yield* post(server, body)))
          assert.strictEqual(yield* server.stop("SIGTERM"), 0)
          const seen = yield* Fiber.join(reading)
          const last = seen.at(-1)
          assert.include(last?.data ?? "", "shutting_down")
          const begun = seen.slice(0, -1)
          yield* served(
            (next) =>
              Effect.gen(function* () {
                const path = `/v1/chat/completions/${idOf(begun)}?stream=true&starting_after=${begun.length - 1}`
                const rest = yield* Effect.flatMap(get(next, path), frames)
                assert.deepStrictEqual(normal([...begun, ...rest]), normal(undisturbed))
              }),
            { HELIX_DATA_DIR: server.dataDir, HELIX_MODELS_DIR: server.env["HELIX_MODELS_DIR"] ?? "" }
          )
        }),
      { HELIX_SHUTDOWN_SECONDS: "0" }
    )
  )

  it.live("survives a server that is killed, token by token", () =>
    served((server) =>
      Effect.gen(function* () {
        const undisturbed = yield* whole(server, chat())
        const response = yield* post(server, chat())
        const begun = yield* frames(response, 40)
        yield* server.stop("SIGKILL")
        yield* served(
          (next) =>
            Effect.gen(function* () {
              const path = `/v1/chat/completions/${idOf(begun)}?stream=true&starting_after=39`
              const rest = yield* Effect.flatMap(get(next, path), frames)
              assert.deepStrictEqual(normal([...begun, ...rest]), normal(undisturbed))
            }),
          { HELIX_DATA_DIR: server.dataDir, HELIX_MODELS_DIR: server.env["HELIX_MODELS_DIR"] ?? "" }
        )
      })
    )
  )
})

describe("A completion that is stored", () => {
  const send = (server: Started, method: string, path: string, as = key) =>
    Effect.promise(async () => {
      const response = await fetch(server.url + path, {
        method,
        headers: { ...headers, authorization: `Bearer ${as}` }
      })
      return { status: response.status, body: JSON.parse(await response.text()) }
    })

  it.live("is read, streamed, cancelled and removed by its id, by its own tenant alone", () =>
    served((server) =>
      Effect.gen(function* () {
        const made = yield* post(server, { name: "another" }, "/admin/v1/keys")
        const { key: other } = JSON.parse(yield* Effect.promise(() => made.text()))
        // among these it is there still when it is cancelled
        yield* Effect.replicateEffect(post(server, chat({ max_tokens: 450, n: 16, store: false })), 6)
        const response = yield* post(server, chat({ store: true, max_tokens: 450 }))
        const begun = yield* frames(response, 5)
        const path = `/v1/chat/completions/${idOf(begun)}`

        const actions = [
          ["GET", path],
          ["GET", `${path}?stream=true`],
          ["POST", `${path}/cancel`],
          ["DELETE", path]
        ] as const
        for (const [method, where] of actions) {
          const { body, status } = yield* send(server, method, where, other)
          assert.deepStrictEqual([status, body.error.code], [404, "completion_not_found"])
        }

        const wrong = [
          ["starting_after=3", "starting_after"],
          ["stream=true&starting_after=x", "starting_after"],
          ["stream=true&starting_after=-2", "starting_after"],
          ["stream=true&starting_after=1&starting_after=2", "starting_after"],
          ["stream=maybe", "stream"],
          ["strema=true", "strema"]
        ] as const
        for (const [query, param] of wrong) {
          const { body, status } = yield* send(server, "GET", `${path}?${query}`)
          assert.deepStrictEqual([status, body.error.param], [400, param], query)
        }

        const cancelled = yield* send(server, "POST", `${path}/cancel`)
        assert.strictEqual(cancelled.status, 200)
        assert.isNotEmpty(cancelled.body.choices[0].message.content)
        // it is what it was, and its stream says why there is no more
        assert.deepStrictEqual(yield* send(server, "GET", path), cancelled)
        const stream = yield* Effect.flatMap(get(server, `${path}?stream=true&starting_after=1`), frames)
        assert.strictEqual(stream[0]?.id, 2)
        assert.include(stream.at(-1)?.data ?? "", `"code":"cancelled"`)

        assert.deepInclude((yield* send(server, "DELETE", path)).body, { id: idOf(begun), deleted: true })
        assert.strictEqual((yield* send(server, "GET", path)).status, 404)
      })
    )
  )
})
