/** `GET /healthz`: the process lives. `GET /readyz`: requests would be answered now. Neither needs a key. */
import { HttpServerResponse } from "@effect/platform"
import { type Readiness, Runtime } from "@helixflow/runtime/Runtime"
import { Effect, Layer } from "effect"
import { endpoint } from "./Endpoint.ts"
import { Shutdown } from "./Shutdown.ts"

const noStore = { "cache-control": "no-store" }

const healthz = Effect.succeed(HttpServerResponse.unsafeJson({ status: "ok" }, { headers: noStore }))

const stopping: Readiness = { ready: false, waitingFor: ["the server is shutting down"] }

const readyz = Effect.gen(function* () {
  const { ready, waitingFor } = (yield* Shutdown).stopping() ? stopping : yield* (yield* Runtime).readiness
  return HttpServerResponse.unsafeJson(
    { status: ready ? "ready" : "not ready", waiting_for: waitingFor },
    { status: ready ? 200 : 503, headers: noStore }
  )
})

export const layer = Layer.mergeAll(endpoint("GET", "/healthz", healthz), endpoint("GET", "/readyz", readyz))
