/** Streams that are come back to, on a server as a user starts it, and across its death. */
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it, vi } from "@effect/vitest"
import { Effect } from "effect"
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
