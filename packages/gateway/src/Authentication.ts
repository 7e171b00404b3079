/** Who asks: the bearer of a key or of a token. Neither is logged; only a WebSocket keeps its own, in memory, to be asked for it again. */
import { timingSafeEqual } from "node:crypto"
import { HttpServerRequest } from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { digestOf } from "@helixflow/runtime/KeyStore"
import { Attribute } from "@helixflow/runtime/Telemetry"
import { type IdentityProviderUnavailable, type StorageUnavailable, Unauthenticated } from "@helixflow/schema/Errors"
import { Clock, Context, Effect, Layer, Option, Redacted, Scope } from "effect"
import { Meter, unlimited } from "./Admission.ts"
import { ApiKeys } from "./ApiKeys.ts"
import { JsonWebTokens } from "./JsonWebTokens.ts"
import { Principal, type Scope as PrincipalScope, type PrincipalShape, requireScope, scopes } from "./Principal.ts"

const scheme = /^Bearer +(\S+) *$/i

const noKey =
  "You didn't provide an API key. Provide it in the Authorization header using Bearer auth " +
  "(i.e. Authorization: Bearer YOUR_KEY)."

export type AuthenticationError = Unauthenticated | StorageUnavailable | IdentityProviderUnavailable

export class Identity extends Context.Tag("@helixflow/gateway/Identity")<
  Identity,
  {
    /** The principal of an `Authorization` header field; undefined where the request has none. */
    readonly authenticate: (authorization: string | undefined) => Effect.Effect<PrincipalShape, AuthenticationError>
  }
>() {
  /** The first key alone. */
  static layerBootstrap(bootstrapKey: Redacted.Redacted): Layer.Layer<Identity> {
    return Layer.succeed(Identity, {
      authenticate: recognise(bootstrapKey, () => incorrect)
    })
  }

  /** The first key, those of the database, and JSON Web Tokens. */
  static layer(bootstrapKey: Redacted.Redacted): Layer.Layer<Identity, never, ApiKeys | JsonWebTokens> {
    return Layer.effect(
      Identity,
      Effect.zipWith(ApiKeys, JsonWebTokens, (keys, tokens) => ({
        authenticate: recognise(
          bootstrapKey,
          (credential): Effect.Effect<PrincipalShape, AuthenticationError> =>
            tokens.resembles(credential)
              ? tokens.verify(credential)
              : Effect.flatMap(
                  keys.recognise(credential),
                  Option.match({ onNone: () => incorrect, onSome: Effect.succeed })
                )
        )
      }))
    )
  }
}

const incorrect = Effect.fail(new Unauthenticated({ reason: "Incorrect API key provided." }))

/** The bearer's credential, which is the first key or what `otherwise` knows; digests are compared in constant time. */
const recognise = (
  bootstrapKey: Redacted.Redacted,
  otherwise: (credential: string) => Effect.Effect<PrincipalShape, AuthenticationError>
) => {
  const accepted = Buffer.from(digestOf(Redacted.value(bootstrapKey)))
  const bootstrap = { id: "bootstrap", tenant: "bootstrap", scopes: new Set(scopes), weight: 1, admission: unlimited }
  return (authorization: string | undefined): Effect.Effect<PrincipalShape, AuthenticationError> => {
    const credential = authorization === undefined ? undefined : scheme.exec(authorization)?.[1]
    if (credential === undefined) return Effect.fail(new Unauthenticated({ reason: noKey }))
    return timingSafeEqual(Buffer.from(digestOf(credential)), accepted)
      ? Effect.succeed(bootstrap)
      : otherwise(credential)
  }
}

/** The principal of the request at hand. */
const principalOfRequest = Effect.gen(function* () {
  const { authorization } = (yield* HttpServerRequest.HttpServerRequest).headers
  const principal = yield* (yield* Identity).authenticate(authorization)
  yield* Effect.annotateCurrentSpan(Attribute.endUser, principal.id)
  return principal
})

/** Runs `handler` for those who may, as `Principal`. The key is checked before a byte of the body is read. */
export const authorized = <A, E, R>(scope: PrincipalScope, handler: Effect.Effect<A, E, R>) =>
  Effect.flatMap(principalOfRequest, (principal) =>
    Effect.zipRight(requireScope(principal, scope), Effect.provideService(handler, Principal, principal))
  )

/** Runs `handler` within the limits of its principal, and tells in header fields how it stands with them. */
const admitted = <A, E, R>(handler: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const { admission } = yield* Principal
    if (admission === unlimited) return yield* handler
    const now = yield* Clock.currentTimeMillis
    const lease = admission.enter(now)
    const response = NodeHttpServerRequest.toServerResponse(yield* HttpServerRequest.HttpServerRequest)
    for (const [name, value] of Object.entries(admission.headers(now))) response.setHeader(name, value)
    if (lease._tag === "RateLimitExceeded") return yield* lease
    yield* Scope.addFinalizer(yield* Effect.scope, Effect.sync(lease.release))
    return yield* Effect.provideService(handler, Meter, lease)
  })

/** What is behind `/v1`. What computes something (a POST) counts against the limits of its key. */
export const authenticated = <A, E, R>(handler: Effect.Effect<A, E, R>) => {
  const limited = admitted(handler)
  return authorized(
    "inference",
    Effect.flatMap(
      HttpServerRequest.HttpServerRequest,
      ({ method }): Effect.Effect<A, Effect.Effect.Error<typeof limited>, Effect.Effect.Context<typeof limited>> =>
        method === "POST" ? limited : handler
    )
  )
}
