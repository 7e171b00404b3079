import { createServer } from "node:http"
import { assert, describe, it, layer } from "@effect/vitest"
import { Clock, Context, Effect, Layer, Redacted } from "effect"
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose"
import { Identity } from "../src/Authentication.ts"
import { GatewayConfig } from "../src/GatewayConfig.ts"
import { JsonWebTokens } from "../src/JsonWebTokens.ts"
import { WebSocketLimits } from "../src/WebSocketLimits.ts"
import { environment } from "./environment.ts"
import * as StubGateway from "./StubGateway.ts"
import { request, Target } from "./Target.ts"
import { connect } from "./WebSocketClient.ts"

const secret = "a secret of at least thirty-two bytes"
const issuer = "https://id.example.com"
const audience = "helixflow"

const verifier = (variables: Readonly<Record<string, string>>) =>
  Effect.map(
    Layer.build(
      JsonWebTokens.layer.pipe(
        Layer.provide(GatewayConfig.layer),
        Layer.provide(environment({ HELIX_JWT_ISSUER: issuer, HELIX_JWT_AUDIENCE: audience, ...variables }))
      )
    ),
    (context) => Context.get(context, JsonWebTokens)
  )

const withSecret = verifier({ HELIX_JWT_SECRET: secret })

const claims = (now: number): JWTPayload => ({
  iss: issuer,
  aud: audience,
  sub: "alice",
  exp: Math.floor(now / 1000) + 60,
  scope: "openid inference"
})

type Key = Parameters<SignJWT["sign"]>[0]

/** A token that is right but for what is said. */
const sign = (
  changes: Readonly<Record<string, unknown>> = {},
  key: Key = new TextEncoder().encode(secret),
  alg = "HS256",
  kid?: string
) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.promise(() =>
      new SignJWT({ ...claims(now), ...changes })
        .setProtectedHeader({ alg, ...(kid !== undefined && { kid }) })
        .sign(key)
    )
  )

const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")

describe("A JSON Web Token", () => {
  it.scopedLive("stands for its subject, with the scopes that are known here", () =>
    Effect.gen(function* () {
      const tokens = yield* withSecret
      const token = yield* sign()
      assert.isTrue(tokens.resembles(token))
      assert.isFalse(tokens.resembles("hx-2wRZk"))
      const principal = yield* tokens.verify(token)
      assert.deepInclude(principal, { id: "jwt:alice", tenant: "jwt:alice", scopes: new Set(["inference"] as const) })
      const none = yield* tokens.verify(yield* sign({ scope: "openid" }))
      assert.strictEqual(none.scopes.size, 0)
      const operator = yield* tokens.verify(yield* sign({ scope: "admin priority", aud: ["other", audience] }))
      assert.deepStrictEqual(operator.scopes, new Set(["admin", "priority"] as const))
    })
  )

  it.scopedLive("is refused for one reason each, which says nothing of what it holds", () =>
    Effect.gen(function* () {
      const tokens = yield* withSecret
      const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
      const { privateKey } = yield* Effect.promise(() => generateKeyPair("RS256"))
      const [header, payload] = (yield* sign()).split(".")
      const unsigned = `${base64({ alg: "none" })}.${payload}.`
      const refusals = [
        [yield* sign({ exp: now - 6 }), "it has expired"],
        [yield* sign({ nbf: now + 60 }), "it is not valid yet"],
        [yield* sign({ exp: undefined }), "it has no claim `exp`"],
        [yield* sign({ sub: undefined }), "it has no claim `sub`"],
        [yield* sign({ sub: "" }), "it has no subject (`sub`)"],
        [yield* sign({ iss: "https://evil.example.com" }), "it is of another issuer"],
        [yield* sign({ iss: undefined }), "it has no claim `iss`"],
        [yield* sign({ aud: "secret-service" }), "it is for another audience"],
        [yield* sign({ aud: undefined }), "it has no claim `aud`"],
        [yield* sign({}, new TextEncoder().encode("another secret of thirty-two bytes")), "its signature is not valid"],
        [`${header}.${base64({ ...claims(0), sub: "mallory" })}.AAAA`, "its signature is not valid"],
        [
          yield* sign({}, new TextEncoder().encode(secret.repeat(2)), "HS512"),
          "its algorithm is not one of those that are accepted here"
        ],
        [yield* sign({}, privateKey, "RS256"), "its algorithm is not one of those that are accepted here"],
        [unsigned, "its algorithm is not one of those that are accepted here"],
        ["a.b.c", "it is malformed"]
      ] as const
      for (const [token, reason] of refusals) {
        const error = yield* Effect.flip(tokens.verify(token))
        assert.strictEqual(error._tag, "Unauthenticated", reason)
        assert.strictEqual(error.message, `The token is not accepted: ${reason}.`)
      }
      // clocks differ a little
      yield* tokens.verify(yield* sign({ exp: now - 2 }))
    })
  )

  it.scopedLive("is nothing where none are accepted", () =>
    Effect.gen(function* () {
      const tokens = yield* verifier({ HELIX_JWT_ISSUER: "", HELIX_JWT_AUDIENCE: "" })
      assert.isFalse(tokens.resembles(yield* sign()))
      assert.strictEqual((yield* Effect.flip(tokens.verify(yield* sign())))._tag, "Unauthenticated")
    })
  )
})

/** An issuer that publishes keys; `requests` counts how often it is asked. */
const publisher = Effect.gen(function* () {
  const keys: Array<object> = []
  let requests = 0
  const server = createServer((_, response) => {
    requests++
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ keys }))
  })
  yield* Effect.acquireRelease(
    Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () => Effect.sync(() => server.close())
  )
  const address = server.address()
  const url = `http://127.0.0.1:${address !== null && typeof address === "object" ? address.port : 0}/jwks.json`
  return { keys, url, requests: () => requests }
})

describe("A JSON Web Token of an issuer that publishes its keys", () => {
  it.scopedLive("is checked with the key that it names, which is fetched once", () =>
    Effect.gen(function* () {
      const { keys, requests, url } = yield* publisher
      const tokens = yield* verifier({ HELIX_JWT_JWKS_URL: url })
      const signed: Array<string> = []
      for (const alg of ["RS256", "ES256", "EdDSA"]) {
        const { publicKey, privateKey } = yield* Effect.promise(() => generateKeyPair(alg))
        keys.push({ ...(yield* Effect.promise(() => exportJWK(publicKey))), kid: alg, alg })
        signed.push(yield* sign({}, privateKey, alg, alg))
      }
      for (const token of [...signed, ...signed]) assert.strictEqual((yield* tokens.verify(token)).id, "jwt:alice")
      assert.strictEqual(requests(), 1)
      const { privateKey } = yield* Effect.promise(() => generateKeyPair("ES256"))
      const stranger = yield* Effect.flip(tokens.verify(yield* sign({}, privateKey, "ES256", "another")))
      assert.include(stranger.message, "its issuer has published no key")
    })
  )

  it.scopedLive("is not forged with the public key as a secret", () =>
    Effect.gen(function* () {
      const { keys, url } = yield* publisher
      const tokens = yield* verifier({ HELIX_JWT_JWKS_URL: url })
      const { publicKey } = yield* Effect.promise(() => generateKeyPair("RS256"))
      const jwk = yield* Effect.promise(() => exportJWK(publicKey))
      keys.push({ ...jwk, kid: "one", alg: "RS256" })
      const forged = yield* sign({}, new TextEncoder().encode(jwk.n), "HS256", "one")
      const error = yield* Effect.flip(tokens.verify(forged))
      assert.include(error.message, "its algorithm is not one of those that are accepted here")
    })
  )

  it.scopedLive("cannot be judged while the issuer does not answer", () =>
    Effect.gen(function* () {
      const tokens = yield* verifier({ HELIX_JWT_JWKS_URL: "http://127.0.0.1:1/jwks.json" })
      const { privateKey } = yield* Effect.promise(() => generateKeyPair("RS256"))
      const error = yield* Effect.flip(tokens.verify(yield* sign({}, privateKey, "RS256", "one")))
      assert.strictEqual(error._tag, "IdentityProviderUnavailable")
    })
  )
})

const identity = Identity.layer(Redacted.make("sk-stub")).pipe(
  Layer.provide(JsonWebTokens.layer),
  Layer.provide(GatewayConfig.layer),
  Layer.provide(environment({ HELIX_JWT_ISSUER: issuer, HELIX_JWT_AUDIENCE: audience, HELIX_JWT_SECRET: secret })),
  Layer.orDie
)

layer(StubGateway.layer({}, {}, { identity }), { excludeTestServices: true })("A bearer of a token", (it) => {
  it.effect("is served beside bearers of keys, by its scopes", () =>
    Effect.gen(function* () {
      const ask = (path: string, token: string) =>
        Effect.map(request(path, { headers: { authorization: `Bearer ${token}` } }), ({ status, text }) => ({
          status,
          code: JSON.parse(text).error?.code
        }))
      const user = yield* sign()
      assert.strictEqual((yield* ask("/v1/models", user)).status, 200)
      assert.deepStrictEqual(yield* ask("/admin/v1/tree", user), { status: 403, code: "insufficient_permissions" })
      assert.strictEqual((yield* ask("/admin/v1/tree", yield* sign({ scope: "admin" }))).status, 200)
      assert.strictEqual((yield* ask("/v1/models", "sk-stub")).status, 200)
      assert.deepStrictEqual(yield* ask("/v1/models", yield* sign({ exp: 1 })), {
        status: 401,
        code: "invalid_api_key"
      })
    })
  )
})

const hasty = Layer.provide(
  StubGateway.layer({}, {}, { identity }),
  Layer.effect(
    WebSocketLimits,
    Effect.map(WebSocketLimits, (limits) => ({ ...limits, heartbeatMillis: 50 }))
  )
)

layer(hasty, { excludeTestServices: true })("A WebSocket whose bearer is a token", (it) => {
  const open = (token: string) =>
    Effect.gen(function* () {
      const { url } = yield* Target
      return yield* connect(url, { protocols: ["helix", `helix.bearer.${token}`] })
    })

  it.scoped("is opened by its scopes, and closed when the token has expired", () =>
    Effect.gen(function* () {
      const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
      const lasting = yield* open(yield* sign())
      assert.strictEqual((yield* lasting.next).type, "session")
      assert.deepInclude(yield* (yield* open(yield* sign({ scope: "admin" }))).next, { type: "refused", status: 403 })
      assert.deepInclude(yield* (yield* open(yield* sign({ exp: now - 6 }))).next, { type: "refused", status: 401 })
      // what the clocks may differ by is soon over
      const expiring = yield* open(yield* sign({ exp: now - 3 }))
      assert.strictEqual((yield* expiring.next).type, "session")
      assert.deepInclude(yield* expiring.next, { type: "closed", code: 1008 })
      lasting.send({ type: "ping" })
      assert.deepStrictEqual(yield* lasting.next, { type: "pong" })
    })
  )
})

describe("What is configured of tokens", () => {
  it.scoped("is all there, and one of two", () =>
    Effect.gen(function* () {
      const jwks = "https://id.example.com/jwks.json"
      const mistakes = [
        [{}, "HELIX_JWT_JWKS_URL"],
        [{ HELIX_JWT_ISSUER: "", HELIX_JWT_SECRET: secret }, "HELIX_JWT_ISSUER"],
        [{ HELIX_JWT_AUDIENCE: "", HELIX_JWT_SECRET: secret }, "HELIX_JWT_AUDIENCE"],
        [{ HELIX_JWT_SECRET: "short" }, "HELIX_JWT_SECRET"],
        [{ HELIX_JWT_JWKS_URL: "http://id.example.com/jwks.json" }, "HELIX_JWT_JWKS_URL"],
        [{ HELIX_JWT_JWKS_URL: jwks, HELIX_JWT_SECRET: secret }, "HELIX_JWT_SECRET"]
      ] as const
      for (const [variables, name] of mistakes) {
        const error = yield* Effect.flip(verifier(variables))
        assert.include(String(error), name)
        assert.notInclude(String(error), secret)
      }
    })
  )
})
