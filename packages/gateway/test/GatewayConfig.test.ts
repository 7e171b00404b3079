import { describe, expect, it } from "@effect/vitest"
import * as Setting from "@helixflow/runtime/Setting"
import { ConfigProvider, Effect, Layer, Option, Redacted } from "effect"
import { GatewayConfig } from "../src/GatewayConfig.ts"

const read = (env: Record<string, string>) =>
  GatewayConfig.pipe(
    Effect.provide(
      Layer.provide(
        GatewayConfig.layer,
        Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env)), { pathDelim: "_" }))
      )
    )
  )

const problems = (env: Record<string, string>) => Effect.map(Effect.flip(read(env)), Setting.explain)

describe("GatewayConfig", () => {
  it.effect("needs no environment", () =>
    Effect.gen(function* () {
      expect(yield* read({})).toMatchObject({
        httpPort: 8080,
        httpsPort: 8443,
        allowedHosts: [],
        otlpEndpoint: Option.none(),
        hubEndpoint: "https://huggingface.co",
        hubToken: Option.none(),
        shutdownSeconds: 25,
        jwt: Option.none(),
        webSockets: 20_000,
        webSocketsPerKey: 2_000,
        webSocketCompression: false,
        bootstrapKey: Option.none()
      })
    })
  )

  it.effect("reads every variable", () =>
    Effect.gen(function* () {
      const config = yield* read({
        HELIX_HTTP_PORT: "0",
        HELIX_HTTPS_PORT: " 443 ",
        HELIX_ALLOWED_HOSTS: "ai.Example.com, 10.0.0.1",
        OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318/",
        HF_ENDPOINT: "http://hub.example/",
        HF_TOKEN: "hf_1",
        HELIX_WS_CONNECTIONS: "10",
        HELIX_WS_CONNECTIONS_PER_KEY: "2",
        HELIX_WS_COMPRESSION: "true",
        HELIX_BOOTSTRAP_KEY: "k-1"
      })
      expect(config).toMatchObject({
        httpPort: 0,
        httpsPort: 443,
        allowedHosts: ["ai.example.com", "10.0.0.1"],
        otlpEndpoint: Option.some("http://127.0.0.1:4318"),
        hubEndpoint: "http://hub.example",
        hubToken: Option.some(Redacted.make("hf_1")),
        shutdownSeconds: 25,
        jwt: Option.none(),
        webSockets: 10,
        webSocketsPerKey: 2,
        webSocketCompression: true,
        bootstrapKey: Option.some(Redacted.make("k-1"))
      })
    })
  )

  it.effect.each([
    ["HELIX_ALLOWED_HOSTS", "example.com:80"],
    ["HELIX_ALLOWED_HOSTS", "a,,b"],
    ["HELIX_ALLOWED_HOSTS", "http://a"],
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"],
    ["HF_ENDPOINT", "huggingface.co"],
    ["HF_TOKEN", "two words"]
  ] as const)("refuses %s=%s by name", ([name, text]) =>
    Effect.gen(function* () {
      expect(yield* problems({ [name]: text })).toEqual([expect.stringContaining(`${name} must be`)])
    })
  )

  it.effect.each(["-1", "65536", "80a", "8e1", "1.5", "http"])("refuses the port %s by name", (port) =>
    Effect.gen(function* () {
      expect(yield* problems({ HELIX_HTTPS_PORT: port })).toEqual([
        `HELIX_HTTPS_PORT must be a port from 1 to 65535, or 0 for none, but is \`${port}\``
      ])
    })
  )

  it.effect("refuses one port for both", () =>
    Effect.gen(function* () {
      expect(yield* problems({ HELIX_HTTP_PORT: "9000", HELIX_HTTPS_PORT: "9000" })).toEqual([
        "HELIX_HTTPS_PORT must differ from HELIX_HTTP_PORT"
      ])
      expect((yield* read({ HELIX_HTTP_PORT: "0", HELIX_HTTPS_PORT: "0" })).httpPort).toBe(0)
    })
  )

  it.effect("refuses a key that no header can carry, without repeating it", () =>
    Effect.gen(function* () {
      expect(yield* problems({ HELIX_BOOTSTRAP_KEY: "two words" })).toEqual([
        "HELIX_BOOTSTRAP_KEY must be printable ASCII text without spaces"
      ])
    })
  )
})
