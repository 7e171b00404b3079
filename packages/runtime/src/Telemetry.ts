/**
 * Every name that HelixFlow's telemetry has: attributes, spans and metrics. They follow OpenTelemetry's semantic conventions for
 * generative AI (https://opentelemetry.io/docs/specs/semconv/gen-ai/) and HTTP where these have a name, and are `helixflow.*` where not.
 */
import type { Device, DeviceReading } from "@helixflow/schema/Device"
import { Metric, MetricBoundaries, MetricKey, type MetricKeyType, MetricLabel } from "effect"

export const Attribute = {
  endUser: "enduser.id",
  errorType: "error.type",
  httpMethod: "http.request.method",
  httpRoute: "http.route",
  httpStatus: "http.response.status_code",
  operation: "gen_ai.operation.name",
  provider: "gen_ai.provider.name",
  responseId: "gen_ai.response.id",
  requestModel: "gen_ai.request.model",
  responseModel: "gen_ai.response.model",
  inputTokens: "gen_ai.usage.input_tokens",
  cachedTokens: "gen_ai.usage.cache_read.input_tokens",
  outputTokens: "gen_ai.usage.output_tokens",
  tokenType: "gen_ai.token.type",
  requestId: "helixflow.request.id",
  attempt: "helixflow.attempt",
  continuedFrom: "helixflow.continued_from",
  alone: "helixflow.alone",
  upstream: "helixflow.upstream",
  direction: "helixflow.direction",
  session: "session.id"
} as const

/** A request on a WebSocket, as that of HTTP is called by its method and route. */
export const webSocketSpan = (type: string): string => `WS ${type}`

/** An event of the span that a request is computed in: it makes way for another tenant's, and goes on in a span `SessionActor.resume`. */
export const preemptedEvent = "helixflow.preempted"

/** `gen_ai.operation.name`. */
export type Operation = "chat" | "text_completion" | "embeddings" | "rerank" | "score" | "classify"

/** `gen_ai.provider.name`. */
export const provider = "helixflow"

/** The tag is what Effect's OpenTelemetry bridge takes for the metric's unit. It is part of the key, which makes updates cheap. */
const seconds = (name: string, description: string, boundaries: ReadonlyArray<number>) =>
  Metric.fromMetricKey(
    MetricKey.tagged(MetricKey.histogram(name, MetricBoundaries.fromIterable(boundaries), description), "unit", "s")
  )

/** Boundaries as the conventions advise them for each metric. */
export const httpServerRequestDuration = seconds(
  "http.server.request.duration",
  "Duration of HTTP requests until the last byte of the answer was handed over, or the client had gone",
  [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
)

/** Goes up and down. */
export const httpServerActiveRequests = Metric.counter("http.server.active_requests", {
  description: "HTTP requests in progress"
})

export const serverRequestDuration = seconds(
  "gen_ai.server.request.duration",
  "Duration of generations and embeddings, from their start to their end",
  [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
)

export const serverTimeToFirstToken = seconds(
  "gen_ai.server.time_to_first_token",
  "Time from the start of a generation to its first token",
  [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
)

export const serverTimePerOutputToken = seconds(
  "gen_ai.server.time_per_output_token",
  "Time per token after a generation's first",
  [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5]
)

export const tokens = Metric.counter("helixflow.tokens", {
  description: "Tokens of prompts (input) and of completions (output)",
  incremental: true
})

/** Apart from `helixflow.tokens`, whose sum would count them twice. */
export const cachedTokens = Metric.counter("helixflow.prompt.cached_tokens", {
  description: "Tokens of prompts that did not have to be computed, as they had been before",
  incremental: true
})

/** Requests are counted by the duration's histogram, once each however often they continue. */
export const continuations = Metric.counter("helixflow.continuations", {
  description: "Times that a request was placed anew since it had lost its worker or its place",
  incremental: true
})

/** Apart from `helixflow.continuations`: nothing was lost. */
export const preemptions = Metric.counter("helixflow.preemptions", {
  description: "Times that a request made way for one of a tenant that had less of the model, to go on later",
  incremental: true
})

export const continuationDuration = seconds(
  "helixflow.continuation.duration",
  "Time from the loss of a worker to the next token",
  [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5, 10, 30, 60, 120]
)

export const fallbacks = Metric.counter("helixflow.fallbacks", {
  description: "Requests that another model answered, since the one asked for could not be had",
  incremental: true
})

export const quarantined = Metric.counter("helixflow.quarantined", {
  description: "Requests that were found to kill workers",
  incremental: true
})

/** Goes up and down. */
export const webSocketConnections = Metric.counter("helixflow.websocket.connections", {
  description: "WebSocket connections that are open"
})

export const webSocketMessages = Metric.counter("helixflow.websocket.messages", {
  description: "Messages of WebSocket connections, received and sent",
  incremental: true
})

/**
 * A metric by the values of its attributes, as a function that updates it. Effect finds a metric by the identity of its list of
 * tags, or else by hashing all of them: each combination's list is kept, and what is left for an update is a string key.
 * Attributes must have few values: none may come from a client unchecked.
 */
export const byAttributes = <Type extends MetricKeyType.MetricKeyType<In, Out>, In, Out>(
  metric: Metric.Metric<Type, In, Out>,
  names: ReadonlyArray<string>
): ((value: In, ...attributes: ReadonlyArray<string>) => void) => {
  const known = new Map<string, ReadonlyArray<MetricLabel.MetricLabel>>()
  return (value, ...attributes) => {
    const key = attributes.join("\n")
    let labels = known.get(key)
    if (labels === undefined) {
      labels = names.map((name, index) => MetricLabel.make(name, attributes[index] ?? ""))
      known.set(key, labels)
    }
    metric.unsafeUpdate(value, labels)
  }
}

/** A gauge in the unit that Effect's OpenTelemetry bridge takes from the tag; "1" has none in Prometheus's names. */
const gauge = (name: string, unit: string, description: string) =>
  Metric.fromMetricKey(MetricKey.tagged(MetricKey.gauge(name, { description }), "unit", unit))

const deviceMetric = {
  total: gauge("helixflow.device.memory.total", "By", "Memory of the device that may be claimed"),
  free: gauge(
    "helixflow.device.memory.free",
    "By",
    "Memory that may be claimed now: neither claimed nor taken by strangers"
  ),
  claimed: gauge(
    "helixflow.device.memory.claimed",
    "By",
    "Memory charged to what is loaded: claimed, or taken where that is more"
  ),
  deficit: gauge("helixflow.device.memory.deficit", "By", "Memory that is missing for what is claimed"),
  reported: gauge("helixflow.device.memory.reported_free", "By", "Memory that is free by the device's own word"),
  utilization: gauge("helixflow.device.utilization", "1", "Share of the time that the device computed lately"),
  temperature: gauge("helixflow.device.temperature", "Cel", "Temperature of the device"),
  power: gauge("helixflow.device.power", "W", "Power that the device draws"),
  eccErrors: gauge(
    "helixflow.device.ecc_errors",
    "1",
    "Memory errors that could not be corrected since the driver was loaded"
  )
}

/** Goes up and down. */
export const prefixCacheUsed = Metric.fromMetricKey(
  MetricKey.tagged(
    MetricKey.counter("helixflow.prefix_cache.used", {
      description: "Keys and values of prompts that are kept for others that begin alike"
    }),
    "unit",
    "By"
  )
)

/** The metrics of one device, as functions that take its latest figures. What a device does not say is not there. */
export const deviceGauges = (device: Device) => {
  const labels = [MetricLabel.make("device", device.id), MetricLabel.make("kind", device.kind)]
  const set = (name: keyof typeof deviceMetric, value: number | null) => {
    if (value !== null) deviceMetric[name].unsafeUpdate(value, labels)
  }
  return {
    ledger: ({
      charged,
      deficit,
      free
    }: {
      readonly charged: number
      readonly deficit: number
      readonly free: number
    }) => {
      set("total", device.total)
      set("free", free)
      set("claimed", charged)
      set("deficit", deficit)
    },
    reading: ({ eccErrors, free, power, temperature, utilization }: DeviceReading) => {
      set("reported", free)
      set("utilization", utilization)
      set("temperature", temperature)
      set("power", power)
      set("eccErrors", eccErrors)
    }
  }
}
