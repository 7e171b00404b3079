/** Who asks. Keys are compared by their SHA-256 digests in constant time; none is kept or logged as it is. */
import { createHash, timingSafeEqual } from "node:crypto"
import { HttpServerRequest } from "@effect/platform"
import { Attribute } from "@helixflow/runtime/Telemetry"
import { PermissionDenied, Unauthenticated } from "@helixflow/schema/Errors"
import { Context, Effect, Layer, Redacted } from "effect"

/** What a principal may do: `inference` is `/v1`, `admin` is `/admin`, `priority` is to go before others. None contains another. */
export type Scope = "inference" | "admin" | "priority"

/** Whom a request is made by. */
export class Principal extends Context.Tag("@helixflow/gateway/Principal")<
  Principal,
  {
    /** The key or the subject of a token, for logs and traces. */
    readonly id: string
    /** Whose sessions and computed prefixes it may use: nothing is shared between tenants. */
    readonly tenant: string
    readonly scopes: ReadonlySet<Scope>
  }
>() {}

export type PrincipalShape = Context.Tag.Service<Principal>

const scheme = /^Bearer +(\S+) *$/i

const digest = (key: string): Buffer => createHash("sha256").update(key).digest()

const noKey =
  "You didn't provide an API key. Provide it in the Authorization header using Bearer auth " +
  "(i.e. Authorization: Bearer YOUR_KEY)."

export class Identity extends Context.Tag("@helixflow/gateway/Identity")<
  Identity,
  {
    /** The principal of an `Authorization` header field; undefined where the request has none. */
    readonly authenticate: (authorization: string | undefined) => Effect.Effect<PrincipalShape, Unauthenticated>
  }
>() {
  /** One key, whose principal is `bootstrap`. */
  static layerBootstrap(key: Redacted.Redacted<string>): Layer.Layer<Identity> {
    const accepted = digest(Redacted.value(key))
    const bootstrap: PrincipalShape = {
      id: "bootstrap",
      tenant: "bootstrap",
      scopes: new Set<Scope>(["inference", "admin", "priority"])
    }
    return Layer.succeed(Identity, {
      authenticate: (authorization) => {
        const given = authorization === undefined ? null : scheme.exec(authorization)
        if (given?.[1] === undefined) return Effect.fail(new Unauthenticated({ reason: noKey }))
        return timingSafeEqual(digest(given[1]), accepted)
          ? Effect.succeed(bootstrap)
          : Effect.fail(new Unauthenticated({ reason: "Incorrect API key provided." }))
      }
    })
  }
}

/** The principal itself, if it may do this. */
export const requireScope = (
  principal: PrincipalShape,
  scope: Scope
): Effect.Effect<PrincipalShape, PermissionDenied> =>
  principal.scopes.has(scope) ? Effect.succeed(principal) : Effect.fail(new PermissionDenied({ scope }))

/** Runs `handler` for those who may, as `Principal`. The key is checked before a byte of the body is read. */
export const authorized = <A, E, R>(scope: Scope, handler: Effect.Effect<A, E, R>) =>
  Identity.pipe(
    Effect.zipWith(HttpServerRequest.HttpServerRequest, (identity, { headers }) => {
      const { authorization } = headers
      return identity.authenticate(authorization)
    }),
    Effect.flatten,
    Effect.tap(({ id }) => Effect.annotateCurrentSpan(Attribute.endUser, id)),
    Effect.flatMap((principal) => requireScope(principal, scope)),
    Effect.flatMap((principal) => Effect.provideService(handler, Principal, principal))
  )

/** What is behind `/v1`. */
export const authenticated = <A, E, R>(handler: Effect.Effect<A, E, R>) => authorized("inference", handler)
