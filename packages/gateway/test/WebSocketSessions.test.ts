/** Streams on WebSockets that end early, are lost and come back, on a server as a user starts it. */
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it, vi } from "@effect/vitest"
import { Effect, Schedule, Schema } from "effect"
import { type Environment, type Started, startServer } from "./Program.ts"
import { type Client, connect, type Told } from "./WebSocketClient.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const key = "hx-a-key-of-the-suite"
const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" }

const served = <A>(test: (server: Started) => Effect.Effect<A, never, Scope>, env: Environment = {}) =>
  Effect.flatMap(startServer({ HELIX_BOOTSTRAP_KEY: key, ...env }), test).pipe(
    Effect.scoped,
    Effect.provide(NodeContext.layer)
  )

type Scope = Effect.Effect.Context<ReturnType<typeof connect>>

/** The next server with the data of one that has ended. */
const afterwards = (server: Started, test: (server: Started) => Effect.Effect<void, never, Scope>) =>
  served(test, { HELIX_DATA_DIR: server.dataDir, HELIX_MODELS_DIR: server.env["HELIX_MODELS_DIR"] ?? "" })

const open = (server: Started) =>
  Effect.gen(function* () {
    const client = yield* connect(server.url, { headers })
    const { session } = yield* client.next
    return { ...client, session: String(session) }
  })

const body = (more: object = {}) => ({
  model: "helix-demo",
  messages: [{ role: "user", content: "Tell me a long story." }],
  max_tokens: 200,
  ignore_eos: true,
  // of those whose draws are nowhere within the last bits of a border (docs/engine.md, "To the last bit"): seed 7 has one
  seed: 1,
  ...more
})

const chat = (id: string, more: object = {}) => ({ type: "chat.completions.create", id, body: body(more) })

const isChunk = ({ type }: Told) => type === "chat.completion.chunk"

const of = (id: string) => (message: Told) => message["id"] === id

const isLast = (id: string) => (message: Told) => of(id)(message) && !isChunk(message)

/** So many chunks of a request. */
const chunks = (client: Client, id: string, count: number) => {
  let left = count
  return Effect.map(
    client.until((message) => isChunk(message) && of(id)(message) && --left === 0),
    (messages) => messages.filter(of(id))
  )
}

/** What a client was told of a request to its end. */
const rest = (client: Client, id: string) => Effect.map(client.until(isLast(id)), (messages) => messages.filter(of(id)))

/** What of a message is looked at here. */
const Frame = Schema.Struct({
  type: Schema.String,
  seq: Schema.optional(Schema.Number),
  data: Schema.optional(
    Schema.Struct({ id: Schema.optional(Schema.String), choices: Schema.optional(Schema.Unknown) })
  ),
  usage: Schema.optional(Schema.NullOr(Schema.Struct({ completion_tokens: Schema.Number }))),
  error: Schema.optional(Schema.Struct({ code: Schema.NullOr(Schema.String) }))
})
const frame = Schema.decodeUnknownSync(Frame)

/** What can't differ between two streams of the same request: not the completion's id and time. */
const normal = (messages: ReadonlyArray<Told>) =>
  messages
    .map((message) => frame(message))
    .map(({ data, seq, type, usage }) => ({
      type,
      seq,
      choices: data?.choices,
      completion: usage?.completion_tokens
    }))

const whole = (server: Started, more: object = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* open(server)
      client.send(chat("whole", more))
      return normal(yield* rest(client, "whole"))
    })
  )

const completionOf = (messages: ReadonlyArray<Told>): string => frame(messages.find(isChunk)).data?.id ?? ""

const get = (server: Started, path: string) =>
  Effect.promise(async () => {
    const response = await fetch(server.url + path, { headers })
    return { status: response.status, body: await response.json() }
  })

/** How many requests the replicas compute now. */
const active = (server: Started) =>
  Effect.map(get(server, "/admin/v1/tree"), ({ body }) =>
    [...JSON.stringify(body).matchAll(/"active":(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0)
  )

const idle = (server: Started) =>
  Effect.repeat(active(server), { until: (count) => count === 0, schedule: Schedule.spaced("20 millis") })

const codeOf = (message: unknown): unknown => frame(message).error?.code

describe("A request on a WebSocket that is cancelled", () => {
  it.live("ends with an error and computes no longer, whether it was kept or not", () =>
    served((server) =>
      Effect.gen(function* () {
        const client = yield* open(server)
        for (const store of [true, false, undefined]) {
          const id = `store ${store}`
          client.send(chat(id, { store, max_tokens: 400 }))
          const begun = yield* chunks(client, id, 2)
          client.send({ type: "cancel", id })
          const told = yield* rest(client, id)
          assert.strictEqual(codeOf(told.at(-1)), "cancelled")
          // a slot is free at once: nothing goes on unheard
          yield* idle(server)
          const kept = yield* get(server, `/v1/chat/completions/${completionOf(begun)}`)
          assert.strictEqual(kept.status, store === false ? 404 : 200)
          // its id is free again
          client.send(chat(id, { store, max_tokens: 4 }))
          assert.strictEqual((yield* rest(client, id)).at(-1)?.type, "chat.completion.done")
        }
      })
    )
  )
})

describe("Streams of a WebSocket that is lost", () => {
  it.live("go on where they were, one or several, from anywhere", () =>
    served((server) =>
      Effect.gen(function* () {
        const undisturbed = yield* whole(server)
        const other = yield* whole(server, { seed: 8 })
        const first = yield* open(server)
        first.send(chat("a"))
        const begun = yield* chunks(first, "a", 20)
        first.socket.terminate()
        const second = yield* open(server)
        second.send({ type: "resume", session: first.session, last_seq: 19 })
        assert.deepStrictEqual(yield* second.next, { type: "session", session: first.session })
        assert.deepStrictEqual(normal([...begun, ...(yield* rest(second, "a"))]), undisturbed)

        const third = yield* open(server)
        third.send(chat("a", { store: true }))
        third.send(chat("b", { seed: 8 }))
        yield* chunks(third, "b", 3)
        third.socket.terminate()
        const fourth = yield* open(server)
        fourth.send({ type: "resume", session: third.session, last_seq: 2 })
        const refused = yield* fourth.until(({ type }) => type === "error")
        assert.deepInclude(refused.at(-1)?.["error"], { param: "last_seq" })
        fourth.send({ type: "resume", session: third.session, last_seq: { a: -1, b: 2, none: 0 } })
        const all = yield* fourth.until(isLast("none"))
        assert.deepInclude(all.at(-1)?.["error"], { param: "last_seq.none" })
        const later = yield* fourth.until(
          (
            (left) => (message: Told) =>
              (isLast("a")(message) || isLast("b")(message)) && --left === 0
          )(2)
        )
        const told = [...all, ...later]
        assert.deepStrictEqual(normal(told.filter(of("a"))), undisturbed)
        assert.deepStrictEqual(normal(told.filter(of("b"))), other.slice(3))
      })
    )
  )

  it.live("are found by the newest request after a second loss too", () =>
    served((server) =>
      Effect.gen(function* () {
        const one = yield* whole(server, { seed: 1 })
        const two = yield* whole(server, { seed: 2 })
        const first = yield* open(server)
        first.send(chat("a", { max_tokens: 4 }))
        yield* rest(first, "a")
        first.send(chat("b", { seed: 1 }))
        const begun = yield* chunks(first, "b", 5)
        first.socket.terminate()

        // what is asked right behind the resumption belongs to the session that was taken over
        const second = yield* open(server)
        second.send({ type: "resume", session: first.session, last_seq: 4 })
        second.send(chat("c", { seed: 2 }))
        const messages = yield* second.until(
          (
            (left) => (message: Told) =>
              (isLast("b")(message) || of("c")(message)) && --left === 0
          )(10)
        )
        const got = messages.filter(of("c"))
        const resumed = messages.filter(of("b"))
        const more = resumed.some((message) => !isChunk(message)) ? [] : yield* rest(second, "b")
        assert.deepStrictEqual(normal([...begun, ...resumed, ...more.filter(of("b"))]), one)
        second.socket.terminate()

        const third = yield* open(server)
        third.send({ type: "resume", session: first.session, last_seq: got.length - 1 })
        assert.deepStrictEqual(normal([...got, ...(yield* rest(third, "c"))]), two)
      })
    )
  )

  it.live("are the new connection's where the old one still lives", () =>
    served((server) =>
      Effect.gen(function* () {
        const undisturbed = yield* whole(server)
        const old = yield* open(server)
        old.send(chat("a"))
        const begun = yield* chunks(old, "a", 10)
        const next = yield* open(server)
        next.send({ type: "resume", session: old.session, last_seq: 9 })
        assert.deepStrictEqual(normal([...begun, ...(yield* rest(next, "a"))]), undisturbed)
        const end = yield* old.until(() => false)
        assert.deepInclude(end.at(-1), { type: "closed", code: 4001 })
        // and of whom has asked something of its own already they are not
        next.send({ type: "resume", session: (yield* open(server)).session })
        assert.deepInclude((yield* next.next)["error"], { param: "session" })
      })
    )
  )

  it.live("may be watched by others at the same time", () =>
    served((server) =>
      Effect.gen(function* () {
        const client = yield* open(server)
        client.send(chat("a"))
        const begun = yield* chunks(client, "a", 5)
        const completion = completionOf(begun)
        const events = yield* Effect.fork(
          Effect.promise(async () => {
            const response = await fetch(`${server.url}/v1/chat/completions/${completion}?stream=true`, { headers })
            return await response.text()
          })
        )
        const watcher = yield* open(server)
        watcher.send({ type: "resume", session: completion, id: "watched" })
        const watched = yield* rest(watcher, "watched")
        const own = [...begun, ...(yield* rest(client, "a"))]
        assert.deepStrictEqual(normal(watched), normal(own))
        const frames = [...(yield* events).matchAll(/^data: (\{.*)$/gm)].map(
          ([, data = ""]) => JSON.parse(data).choices
        )
        assert.deepStrictEqual(
          frames,
          normal(own)
            .slice(0, -1)
            .map(({ choices }) => choices)
        )
      })
    )
  )

  it.live("may be come back to after they were cut off for not being read", () =>
    served(
      (server) =>
        Effect.gen(function* () {
          const undisturbed = yield* whole(server)
          const deaf = yield* open(server)
          // more than the socket's buffers hold, and in the middle of it the one that matters
          const ids = Array.from({ length: 60 }, (_, n) => (n === 30 ? "a" : `long ${n}`))
          for (const id of ids) {
            deaf.send(id === "a" ? chat(id) : chat(id, { n: 8, max_tokens: 400, logprobs: true, top_logprobs: 20 }))
          }
          const begun = yield* chunks(deaf, "a", 3)
          deaf.socket.pause()
          yield* Effect.repeat(active(server), {
            until: (count) => count === 0,
            schedule: Schedule.spaced("100 millis")
          })
          deaf.socket.resume()
          const heard = yield* deaf.until(() => false)
          const got = [...begun, ...heard].filter(of("a")).filter(isChunk)
          const next = yield* open(server)
          next.send({ type: "resume", session: deaf.session, last_seq: { a: got.length - 1 } })
          assert.deepStrictEqual(normal([...got, ...(yield* rest(next, "a"))]), undisturbed)
        }),
      { HELIX_WS_STALL_TIMEOUT: "1s" }
    )
  )

  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    it.live(`go on, on the next server, after ${signal}`, () =>
      served(
        (server) =>
          Effect.gen(function* () {
            const undisturbed = yield* whole(server)
            const first = yield* open(server)
            first.send(chat("a"))
            const begun = yield* chunks(first, "a", 20)
            yield* server.stop(signal)
            const end = [...begun, ...(yield* first.until(() => false))]
            assert.deepInclude(end.at(-1), { type: "closed", code: signal === "SIGTERM" ? 1001 : 1006 })
            const got = end.filter((message) => isChunk(message) && of("a")(message))
            yield* afterwards(server, (next) =>
              Effect.gen(function* () {
                const second = yield* open(next)
                second.send({ type: "resume", session: first.session, last_seq: got.length - 1 })
                assert.deepStrictEqual(normal([...got, ...(yield* rest(second, "a"))]), undisturbed)
              })
            )
          }),
        { HELIX_SHUTDOWN_SECONDS: "0" }
      )
    )
  }
})

const post = (server: Started, path: string, json: unknown, as = key) =>
  Effect.promise(async () => {
    const response = await fetch(server.url + path, {
      method: "POST",
      headers: { ...headers, authorization: `Bearer ${as}` },
      body: JSON.stringify(json)
    })
    return Schema.decodeUnknownSync(Made)(await response.json())
  })

const Made = Schema.Struct({ id: Schema.optional(Schema.String), key: Schema.optional(Schema.String) })

describe("The server's own topics", () => {
  it.live("tell of models that are loaded, and of the tenant's streams", () =>
    served((server) =>
      Effect.gen(function* () {
        const made = yield* post(server, "/admin/v1/keys", { name: "alice" })
        const alice = yield* connect(server.url, { headers: { authorization: `Bearer ${made.key}` } })
        yield* alice.next
        const operator = yield* open(server)
        for (const client of [alice, operator]) {
          client.send({ type: "subscribe", topic: "models" })
          client.send({ type: "subscribe", topic: "streams" })
        }
        const states = (client: Client, topic: string, until: (data: string) => boolean) =>
          Effect.map(
            client.until((message) => message["topic"] === topic && until(JSON.stringify(message["data"]))),
            (messages) => messages.filter((message) => message["topic"] === topic).map(({ data }) => data)
          )
        yield* states(alice, "models", (data) => data.includes("helix-demo"))
        yield* post(server, "/v1/embeddings", { model: "helix-demo-embed", input: "hi" }, made.key)
        yield* states(alice, "models", (data) => /"helix-demo-embed"[^}]*"state":"ready"/.test(data))

        alice.send(chat("a", { max_tokens: 4 }))
        const told = [...(yield* alice.until(isLast("a")))]
        alice.send(chat("b", { max_tokens: 400 }))
        told.push(...(yield* alice.until((message) => isChunk(message) && message["seq"] === 2)))
        alice.send({ type: "cancel", id: "b" })
        told.push(...(yield* alice.until(({ data }) => JSON.stringify(data ?? null).includes("cancelled"))))
        const [a, b] = [completionOf(told.filter(of("a"))), completionOf(told.filter(of("b")))]
        assert.deepStrictEqual(
          told.flatMap((message) => (message["topic"] === "streams" ? [message["data"]] : [])),
          [
            { id: a, model: "helix-demo", state: "begun" },
            { id: a, model: "helix-demo", state: "finished" },
            { id: b, model: "helix-demo", state: "begun" },
            { id: b, model: "helix-demo", state: "cancelled" }
          ]
        )
        const kept = yield* post(server, "/v1/chat/completions", { ...body({ max_tokens: 4 }), store: true })
        // hers are not the operator's business, here
        const own = yield* states(operator, "streams", (data) => data.includes("finished"))
        assert.deepStrictEqual(
          own,
          ["begun", "finished"].map((state) => ({ id: kept.id, model: "helix-demo", state }))
        )
      })
    )
  )
})
