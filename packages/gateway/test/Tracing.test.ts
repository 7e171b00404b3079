import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import { GatewayConfig } from "../src/GatewayConfig.ts"
import * as Tracing from "../src/Tracing.ts"
import { environment } from "./environment.ts"
import { stubServer } from "./StubServer.ts"

const tracing = (otlpEndpoint: Option.Option<string>) =>
  Tracing.layer.pipe(
    Layer.provide(GatewayConfig.layer),
    Layer.provide(
      environment(
        Option.match(otlpEndpoint, {
          onNone: () => ({}),
          onSome: (endpoint) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint })
        })
      )
    )
  )

const Attributes = Schema.Array(Schema.Struct({ key: Schema.String, value: Schema.Unknown }))

/** As much of an OTLP export as is looked at. */
const Export = Schema.Struct({
  resourceSpans: Schema.Array(
    Schema.Struct({
      resource: Schema.Struct({ attributes: Attributes }),
      scopeSpans: Schema.Array(
        Schema.Struct({ spans: Schema.Array(Schema.Struct({ name: Schema.String, traceId: Schema.String })) })
      )
    })
  )
})

const work = Effect.withSpan(Effect.withSpan(Effect.void, "inner"), "outer")

describe("traces", () => {
  it.scopedLive("reach the collector, the last of them at the end", () =>
    Effect.gen(function* () {
      const collector = yield* stubServer((_, response) => response.end("{}"))
      yield* Effect.provide(work, tracing(Option.some(collector.url)))
      const [request, ...others] = collector.requests
      expect(others).toEqual([])
      expect(request?.url).toBe("/v1/traces")
      const [sent] = Schema.decodeUnknownSync(Export)(request?.body).resourceSpans
      expect(sent?.resource.attributes).toContainEqual({ key: "service.name", value: { stringValue: "helixflow" } })
      const spans = sent?.scopeSpans.flatMap(({ spans }) => spans) ?? []
      expect(spans.map(({ name }) => name)).toEqual(["inner", "outer"])
      expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(1)
    })
  )

  it.scopedLive("harm nothing while there is no collector", () =>
    Effect.gen(function* () {
      const { url } = yield* Effect.scoped(stubServer((_, response) => response.end()))
      yield* Effect.provide(work, tracing(Option.some(url)))
      yield* Effect.provide(work, tracing(Option.none()))
    })
  )
})
