import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Misfortune } from "../src/StubRuntime.ts"
import { connect } from "./RawClient.ts"
import * as StubGateway from "./StubGateway.ts"
import { request, Target } from "./Target.ts"

const errorOf = (text: string) => JSON.parse(text).error
const chat = { model: "helix-demo", messages: [{ role: "user", content: "hi" }] }

const create = (body: object) =>
  Effect.map(request("/admin/v1/keys", { json: { name: "test", ...body } }), ({ status, text }) => ({
    status,
    ...JSON.parse(text)
  }))

const ask = (key: string, json: object = chat, path = "/v1/chat/completions") =>
  request(path, { json, headers: { authorization: `Bearer ${key}` } })

layer(StubGateway.layer(), { excludeTestServices: true })("Keys", (it) => {
  it.effect("are shown once, and only as much of them later as tells them apart", () =>
    Effect.gen(function* () {
      const made = yield* create({ name: "mine" })
      assert.strictEqual(made.status, 201)
      assert.match(made.id, /^key_[0-9a-f]{24}$/)
      const { key, status: _, ...view } = made
      assert.deepInclude(view, {
        object: "api_key",
        name: "mine",
        scopes: ["inference"],
        limits: { rpm: null, tpm: null, concurrency: null, weight: 1 },
        created_by: "bootstrap",
        expires_at: null,
        last_used_at: null
      })
      const shown = yield* request(`/admin/v1/keys/${made.id}`)
      assert.deepStrictEqual(JSON.parse(shown.text), view)
      const { data } = JSON.parse((yield* request("/admin/v1/keys")).text)
      assert.deepStrictEqual(
        data.filter(({ id }: { readonly id: string }) => id === made.id),
        [view]
      )
      assert.notInclude(shown.text, key.slice(8, -8))
    })
  )

  it.effect("do what their scopes say until they are revoked", () =>
    Effect.gen(function* () {
      const user = yield* create({})
      const admin = yield* create({ scopes: ["admin"] })
      const show = (key: string) => request("/admin/v1/keys", { headers: { authorization: `Bearer ${key}` } })
      assert.strictEqual((yield* ask(user.key)).status, 200)
      assert.strictEqual((yield* show(user.key)).status, 403)
      assert.strictEqual((yield* ask(admin.key)).status, 403)
      assert.strictEqual((yield* show(admin.key)).status, 200)
      const revoked = yield* request(`/admin/v1/keys/${user.id}`, { method: "DELETE" })
      assert.deepStrictEqual(JSON.parse(revoked.text), { id: user.id, object: "api_key.deleted", deleted: true })
      const refused = yield* ask(user.key)
      assert.strictEqual(refused.status, 401)
      assert.strictEqual(errorOf(refused.text).code, "invalid_api_key")
      const again = yield* request(`/admin/v1/keys/${user.id}`, { method: "DELETE" })
      assert.strictEqual(again.status, 404)
      assert.strictEqual(errorOf(again.text).code, "key_not_found")
    })
  )

  it.effect("take nothing that would be ignored", () =>
    Effect.gen(function* () {
      const refusals = [
        [{ name: "" }, "name", "invalid_value"],
        [{ name: null }, "name", "invalid_type"],
        [{ scopes: [] }, "scopes", "invalid_value"],
        [{ scopes: ["root"] }, "scopes[0]", "invalid_value"],
        [{ limits: { rpm: 0 } }, "limits.rpm", "invalid_value"],
        [{ limits: { rps: 1 } }, "limits.rps", "unknown_parameter"],
        [{ budget_usd: 5 }, "budget_usd", "unsupported_parameter"],
        [{ expires_at: 1_000_000_000 }, "expires_at", "invalid_value"],
        [{ expires_at: "tomorrow" }, "expires_at", "invalid_value"],
        [{ tenant: "acme" }, "tenant", "unknown_parameter"]
      ] as const
      for (const [body, param, code] of refusals) {
        const { error, status } = yield* create(body)
        assert.strictEqual(status, 400, JSON.stringify(body))
        assert.deepInclude(error, { param, code }, JSON.stringify(body))
      }
    })
  )

  it.effect("expire at a time that is told in seconds or as a date", () =>
    Effect.gen(function* () {
      const at = Math.floor(Date.now() / 1000) + 3600
      assert.strictEqual((yield* create({ expires_at: at })).expires_at, at)
      const written = new Date(at * 1000).toISOString()
      assert.strictEqual((yield* create({ expires_at: written })).expires_at, at)
    })
  )

  it.effect("make so many requests a minute", () =>
    Effect.gen(function* () {
      const { key } = yield* create({ limits: { rpm: 2 } })
      const first = yield* ask(key)
      assert.strictEqual(first.headers.get("x-ratelimit-limit-requests"), "2")
      assert.strictEqual(first.headers.get("x-ratelimit-remaining-requests"), "1")
      assert.match(first.headers.get("x-ratelimit-reset-requests") ?? "", /^(1m)?\d+(\.\d+)?s$/)
      // what computes nothing is free
      yield* request("/v1/models", { headers: { authorization: `Bearer ${key}` } })
      const streamed = yield* ask(key, { ...chat, stream: true })
      assert.strictEqual(streamed.headers.get("x-ratelimit-remaining-requests"), "0")
      const refused = yield* ask(key)
      assert.strictEqual(refused.status, 429)
      assert.strictEqual(errorOf(refused.text).code, "rate_limit_exceeded")
      assert.match(refused.headers.get("retry-after") ?? "", /^(59|60|61)$/)
      assert.strictEqual(refused.headers.get("x-ratelimit-remaining-requests"), "0")
      // others notice nothing
      assert.strictEqual((yield* request("/v1/chat/completions", { json: chat })).status, 200)
    })
  )

  it.effect("use so many tokens a minute, whatever they are asked for", () =>
    Effect.gen(function* () {
      const bodies = [
        ["/v1/chat/completions", chat],
        ["/v1/chat/completions", { ...chat, stream: true }],
        ["/v1/completions", { model: "helix-demo", prompt: "one two three" }],
        ["/v1/embeddings", { model: "helix-demo-embed", input: "one two three" }],
        ["/v1/rerank", { model: "helix-demo-rerank", query: "one", documents: ["two"] }]
      ] as const
      for (const [path, body] of bodies) {
        const { key } = yield* create({ limits: { tpm: 1 } })
        assert.strictEqual((yield* ask(key, body, path)).status, 200, path)
        const refused = yield* ask(key, body, path)
        assert.strictEqual(refused.status, 429, path)
        assert.strictEqual(refused.headers.get("x-ratelimit-remaining-tokens"), "0", path)
      }
    })
  )

  it.scoped("make so many requests at once, and pay for what they hang up on", () =>
    Effect.gen(function* () {
      const { url } = yield* Target
      const { key } = yield* create({ limits: { concurrency: 1, tpm: 1 } })
      const client = yield* Effect.provideService(connect, Target, { ...(yield* Target), key, url })
      const body = JSON.stringify({ ...chat, stream: true, messages: [{ role: "user", content: Misfortune.hangs }] })
      yield* client.send(
        `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${key}\r\n` +
          `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
      )
      yield* client.until("data:")
      const refused = yield* ask(key)
      assert.strictEqual(refused.status, 429)
      assert.include(errorOf(refused.text).message, "1 requests at once")
      assert.strictEqual(refused.headers.get("retry-after"), "1")
      client.socket.destroy()
      // the place is given back, and the tokens are counted
      const after = yield* Effect.fork(
        Effect.repeat(ask(key), { until: ({ text }) => !text.includes("requests at once") })
      )
      assert.include(errorOf((yield* Fiber.join(after)).text).message, "tokens per minute")
    })
  )
})
