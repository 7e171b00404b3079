import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { unlimited } from "../src/Admission.ts"
import { Principal, type Scope } from "../src/Principal.ts"
import { queueing } from "../src/Queueing.ts"

const as = (...scopes: ReadonlyArray<Scope>) =>
  Effect.provideService(Principal, {
    id: "key-1",
    tenant: "acme",
    scopes: new Set(scopes),
    weight: 3,
    admission: unlimited
  })

describe("A request's place in the queue", () => {
  it.effect("counts to the key's tenant, and is the default tier's for a minute", () =>
    Effect.gen(function* () {
      const { caller, queueTimeout } = yield* queueing({}).pipe(as("inference"))
      assert.deepInclude(caller, { tenant: "acme", tier: "default", weight: 3 })
      assert.notProperty(caller, "keepAlive")
      assert.strictEqual(queueTimeout, 60_000)
    })
  )

  it.effect("may go behind others, and is held as long as its client says", () =>
    Effect.gen(function* () {
      const { caller, queueTimeout } = yield* queueing({ service_tier: "flex", queue_timeout: 2.5 }).pipe(
        as("inference")
      )
      assert.strictEqual(caller.tier, "flex")
      assert.strictEqual(queueTimeout, 2500)
      assert.strictEqual((yield* queueing({ service_tier: "auto" }).pipe(as("inference"))).caller.tier, "default")
    })
  )

  it.effect("says how long the model is kept after it, where its client does", () =>
    Effect.gen(function* () {
      for (const keepAlive of [0, 60_000, "forever"] as const) {
        assert.deepInclude((yield* queueing({ keep_alive: keepAlive }).pipe(as("inference"))).caller, { keepAlive })
      }
      assert.notProperty((yield* queueing({ keep_alive: null }).pipe(as("inference"))).caller, "keepAlive")
    })
  )

  it.effect("goes before others only with a key that may", () =>
    Effect.gen(function* () {
      const asked = queueing({ service_tier: "priority" })
      const refused = yield* Effect.flip(asked.pipe(as("inference", "admin")))
      assert.strictEqual(refused._tag, "PermissionDenied")
      assert.strictEqual((yield* asked.pipe(as("inference", "priority"))).caller.tier, "priority")
    })
  )
})
