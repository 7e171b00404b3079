/** Every other server whose models are served here. */
import { HttpClient } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import { RuntimeConfig } from "@helixflow/runtime/RuntimeConfig"
import { Services } from "@helixflow/runtime/Services"
import { Context, Effect, Layer } from "effect"
import * as Upstream from "./Upstream.ts"
import * as UpstreamSettings from "./UpstreamSettings.ts"

/** Where a request for a model goes. */
export interface Route {
  readonly upstream: Upstream.Upstream
  readonly model: Upstream.UpstreamModel
}

export interface UpstreamsShape {
  /** Sorted by their folders' paths. */
  readonly all: ReadonlyArray<Upstream.Upstream>
  /** By the model's name here; of two upstreams with the same the earlier has it. */
  readonly find: (model: string) => Route | undefined
}

const none: UpstreamsShape = { all: [], find: () => undefined }

export class Upstreams extends Context.Reference<Upstreams>()("@helixflow/gateway/Upstreams", {
  defaultValue: (): UpstreamsShape => none
}) {
  /** Those that the models directories have. They are asked for their models from the start, and waited for by nobody. */
  static readonly layer: Layer.Layer<never, never, RuntimeConfig | Services> = Layer.scoped(
    Upstreams,
    Effect.gen(function* () {
      const { modelsDirs } = yield* RuntimeConfig
      const folders = yield* UpstreamSettings.read(modelsDirs)
      const http = yield* HttpClient.HttpClient
      const all = folders.map((folder) => Upstream.make(folder, http))
      const services = yield* Services
      yield* Effect.forEach(all, ({ name, watch }, n) => services.add(`upstream/${name}#${n}`, watch), {
        discard: true
      })
      return {
        all,
        find: (name: string): Route | undefined => {
          for (const upstream of all) {
            const model = upstream.models().find(({ id }) => id === name)
            if (model !== undefined) return { upstream, model }
          }
          return undefined
        }
      }
    })
  ).pipe(Layer.provide(NodeHttpClient.layerUndici))
}
