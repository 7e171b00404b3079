/** Clients that chat on a WebSocket with the gateway that a test has started. */
import { assert } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { WebSocketLimits, type WebSocketLimitsShape } from "../src/WebSocketLimits.ts"
import * as StubGateway from "./StubGateway.ts"
import { request, Target } from "./Target.ts"
import { connect, type Told } from "./WebSocketClient.ts"

export const withLimits = (limits: Partial<WebSocketLimitsShape>) =>
  Layer.provide(
    StubGateway.layer(),
    Layer.effect(
      WebSocketLimits,
      Effect.map(WebSocketLimits, (defaults) => ({ ...defaults, ...limits }))
    )
  )

export const authorization = Effect.map(Target, ({ key }) => ({ headers: { authorization: `Bearer ${key}` } }))

export const open = Effect.gen(function* () {
  const { url } = yield* Target
  const client = yield* connect(url, yield* authorization)
  const { session, type } = yield* client.next
  assert.strictEqual(type, "session")
  assert.match(String(session), /^ws_\w+$/)
  return client
})

export const chat = (id: string, content = "hi", more: object = {}) => ({
  type: "chat.completions.create",
  id,
  body: { model: "helix-demo", temperature: 0, max_tokens: 4, messages: [{ role: "user", content }], ...more }
})

export const isDone = (id: string) => (message: Told) =>
  message.type !== "chat.completion.chunk" && message["id"] === id

export const textOf = (messages: ReadonlyArray<Told>) =>
  messages
    .filter(({ type }) => type === "chat.completion.chunk")
    // biome-ignore lint/suspicious/noExplicitAny: JSON of the wire
    .map(({ data }: any) => data.choices[0]?.delta.content ?? "")
    .join("")

// biome-ignore lint/suspicious/noExplicitAny: JSON of the wire
export const errorOf = (message: any) => message.error

/** A key that is made for the test, and what takes it back. */
export const newKey = (more: object = {}) =>
  Effect.map(request("/admin/v1/keys", { json: { name: "of the test", ...more } }), ({ text }) => {
    const { id, key } = JSON.parse(text)
    const revoke = request(`/admin/v1/keys/${id}`, { method: "DELETE" })
    return { key: String(key), revoke }
  })

export const openWith = (key: string) =>
  Effect.gen(function* () {
    const { url } = yield* Target
    const client = yield* connect(url, { headers: { authorization: `Bearer ${key}` } })
    assert.strictEqual((yield* client.next).type, "session")
    return client
  })
