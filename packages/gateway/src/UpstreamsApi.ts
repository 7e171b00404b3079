/** `/admin/v1/upstreams`: other servers whose models are served here, as they stand. */
import { HttpApiEndpoint, HttpApiGroup } from "@effect/platform"
import { Schema } from "effect"

export const UpstreamView = Schema.Struct({
  name: Schema.String,
  url: Schema.String,
  /** `closed`: it is asked; `open`: it is left alone; `half_open`: one request tries it. */
  breaker: Schema.Literal("closed", "open", "half_open"),
  models: Schema.Array(Schema.String),
  last_failure: Schema.NullOr(Schema.String)
})

export const UpstreamList = Schema.Struct({ object: Schema.Literal("list"), data: Schema.Array(UpstreamView) })

export const UpstreamsApi = HttpApiGroup.make("upstreams").add(
  HttpApiEndpoint.get("list", "/admin/v1/upstreams").addSuccess(UpstreamList)
)
