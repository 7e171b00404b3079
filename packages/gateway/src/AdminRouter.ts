/**
 * Serves what a group of the admin API defines. The definition is an `HttpApiGroup`: methods, paths and Schemas, as data (`*Api.ts`).
 * It is served by our own router rather than by `HttpApiBuilder`, so that the operators' API has around its handlers what `/v1` has:
 * the same errors and their wording, limits on bodies, refusals by name, request ids and measures.
 *
 * ```ts
 * // TreeApi.ts
 * export const TreeApi = HttpApiGroup.make("tree").add(HttpApiEndpoint.get("show", "/admin/v1/tree").addSuccess(TreeView))
 * // TreeRoutes.ts
 * export const layer = AdminRouter.implement(TreeApi, { show: () => Effect.map(Runtime, toView) })
 * ```
 *
 * Handlers have the `Principal`; only keys with the scope `admin` get that far.
 */
import {
  type HttpApiEndpoint,
  type HttpApiGroup,
  HttpApiSchema,
  HttpLayerRouter,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { InvalidRequest, type PayloadTooLarge, type UnsupportedMediaType } from "@helixflow/schema/Errors"
import { Effect, Layer, Option, ParseResult, Schema, SchemaAST } from "effect"
import { authorized } from "./Authentication.ts"
import { type Method, resource } from "./Endpoint.ts"
import type { HelixError } from "./OpenAiErrors.ts"
import { toInvalidRequest } from "./ParameterIssue.ts"
import { decodeBody } from "./RequestBody.ts"

type AnyEndpoint = HttpApiEndpoint.HttpApiEndpoint.Any

/** One for each endpoint, by its name: from the decoded parameters to what the endpoint's success schema encodes. */
type Handlers<Endpoints extends AnyEndpoint, Needs> = {
  readonly [Name in keyof Needs]: HttpApiEndpoint.HttpApiEndpoint.HandlerWithName<
    Endpoints,
    Name & string,
    HelixError,
    Needs[Name]
  >
}

/** An endpoint whose parameters' types are its handler's business. Admin schemas need no services. */
interface Definition {
  readonly name: string
  readonly method: Method
  readonly path: HttpLayerRouter.PathInput
  readonly pathSchema: Option.Option<Schema.Schema<unknown, unknown>>
  readonly urlParamsSchema: Option.Option<Schema.Schema<unknown, unknown>>
  readonly payloadSchema: Option.Option<Schema.Schema<unknown, unknown>>
  readonly successSchema: Schema.Schema<unknown, unknown>
}

type Parameters = { [name in "path" | "urlParams" | "payload"]?: unknown }
type Handler<R> = (parameters: Parameters) => Effect.Effect<unknown, HelixError, R>

/** Parameters that a schema does not have are refused. (An empty `Struct` takes any, so it can't say "none".) */
const strictly = (schema: Option.Option<Schema.Schema<unknown, unknown>>) =>
  Option.match(schema, {
    onNone: () => (input: object) => {
      const [param] = Object.keys(input)
      return param === undefined
        ? Effect.succeed(input)
        : Effect.fail(
            new InvalidRequest({ reason: `Unknown parameter: '${param}'.`, param, code: "unknown_parameter" })
          )
    },
    onSome: (schema) => {
      const decode = ParseResult.decodeUnknown(schema, { errors: "first", onExcessProperty: "error" })
      return (input: object): Effect.Effect<unknown, InvalidRequest> => Effect.mapError(decode(input), toInvalidRequest)
    }
  })

/** Of several kinds of answers each has its own status. */
const statusOf = ({ ast }: Schema.Schema<unknown, unknown>): ((answer: unknown) => number) => {
  const common = HttpApiSchema.getStatusSuccessAST(ast)
  if (!SchemaAST.isUnion(ast)) return () => common
  const kinds = ast.types.map((kind) => ({
    holds: Schema.is(Schema.make(kind)),
    status: HttpApiSchema.getStatusSuccessAST(kind)
  }))
  return (answer) => kinds.find(({ holds }) => holds(answer))?.status ?? common
}

const noPayload: Effect.Effect<undefined> = Effect.succeed(undefined)

/** What goes before a handler and after it. */
const handle = <R>(endpoint: Definition, handler: Handler<R>) => {
  const decodePath = strictly(endpoint.pathSchema)
  const decodeUrlParams = strictly(endpoint.urlParamsSchema)
  const payload: Effect.Effect<
    unknown,
    InvalidRequest | PayloadTooLarge | UnsupportedMediaType,
    HttpServerRequest.HttpServerRequest
  > = Option.match(endpoint.payloadSchema, { onNone: () => noPayload, onSome: decodeBody })
  const encode = Schema.encode(endpoint.successSchema)
  const statusFor = statusOf(endpoint.successSchema)
  return Effect.gen(function* () {
    const parameters = {
      path: yield* decodePath(yield* HttpLayerRouter.params),
      urlParams: yield* decodeUrlParams(yield* HttpServerRequest.ParsedSearchParams),
      payload: yield* payload
    }
    const answer = yield* handler(parameters)
    const status = statusFor(answer)
    const body = yield* Effect.orDie(encode(answer))
    return body === undefined
      ? HttpServerResponse.empty({ status })
      : HttpServerResponse.unsafeJson(body, { status, headers: { "cache-control": "no-store" } })
  }).pipe((handled) => authorized("admin", handled))
}

/** The routes of a group. */
export const implement = <
  Id extends string,
  Endpoints extends AnyEndpoint,
  E,
  Needs extends Readonly<Record<HttpApiEndpoint.HttpApiEndpoint.Name<Endpoints>, unknown>>
>(
  group: HttpApiGroup.HttpApiGroup<Id, Endpoints, E>,
  handlers: Handlers<Endpoints, Needs>
) => {
  // `HttpApiEndpoint` is a union of types per method and keeps its parameters' types; each meets its own handler below, by name
  const endpoints = Object.values(group.endpoints) as unknown as ReadonlyArray<Definition>
  const byName = handlers as unknown as Readonly<Record<string, Handler<Needs[keyof Needs]>>>
  const routesOf = (path: HttpLayerRouter.PathInput) => {
    const methods = new Map<Method, ReturnType<typeof handle<Needs[keyof Needs]>>>()
    for (const endpoint of endpoints) {
      const handler = byName[endpoint.name]
      if (endpoint.path === path && handler !== undefined) methods.set(endpoint.method, handle(endpoint, handler))
    }
    return resource(path, methods)
  }
  const [first = Layer.empty, ...others] = Array.from(new Set(endpoints.map(({ path }) => path)), routesOf)
  return Layer.mergeAll(first, ...others)
}
