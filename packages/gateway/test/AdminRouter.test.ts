import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "@effect/platform"
import { assert, layer } from "@effect/vitest"
import { ModelNotFound } from "@helixflow/schema/Errors"
import { Effect, Layer, Schema } from "effect"
import * as AdminRouter from "../src/AdminRouter.ts"
import { unlimited } from "../src/Admission.ts"
import { Identity } from "../src/Authentication.ts"
import { Principal, type Scope } from "../src/Principal.ts"
import * as StubGateway from "./StubGateway.ts"
import { request } from "./Target.ts"

const Thing = Schema.Struct({ id: Schema.String, size: Schema.Int, by: Schema.String })

const ThingsApi = HttpApiGroup.make("things")
  .add(
    HttpApiEndpoint.get("list", "/admin/v1/things")
      .setUrlParams(Schema.Struct({ limit: Schema.optional(Schema.NumberFromString.pipe(Schema.int())) }))
      .addSuccess(Schema.Array(Thing))
  )
  .add(
    HttpApiEndpoint.post("make", "/admin/v1/things")
      .setPayload(Schema.Struct({ id: Schema.String, size: Schema.Int }))
      .addSuccess(Thing, { status: 201 })
  )
  .add(
    HttpApiEndpoint.del("remove", "/admin/v1/things/:id")
      .setPath(Schema.Struct({ id: Schema.String }))
      .addSuccess(HttpApiSchema.NoContent)
  )

const things = AdminRouter.implement(ThingsApi, {
  list: ({ urlParams: { limit = 2 } }) =>
    Effect.succeed(Array.from({ length: limit }, (_, size) => ({ id: "thing", size, by: "nobody" }))),
  make: ({ payload }) => Effect.map(Principal, ({ id }) => ({ ...payload, by: id })),
  remove: ({ path }) => (path.id === "a/b#0" ? Effect.void : Effect.fail(new ModelNotFound({ model: path.id })))
})

const errorOf = (text: string) => JSON.parse(text).error

layer(StubGateway.layer({}, {}, { routes: things }), { excludeTestServices: true })(
  "A group of the admin API",
  (it) => {
    it.effect("is served as it is defined", () =>
      Effect.gen(function* () {
        const list = yield* request("/admin/v1/things?limit=1")
        assert.deepStrictEqual(JSON.parse(list.text), [{ id: "thing", size: 0, by: "nobody" }])
        assert.strictEqual(list.headers.get("cache-control"), "no-store")
        const made = yield* request("/admin/v1/things", { json: { id: "x", size: 3 } })
        assert.strictEqual(made.status, 201)
        assert.deepStrictEqual(JSON.parse(made.text), { id: "x", size: 3, by: "bootstrap" })
        const removed = yield* request(`/admin/v1/things/${encodeURIComponent("a/b#0")}`, { method: "DELETE" })
        assert.deepInclude(removed, { status: 204, text: "" })
      })
    )

    it.effect("fails in the shape of /v1, naming the parameter", () =>
      Effect.gen(function* () {
        const refusals = [
          [{ json: { id: "x", size: "3" } }, "size", "invalid_type"],
          [{ json: { id: "x" } }, "size", "missing_required_parameter"],
          [{ json: { id: "x", size: 3, colour: "red" } }, "colour", "unknown_parameter"],
          [{ method: "POST", body: "{" }, null, null]
        ] as const
        for (const [init, param, code] of refusals) {
          const { status, text } = yield* request("/admin/v1/things", init)
          assert.strictEqual(status, 400)
          assert.deepInclude(errorOf(text), { type: "invalid_request_error", param, code })
        }
        const queries = [
          ["/admin/v1/things?limit=many", "GET", "limit", "invalid_value"],
          ["/admin/v1/things?color=red", "GET", "color", "unknown_parameter"],
          ["/admin/v1/things/x?color=red", "DELETE", "color", "unknown_parameter"]
        ] as const
        for (const [path, method, param, code] of queries) {
          const { status, text } = yield* request(path, { method })
          assert.strictEqual(status, 400, path)
          assert.deepInclude(errorOf(text), { param, code })
        }
        const gone = yield* request("/admin/v1/things/x", { method: "DELETE" })
        assert.strictEqual(gone.status, 404)
        assert.strictEqual(errorOf(gone.text).code, "model_not_found")
      })
    )

    it.effect("refuses methods that its path does not have", () =>
      Effect.gen(function* () {
        const { headers, status } = yield* request("/admin/v1/things", { method: "DELETE" })
        assert.strictEqual(status, 405)
        assert.strictEqual(headers.get("allow"), "GET, POST, HEAD")
      })
    )

    it.effect("wants a key before it says anything of a request", () =>
      Effect.gen(function* () {
        for (const authorization of ["", "Bearer wrong"]) {
          const { status } = yield* request("/admin/v1/things", { json: {}, headers: { authorization } })
          assert.strictEqual(status, 401)
        }
      })
    )
  }
)

const only = (scope: Scope) =>
  Layer.succeed(Identity, {
    authenticate: () =>
      Effect.succeed({ id: "k", tenant: "k", scopes: new Set([scope]), weight: 1, admission: unlimited })
  })

layer(StubGateway.layer({}, {}, { routes: things, identity: only("inference") }), { excludeTestServices: true })(
  "A key without the scope `admin`",
  (it) => {
    it.effect("is refused by the admin API and taken by the other", () =>
      Effect.gen(function* () {
        const { status, text } = yield* request("/admin/v1/things", { json: {} })
        assert.strictEqual(status, 403)
        assert.strictEqual(errorOf(text).code, "insufficient_permissions")
        assert.include(errorOf(text).message, "admin")
        assert.strictEqual((yield* request("/v1/models")).status, 200)
      })
    )
  }
)

layer(StubGateway.layer({}, {}, { identity: only("admin") }), { excludeTestServices: true })(
  "A key with the scope `admin` alone",
  (it) => {
    it.effect("is refused where models are asked", () =>
      Effect.gen(function* () {
        for (const path of ["/v1/models", "/v1/chat/completions"]) {
          const { status, text } = yield* request(path, path === "/v1/models" ? {} : { json: {} })
          assert.strictEqual(status, 403)
          assert.include(errorOf(text).message, "inference")
        }
        assert.strictEqual((yield* request("/admin/v1/tree")).status, 200)
      })
    )
  }
)
