/** Whom a request is made by, and what they may do. */
import { PermissionDenied } from "@helixflow/schema/Errors"
import { Context, Effect } from "effect"
import type { Admission } from "./Admission.ts"

/** `inference` is `/v1`, `admin` is `/admin`, `priority` is to go before others. None contains another. */
export const scopes = ["inference", "admin", "priority"] as const
export type Scope = (typeof scopes)[number]

export class Principal extends Context.Tag("@helixflow/gateway/Principal")<
  Principal,
  {
    /** The key or the subject of a token, for logs and traces. */
    readonly id: string
    /** Whose sessions and computed prefixes it may use: nothing is shared between tenants. */
    readonly tenant: string
    readonly scopes: ReadonlySet<Scope>
    /** How large its share of a model is beside others' while they compete. */
    readonly weight: number
    /** Whether it may make a request now. */
    readonly admission: Admission
  }
>() {}

export type PrincipalShape = Context.Tag.Service<Principal>

/** The principal itself, if it may do this. */
export const requireScope = (
  principal: PrincipalShape,
  scope: Scope
): Effect.Effect<PrincipalShape, PermissionDenied> =>
  principal.scopes.has(scope) ? Effect.succeed(principal) : Effect.fail(new PermissionDenied({ scope }))
