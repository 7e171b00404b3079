import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as StubGateway from "./StubGateway.ts"
import { request } from "./Target.ts"

const node = { id: "local", kind: "node", state: "running", restarts: 0, mailbox: null, children: [] }
const tree = { ...node, last_failure: null }

const probe = (path: string, init: RequestInit = {}) =>
  Effect.map(request(path, init), ({ headers, status, text }) => ({
    status,
    stored: headers.get("cache-control") !== "no-store",
    body: text === "" ? null : JSON.parse(text)
  }))

layer(StubGateway.layer(), { excludeTestServices: true })("A server that is ready", (it) => {
  it.effect("says so", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* probe("/healthz"), { status: 200, stored: false, body: { status: "ok" } })
      const ready = { status: 200, stored: false, body: { status: "ready", waiting_for: [], tree } }
      assert.deepStrictEqual(yield* probe("/readyz"), ready)
    })
  )

  it.effect("tells who asks through a proxy nothing of failures", () =>
    Effect.gen(function* () {
      for (const headers of [{ "x-forwarded-for": "1.2.3.4" }, { forwarded: "for=1.2.3.4" }, { via: "1.1 proxy" }]) {
        const { body } = yield* probe("/readyz", { headers })
        assert.deepStrictEqual(body, { status: "ready", waiting_for: [], tree: node })
      }
    })
  )
})

const waiting = StubGateway.layer({ waitingFor: ["helix-demo is not loaded yet"] })

layer(waiting, { excludeTestServices: true })("A server that is not ready", (it) => {
  it.effect("lives, and says what it waits for", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* probe("/healthz")).status, 200)
      assert.deepStrictEqual(yield* probe("/readyz"), {
        status: 503,
        stored: false,
        body: { status: "not ready", waiting_for: ["helix-demo is not loaded yet"], tree }
      })
      assert.deepStrictEqual(yield* probe("/readyz", { method: "HEAD" }), { status: 503, stored: false, body: null })
    })
  )
})
