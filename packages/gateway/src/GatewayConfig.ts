/** What the gateway takes from its environment besides the runtime's settings. No other file of this package reads it. */
import * as Setting from "@helixflow/runtime/Setting"
import { Config, ConfigError, Context, Either, Layer, Option, Redacted } from "effect"

const parsePort = (text: string): Either.Either<number, string> => {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  return port <= 65535
    ? Either.right(port)
    : Either.left(`must be a port from 1 to 65535, or 0 for none, but is \`${text}\``)
}

const parseCount = (text: string): Either.Either<number, string> =>
  /^\d{1,7}$/.test(text) ? Either.right(Number(text)) : Either.left(`must be a whole number, but is \`${text}\``)

export const settings = {
  httpPort: Setting.make({
    name: "HELIX_HTTP_PORT",
    defaultText: "`8080`",
    description: "Port of plain HTTP, on the loopback interface only. `0` turns it off.",
    fallback: () => 8080,
    parse: parsePort
  }),
  httpsPort: Setting.make({
    name: "HELIX_HTTPS_PORT",
    defaultText: "`8443`",
    description:
      "Port of HTTPS (TLS 1.3 only), on every interface. The certificate is `certs/cert.pem` with `certs/key.pem`, or one " +
      "made at the first start. `0` turns it off.",
    fallback: () => 8443,
    parse: parsePort
  }),
  allowedHosts: Setting.make<ReadonlyArray<string>>({
    name: "HELIX_ALLOWED_HOSTS",
    defaultText: "none",
    description:
      "Names besides `localhost`, `127.0.0.1` and `[::1]` that plain HTTP is answered for, separated by `,` and without ports: for " +
      "a reverse proxy on this machine that passes on its clients' `Host`. Requests for other names are refused (421).",
    fallback: () => [],
    parse: (text) => {
      const names = text.split(",").map((name) => name.trim().toLowerCase())
      return names.every((name) => /^([a-z0-9._-]+|\[[0-9a-f:.]+\])$/.test(name))
        ? Either.right(names)
        : Either.left(`must be host names without ports, separated by \`,\`, but is \`${text}\``)
    }
  }),
  otlpEndpoint: Setting.make<Option.Option<string>>({
    name: "OTEL_EXPORTER_OTLP_ENDPOINT",
    defaultText: "none: no traces are sent",
    description:
      "URL of an OpenTelemetry collector, e.g. `http://127.0.0.1:4318`, that traces are sent to as OTLP over HTTP (JSON). " +
      "`OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` are honoured too.",
    fallback: Option.none,
    parse: (text) =>
      /^https?:\/\//.test(text) && URL.canParse(text)
        ? Either.right(Option.some(text.replace(/\/+$/, "")))
        : Either.left(`must be like http://127.0.0.1:4318, but is \`${text}\``)
  }),
  hubEndpoint: Setting.make({
    name: "HF_ENDPOINT",
    defaultText: "`https://huggingface.co`",
    description: "The hub that `helixflow pull` fetches models from: any with the API of Hugging Face's.",
    fallback: () => "https://huggingface.co",
    parse: (text) =>
      /^https?:\/\//.test(text) && URL.canParse(text)
        ? Either.right(text.replace(/\/+$/, ""))
        : Either.left(`must be like https://huggingface.co, but is \`${text}\``)
  }),
  hubToken: Setting.make<Option.Option<Redacted.Redacted>>({
    name: "HF_TOKEN",
    defaultText: "none",
    description: "The token for models that the hub does not give to everybody.",
    fallback: Option.none,
    parse: (text) =>
      /^[\x21-\x7e]+$/.test(text)
        ? Either.right(Option.some(Redacted.make(text)))
        : Either.left("must be printable ASCII text without spaces")
  }),
  shutdownSeconds: Setting.make({
    name: "HELIX_SHUTDOWN_SECONDS",
    defaultText: "`25`",
    description:
      "Seconds that requests in progress may take to end after SIGTERM or SIGINT, from 0 to 3600. Whoever kills what does not stop " +
      "(Kubernetes after 30 s, Docker after 10 s unless told otherwise) must wait a few seconds longer.",
    fallback: () => 25,
    parse: (text) =>
      /^\d{1,4}$/.test(text) && Number(text) <= 3600
        ? Either.right(Number(text))
        : Either.left(`must be a whole number of seconds from 0 to 3600, but is \`${text}\``)
  }),
  jwtIssuer: Setting.make<Option.Option<string>>({
    name: "HELIX_JWT_ISSUER",
    defaultText: "none: JSON Web Tokens are not accepted",
    description:
      "Whose JSON Web Tokens are accepted beside API keys: their claim `iss`. Needs `HELIX_JWT_AUDIENCE`, and either `HELIX_JWT_JWKS_URL` or " +
      "`HELIX_JWT_SECRET`.",
    fallback: Option.none,
    parse: (text) => Either.right(Option.some(text))
  }),
  jwtAudience: Setting.make<Option.Option<string>>({
    name: "HELIX_JWT_AUDIENCE",
    defaultText: "none",
    description:
      "What tokens must be meant for: their claim `aud`. One that was issued for another service is refused.",
    fallback: Option.none,
    parse: (text) => Either.right(Option.some(text))
  }),
  jwtKeySetUrl: Setting.make<Option.Option<URL>>({
    name: "HELIX_JWT_JWKS_URL",
    defaultText: "none",
    description:
      "Where the issuer publishes the keys that it signs with (a JSON Web Key Set), e.g. `https://id.example.com/.well-known/jwks.json`. " +
      "Fetched when needed and kept for ten minutes. `http:` is taken for this machine only.",
    fallback: Option.none,
    parse: (text) => {
      const url = URL.canParse(text) ? new URL(text) : null
      const local = url !== null && ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname)
      return url !== null && (url.protocol === "https:" || (url.protocol === "http:" && local))
        ? Either.right(Option.some(url))
        : Either.left("must be a URL that begins with https://")
    }
  }),
  jwtSecret: Setting.make<Option.Option<Redacted.Redacted>>({
    name: "HELIX_JWT_SECRET",
    defaultText: "none",
    description:
      "A secret of at least 32 bytes that the issuer signs tokens with by HS256, in the place of `HELIX_JWT_JWKS_URL`.",
    fallback: Option.none,
    parse: (text) =>
      Buffer.byteLength(text) >= 32
        ? Either.right(Option.some(Redacted.make(text)))
        : Either.left("must be at least 32 bytes long")
  }),
  webSockets: Setting.make({
    name: "HELIX_WS_CONNECTIONS",
    defaultText: "`20000`",
    description: "Most WebSocket connections at once. `0` turns them off.",
    fallback: () => 20_000,
    parse: parseCount
  }),
  webSocketsPerKey: Setting.make({
    name: "HELIX_WS_CONNECTIONS_PER_KEY",
    defaultText: "`2000`",
    description: "Most WebSocket connections of one key at once.",
    fallback: () => 2_000,
    parse: parseCount
  }),
  webSocketStall: Setting.make({
    name: "HELIX_WS_STALL_TIMEOUT",
    defaultText: "`30s`",
    description:
      "How long a WebSocket's client may leave unread what is sent to it, once that is more than 256 KiB, before it is cut off.",
    fallback: () => 30_000,
    parse: Setting.parseDuration
  }),
  webSocketIdle: Setting.make({
    name: "HELIX_WS_IDLE_TIMEOUT",
    defaultText: "`1h`",
    description:
      "How long a WebSocket connection is kept that has no request in progress, listens to no topic and says nothing, whether it answers " +
      "pings or not. `never`: as long as it answers.",
    fallback: () => 3_600_000,
    parse: (text) => (text === "never" ? Either.right(Number.POSITIVE_INFINITY) : Setting.parseDuration(text))
  }),
  webSocketCompression: Setting.make({
    name: "HELIX_WS_COMPRESSION",
    defaultText: "`false`",
    description:
      "`true` compresses WebSocket messages of more than 1 KiB for clients that offer it (permessage-deflate). It costs memory per connection.",
    fallback: () => false,
    parse: (text) =>
      text === "true" || text === "false"
        ? Either.right(text === "true")
        : Either.left(`must be true or false, but is \`${text}\``)
  }),
  bootstrapKey: Setting.make<Option.Option<Redacted.Redacted>>({
    name: "HELIX_BOOTSTRAP_KEY",
    defaultText: "generated, printed once, kept in `bootstrap-key` (mode 0600) in the data folder",
    description: "The first admin API key: any printable ASCII text without spaces.",
    fallback: Option.none,
    parse: (text) =>
      /^[\x21-\x7e]+$/.test(text)
        ? Either.right(Option.some(Redacted.make(text)))
        : Either.left("must be printable ASCII text without spaces")
  })
}

/** Which JSON Web Tokens are accepted. */
export interface TokenPolicy {
  readonly issuer: string
  readonly audience: string
  /** A shared secret, or where the issuer publishes its keys. */
  readonly trust:
    | { readonly _tag: "Secret"; readonly secret: Redacted.Redacted }
    | { readonly _tag: "KeySet"; readonly url: URL }
}

/** All of it or nothing: a half of it would accept less, or more, than was meant. */
const tokenPolicy = Config.all({
  issuer: settings.jwtIssuer.config,
  audience: settings.jwtAudience.config,
  url: settings.jwtKeySetUrl.config,
  secret: settings.jwtSecret.config
}).pipe(
  Config.mapOrFail(
    ({ audience, issuer, secret, url }): Either.Either<Option.Option<TokenPolicy>, ConfigError.ConfigError> => {
      const wrong = (setting: Setting.Setting<unknown>, problem: string) =>
        Either.left(ConfigError.InvalidData([setting.name], problem))
      const parts: ReadonlyArray<Option.Option<unknown>> = [audience, issuer, secret, url]
      if (parts.every(Option.isNone)) return Either.right(Option.none())
      if (Option.isNone(issuer)) return wrong(settings.jwtIssuer, "must be set for tokens to be accepted")
      if (Option.isNone(audience)) return wrong(settings.jwtAudience, "must be set for tokens to be accepted")
      const policy = { issuer: issuer.value, audience: audience.value }
      if (Option.isSome(url) && Option.isSome(secret)) {
        return wrong(settings.jwtSecret, `and ${settings.jwtKeySetUrl.name} exclude each other`)
      }
      if (Option.isSome(url)) return Either.right(Option.some({ ...policy, trust: { _tag: "KeySet", url: url.value } }))
      return Option.isSome(secret)
        ? Either.right(Option.some({ ...policy, trust: { _tag: "Secret", secret: secret.value } }))
        : wrong(settings.jwtKeySetUrl, `or ${settings.jwtSecret.name} must be set for tokens to be accepted`)
    }
  )
)

export class GatewayConfig extends Context.Tag("@helixflow/gateway/GatewayConfig")<
  GatewayConfig,
  {
    /** 0: off. */
    readonly httpPort: number
    /** 0: off. Never the same as `httpPort`, unless both are 0. */
    readonly httpsPort: number
    /** In lower case. */
    readonly allowedHosts: ReadonlyArray<string>
    /** Without a path. */
    readonly otlpEndpoint: Option.Option<string>
    /** Of the hub; without a slash at its end. */
    readonly hubEndpoint: string
    readonly hubToken: Option.Option<Redacted.Redacted>
    /** Seconds that requests in progress have to end when the server stops. */
    readonly shutdownSeconds: number
    /** None: JSON Web Tokens are not accepted. */
    readonly jwt: Option.Option<TokenPolicy>
    readonly webSockets: number
    readonly webSocketsPerKey: number
    /** Milliseconds. */
    readonly webSocketStall: number
    /** Milliseconds; infinite: never. */
    readonly webSocketIdle: number
    readonly webSocketCompression: boolean
    /** None: the one in the data folder. */
    readonly bootstrapKey: Option.Option<Redacted.Redacted>
  }
>() {
  static readonly config = Config.all({
    httpPort: settings.httpPort.config,
    httpsPort: settings.httpsPort.config,
    allowedHosts: settings.allowedHosts.config,
    otlpEndpoint: settings.otlpEndpoint.config,
    hubEndpoint: settings.hubEndpoint.config,
    hubToken: settings.hubToken.config,
    shutdownSeconds: settings.shutdownSeconds.config,
    jwt: tokenPolicy,
    webSockets: settings.webSockets.config,
    webSocketsPerKey: settings.webSocketsPerKey.config,
    webSocketStall: settings.webSocketStall.config,
    webSocketIdle: settings.webSocketIdle.config,
    webSocketCompression: settings.webSocketCompression.config,
    bootstrapKey: settings.bootstrapKey.config
  }).pipe(
    Config.mapOrFail((config) =>
      config.httpPort !== 0 && config.httpPort === config.httpsPort
        ? Either.left(ConfigError.InvalidData([settings.httpsPort.name], `must differ from ${settings.httpPort.name}`))
        : Either.right(config)
    )
  )

  static readonly layer: Layer.Layer<GatewayConfig, ConfigError.ConfigError> = Layer.effect(this, this.config)
}
