/**
 * JSON Web Tokens (RFC 7519) of an issuer that the operator trusts. What is accepted is pinned by the configuration and never taken from
 * the token: the issuer, the audience, and which algorithms (HS256 with a secret, asymmetric ones with the issuer's published keys).
 */
import { IdentityProviderUnavailable, Unauthenticated } from "@helixflow/schema/Errors"
import { Clock, Context, Effect, Layer, Option, Redacted } from "effect"
import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose"
import { unlimited } from "./Admission.ts"
import { GatewayConfig, type TokenPolicy } from "./GatewayConfig.ts"
import { type PrincipalShape, scopes } from "./Principal.ts"

/** Of the issuer's published keys; what is symmetric or unsigned is not among them. */
const asymmetric = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]

/** The issuer's clock may differ from ours by this much, in seconds. */
const tolerance = 5

const shape = /^[\w-]+\.[\w-]+\.[\w-]*$/

export class JsonWebTokens extends Context.Tag("@helixflow/gateway/JsonWebTokens")<
  JsonWebTokens,
  {
    /** Whether this is to be taken for one; never, where none are accepted. */
    readonly resembles: (credential: string) => boolean
    /** The principal is `jwt:` and the subject, with the scopes of the claim `scope` that are known here. */
    readonly verify: (token: string) => Effect.Effect<PrincipalShape, Unauthenticated | IdentityProviderUnavailable>
  }
>() {
  static readonly layer: Layer.Layer<JsonWebTokens, never, GatewayConfig> = Layer.effect(
    this,
    Effect.map(GatewayConfig, ({ jwt }) =>
      Option.match(jwt, {
        onNone: () => ({
          resembles: () => false,
          verify: () => Effect.fail(new Unauthenticated({ reason: "Tokens are not accepted." }))
        }),
        onSome: make
      })
    )
  )
}

const principalOf = ({ scope, sub }: JWTPayload): Effect.Effect<PrincipalShape, Unauthenticated> => {
  if (sub === undefined || sub === "") return refused("it has no subject (`sub`)")
  const granted = new Set(typeof scope === "string" ? scope.split(" ") : [])
  return Effect.succeed({
    id: `jwt:${sub}`,
    tenant: `jwt:${sub}`,
    scopes: new Set(scopes.filter((known) => granted.has(known))),
    weight: 1,
    admission: unlimited
  })
}

const refused = (reason: string) =>
  Effect.fail(new Unauthenticated({ reason: `The token is not accepted: ${reason}.` }))

/** What is wrong with a token, in words that hold nothing of it. */
const explain = (error: unknown): Effect.Effect<never, Unauthenticated | IdentityProviderUnavailable> => {
  if (error instanceof errors.JWTExpired) return refused("it has expired")
  if (error instanceof errors.JWTClaimValidationFailed) return refused(claimReason(error))
  if (error instanceof errors.JWSSignatureVerificationFailed) return refused("its signature is not valid")
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported) {
    return refused("its algorithm is not one of those that are accepted here")
  }
  if (error instanceof errors.JWKSNoMatchingKey)
    return refused("its issuer has published no key that it is signed with")
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return refused("it does not say which key (`kid`) it is signed with")
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) return refused("it is malformed")
  if (error instanceof errors.JWKSTimeout) return unavailable("no answer in time")
  return unavailable("they could not be fetched")
}

const unavailable = (reason: string) => Effect.fail(new IdentityProviderUnavailable({ reason }))

const claimReason = ({ claim, reason }: errors.JWTClaimValidationFailed): string => {
  if (reason === "missing") return `it has no claim \`${claim}\``
  switch (claim) {
    case "iss":
      return "it is of another issuer"
    case "aud":
      return "it is for another audience"
    case "nbf":
      return "it is not valid yet"
    default:
      return `its claim \`${claim}\` is not valid`
  }
}

const make = ({ audience, issuer, trust }: TokenPolicy): Context.Tag.Service<JsonWebTokens> => {
  const claims = { issuer, audience, requiredClaims: ["exp", "sub"], clockTolerance: tolerance }
  const keySet: JWTVerifyGetKey | null = trust._tag === "KeySet" ? createRemoteJWKSet(trust.url) : null
  const secret = trust._tag === "Secret" ? new TextEncoder().encode(Redacted.value(trust.secret)) : new Uint8Array()
  const check = (token: string, now: number) => {
    const currentDate = new Date(now)
    return keySet === null
      ? jwtVerify(token, secret, { ...claims, currentDate, algorithms: ["HS256"] })
      : jwtVerify(token, keySet, { ...claims, currentDate, algorithms: asymmetric })
  }
  return {
    resembles: (credential) => shape.test(credential),
    verify: (token) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.tryPromise({ try: () => check(token, now), catch: (error) => error })
      ).pipe(
        Effect.catchAll(explain),
        Effect.flatMap(({ payload }) => principalOf(payload))
      )
  }
}
