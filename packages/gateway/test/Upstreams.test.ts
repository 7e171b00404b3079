import { mkdirSync, writeFileSync } from "node:fs"
import type { ServerResponse } from "node:http"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { expect, it } from "@effect/vitest"
import { RuntimeConfig } from "@helixflow/runtime/RuntimeConfig"
import { Services } from "@helixflow/runtime/Services"
import { Context, Effect, Layer, type Scope } from "effect"
import { Upstreams } from "../src/Upstreams.ts"
import { environment } from "./environment.ts"
import * as StubGateway from "./StubGateway.ts"
import { answerWith, begin, models, refusal, type StubRequest, stubServer } from "./StubServer.ts"
import { openai, request, Target } from "./Target.ts"
import { connect } from "./WebSocketClient.ts"

type Settings = Readonly<Record<string, unknown>>

/** A gateway in front of these upstreams, when it knows their models; what it is asked goes through `Target`. */
const inFront = (upstreams: Readonly<Record<string, Settings>>, variables: Readonly<Record<string, string>> = {}) =>
  Effect.gen(function* () {
    const files = yield* FileSystem.FileSystem
    const folder = yield* files.makeTempDirectoryScoped()
    for (const [name, settings] of Object.entries(upstreams)) {
      mkdirSync(join(folder, name), { recursive: true })
      writeFileSync(join(folder, name, "upstream.json"), JSON.stringify(settings))
    }
    const layer = Upstreams.layer.pipe(
      Layer.provide(RuntimeConfig.layer),
      Layer.provide(Layer.fresh(Services.layerAlone)),
      Layer.provide(environment({ HELIX_MODELS_DIR: folder, ...variables }))
    )
    const known = yield* Layer.build(layer)
    const { all } = yield* Effect.provide(Upstreams, known)
    const discovered = () => all.every((upstream) => upstream.models().length > 0 || upstream.status().lastFailure)
    yield* Effect.repeat(Effect.promise(soon), { until: discovered })
    const gateway = yield* Layer.build(StubGateway.layer({}, {}, { upstreams: Layer.succeedContext(known) }))
    return Context.get(gateway, Target)
  })

/** After whatever the sockets have now. */
const soon = () => new Promise<void>((resolve) => setImmediate(resolve))

const run = <A, E>(name: string, test: Effect.Effect<A, E, FileSystem.FileSystem | Scope.Scope>) =>
  it.live(name, () => test.pipe(Effect.scoped, Effect.provide(NodeContext.layer)))

const chat = (model: string, more: Settings = {}) =>
  request("/v1/chat/completions", { json: { model, messages: [{ role: "user", content: "Hi" }], ...more } })

const completion = (_: StubRequest, response: ServerResponse) => {
  response.writeHead(200, { "content-type": "application/json" }).end(`{"object":"chat.completion","answer":42}`)
}

/** A server with the model `m` whose n-th answer to anything else is the n-th of these, and the last from then on. */
const upstreamServer = (...answers: ReadonlyArray<(request: StubRequest, response: ServerResponse) => void>) => {
  let asked = 0
  return stubServer((incoming, response) => {
    if (incoming.url === "/v1/models") return models("m")(incoming, response)
    answers[Math.min(asked++, answers.length - 1)]?.(incoming, response)
  })
}

const requestsFor = (requests: ReadonlyArray<StubRequest>) => requests.filter(({ url }) => url !== "/v1/models")

const status = (code: number) => refusal(code, "no")

run(
  "the models of another HelixFlow are listed and answered as if they were here, to any client",
  Effect.gen(function* () {
    const other = Context.get(yield* Layer.build(StubGateway.layer()), Target)
    const target = yield* inFront(
      { far: { url: `${other.url}/v1`, key: { env: "FAR_KEY" }, prefix: "far/", models: ["helix-demo"] } },
      { FAR_KEY: other.key }
    )
    yield* Effect.gen(function* () {
      const client = yield* openai
      const listed = yield* Effect.promise(() => client.models.list())
      expect(listed.data.map(({ id }) => id)).toContain("far/helix-demo")
      expect(listed.data.map(({ id }) => id)).not.toContain("far/helix-demo-embed")
      const body = { messages: [{ role: "user" as const, content: "Hello" }], temperature: 0 }
      const near = yield* Effect.promise(() => client.chat.completions.create({ model: "helix-demo", ...body }))
      const far = yield* Effect.promise(() => client.chat.completions.create({ model: "far/helix-demo", ...body }))
      expect(far.choices).toEqual(near.choices)
      const stream = yield* Effect.promise(() =>
        client.chat.completions.create({ model: "far/helix-demo", stream: true, ...body })
      )
      let text = ""
      yield* Effect.promise(async () => {
        for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ""
      })
      expect(text).toBe(near.choices[0]?.message.content)
    }).pipe(Effect.provideService(Target, target))
  })
)

const authorization = Effect.map(Target, ({ key }) => ({ headers: { authorization: `Bearer ${key}` } }))

/** What a WebSocket is told of a chat with this model. */
const told = (model: string) =>
  Effect.gen(function* () {
    const { url } = yield* Target
    const client = yield* connect(url, yield* authorization)
    yield* client.next
    const body = { model, messages: [{ role: "user", content: "Hi" }] }
    client.send({ type: "chat.completions.create", id: "a", body })
    return yield* client.until(({ type }) => type === "error" || type === "chat.completion.done")
  })

run(
  "a WebSocket is told what another server streams, chunk by chunk, and what it refuses",
  Effect.gen(function* () {
    const server = yield* upstreamServer(
      answerWith("Hel", "lö"),
      status(422),
      completion,
      (_, response) => {
        begin(response, "Hal")
        response.end()
      },
      (_, response) => {
        begin(response, "Hal")
        response.end(`data: {"error":{"message":"out of memory","type":"server_error","param":null,"code":null}}\n\n`)
      }
    )
    const target = yield* inFront({ a: { url: `${server.url}/v1`, retries: 0, aliases: { mine: "m" } } })
    const ask = told("mine").pipe(Effect.provideService(Target, target))
    const whole = yield* ask
    expect(requestsFor(server.requests)[0]?.body).toMatchObject({ model: "m", stream: true })
    expect(whole.map(({ id, seq, type }) => [type, id, seq])).toEqual([
      ...[0, 1, 2, 3].map((seq) => ["chat.completion.chunk", "a", seq]),
      ["chat.completion.done", "a", 4]
    ])
    expect(whole[1]?.["data"]).toMatchObject({ choices: [{ delta: { content: "lö" } }] })
    expect(whole.at(-1)?.["usage"]).toMatchObject({ total_tokens: 5 })
    expect(yield* ask).toMatchObject([{ type: "error", id: "a", error: { message: "no" } }])
    expect(yield* ask).toMatchObject([{ type: "error", id: "a", error: { code: "upstream_unavailable" } }])
    expect((yield* ask).at(-1)).toMatchObject({ type: "error", id: "a", error: { code: "upstream_unavailable" } })
    expect((yield* ask).at(-1)).toMatchObject({ type: "error", id: "a", error: { message: "out of memory" } })
  })
)

run(
  "a stream that breaks off on a WebSocket is not gone on with by another model",
  Effect.gen(function* () {
    const server = yield* upstreamServer((_, response) => {
      begin(response, "Hal")
      response.end()
    })
    const target = yield* inFront({ a: { url: `${server.url}/v1`, retries: 0, fallback: ["helix-demo"] } })
    const messages = yield* told("m").pipe(Effect.provideService(Target, target))
    expect(messages.at(-1)).toMatchObject({ type: "error", error: { code: "upstream_unavailable" } })
    expect(messages.every(({ data }) => data === undefined || Object(data).model === "m")).toBe(true)
  })
)

run(
  "everything that a client says passes, but for its key and the model's name",
  Effect.gen(function* () {
    const server = yield* upstreamServer(completion)
    const target = yield* inFront(
      { a: { url: `${server.url}/v1`, key: { env: "KEY" }, aliases: { mine: "m" } } },
      { KEY: "sk-theirs" }
    )
    const answer = yield* chat("mine", { tools: [{ anything: true }] }).pipe(Effect.provideService(Target, target))
    expect(answer).toMatchObject({ status: 200, text: `{"object":"chat.completion","answer":42}` })
    expect(answer.headers.get("x-helixflow-upstream")).toBe("a")
    const [asked] = requestsFor(server.requests)
    expect(asked?.authorization).toBe("Bearer sk-theirs")
    expect(asked?.url).toBe("/v1/chat/completions")
    expect(asked?.body).toMatchObject({ model: "m", tools: [{ anything: true }] })
  })
)

run(
  "a failure before the answer is tried again, and a refusal of the request is passed on",
  Effect.gen(function* () {
    const server = yield* upstreamServer(
      status(500),
      (_, response) => response.destroy(),
      answerWith("Hel", "lo"),
      status(422)
    )
    const target = yield* inFront({ a: { url: `${server.url}/v1` } })
    const asked = yield* chat("m", { stream: true }).pipe(Effect.provideService(Target, target))
    expect(asked.status).toBe(200)
    expect(asked.text).toContain("Hel")
    expect(asked.text).toMatch(/data: \[DONE\]\n\n$/)
    expect(requestsFor(server.requests)).toHaveLength(3)
    const refused = yield* chat("m").pipe(Effect.provideService(Target, target))
    expect(refused.status).toBe(422)
    expect(requestsFor(server.requests)).toHaveLength(4)
  })
)

run(
  "a stream that breaks off after its beginning ends with an error, and is not begun again",
  Effect.gen(function* () {
    const server = yield* upstreamServer((_, response) => {
      begin(response, "Hel")
      setImmediate(() => response.socket?.end())
    })
    const target = yield* inFront({ a: { url: `${server.url}/v1` } })
    const { text } = yield* chat("m", { stream: true }).pipe(Effect.provideService(Target, target))
    expect(text).toContain(`"code":"upstream_unavailable"`)
    expect(text).not.toContain("[DONE]")
    expect(requestsFor(server.requests)).toHaveLength(1)
  })
)

run(
  "a server that keeps failing is left alone, and the next route answers: another server, or a model of ours",
  Effect.gen(function* () {
    const broken = yield* upstreamServer(status(503))
    const sound = yield* stubServer((incoming, response) =>
      incoming.url === "/v1/models" ? models("spare")(incoming, response) : completion(incoming, response)
    )
    const target = yield* inFront({
      a: { url: `${broken.url}/v1`, fallback: ["nobody", "spare", "helix-demo"], retries: 0 },
      b: { url: `${sound.url}/v1` },
      c: { url: `${broken.url}/v1`, prefix: "c/", fallback: ["helix-demo"], retries: 0 },
      d: { url: `${broken.url}/v1`, prefix: "d/", retries: 0 }
    })
    yield* Effect.gen(function* () {
      for (let n = 0; n < 6; n++) {
        const answer = yield* chat("m")
        expect(answer.headers.get("x-helixflow-upstream")).toBe("b")
      }
      // the breaker opened at the third
      expect(requestsFor(broken.requests)).toHaveLength(3)
      const standing = JSON.parse((yield* request("/admin/v1/upstreams")).text).data
      expect(standing[0]).toEqual({
        name: "a",
        url: `${broken.url}/v1`,
        breaker: "open",
        models: ["m"],
        last_failure: "it answered with status 503"
      })
      const ours = yield* chat("c/m")
      expect(JSON.parse(ours.text)).toMatchObject({ model: "helix-demo" })
      for (let n = 0; n < 3; n++) yield* chat("d/m")
      const refused = yield* chat("d/m")
      expect(refused.status).toBe(503)
      expect(refused.headers.get("retry-after")).toBe("1")
      expect(JSON.parse(refused.text).error).toMatchObject({ code: "upstream_unavailable", type: "server_error" })
    }).pipe(Effect.provideService(Target, target))
  })
)

run(
  "models of ours are never asked elsewhere, and nobody's are nobody's",
  Effect.gen(function* () {
    const server = yield* stubServer(models("helix-demo"))
    const target = yield* inFront({ a: { url: `${server.url}/v1` } })
    yield* Effect.gen(function* () {
      expect((yield* chat("helix-demo")).status).toBe(200)
      expect((yield* chat("nobody")).status).toBe(404)
      const listed = JSON.parse((yield* request("/v1/models")).text)
      expect(listed.data.filter(({ id }: { id: string }) => id === "helix-demo")).toHaveLength(1)
      expect(requestsFor(server.requests)).toEqual([])
    }).pipe(Effect.provideService(Target, target))
  })
)

run(
  "an upstream that is described wrongly is left out, and the others serve",
  Effect.gen(function* () {
    const server = yield* upstreamServer(completion)
    const target = yield* inFront({
      a: { url: "ftp://nowhere" },
      b: { url: `${server.url}/v1`, key: { env: "NOT_SET" } },
      c: { url: `${server.url}/v1`, colour: "red" },
      d: { url: `${server.url}/v1` }
    })
    const answer = yield* chat("m").pipe(Effect.provideService(Target, target))
    expect(answer.headers.get("x-helixflow-upstream")).toBe("d")
  })
)
