/**
 * `GET /healthz`: the process lives. `GET /readyz`: requests would be answered now, and what runs. Neither needs a key, so neither tells
 * which processes there are, and only this machine is told why something failed: such texts may name files and addresses.
 */
import { TLSSocket } from "node:tls"
import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { type Readiness, Runtime } from "@helixflow/runtime/Runtime"
import type { TreeNode } from "@helixflow/runtime/SupervisionTree"
import { Effect, Layer } from "effect"
import { endpoint } from "./Endpoint.ts"
import { Shutdown } from "./Shutdown.ts"

const noStore = { "cache-control": "no-store" }

const healthz = Effect.succeed(HttpServerResponse.unsafeJson({ status: "ok" }, { headers: noStore }))

const stopping: Readiness = { ready: false, waitingFor: ["the server is shutting down"] }

interface PlaceView {
  readonly id: string
  readonly kind: string
  readonly state: string
  readonly restarts: number
  readonly mailbox: number | null
  readonly last_failure?: string | null
  readonly children: ReadonlyArray<PlaceView>
}

const placeView = (node: TreeNode, withFailures: boolean): PlaceView => ({
  id: node.id,
  kind: node.kind,
  state: node.state,
  restarts: node.restarts,
  mailbox: node.mailbox === null ? null : node.mailbox.held,
  ...(withFailures && { last_failure: node.lastFailure }),
  children: node.children.map((child) => placeView(child, withFailures))
})

/** Plain HTTP listens to this machine alone; behind it may be a proxy, which says so. */
const isFromHere = Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
  const { headers, socket } = NodeHttpServerRequest.toIncomingMessage(request)
  const isPassedOn = ["forwarded", "x-forwarded-for", "via"].some((name) => headers[name] !== undefined)
  return !(socket instanceof TLSSocket) && !isPassedOn
})

const readyz = Effect.gen(function* () {
  const runtime = yield* Runtime
  const { ready, waitingFor } = (yield* Shutdown).stopping() ? stopping : yield* runtime.readiness
  const tree = placeView(yield* runtime.tree, yield* isFromHere)
  return HttpServerResponse.unsafeJson(
    { status: ready ? "ready" : "not ready", waiting_for: waitingFor, tree },
    { status: ready ? 200 : 503, headers: noStore }
  )
})

export const layer = Layer.mergeAll(endpoint("GET", "/healthz", healthz), endpoint("GET", "/readyz", readyz))
