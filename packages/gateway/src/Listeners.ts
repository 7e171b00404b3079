/** Where the server listens: plain HTTP for this machine, TLS for all others, both with the same routes. */
import * as Http from "node:http"
import * as Https from "node:https"
import { createSecureContext } from "node:tls"
import { HttpServer, type HttpServerError } from "@effect/platform"
import type { Services } from "@helixflow/runtime/Services"
import { Context, Effect, Layer, type Scope } from "effect"
import type { Certificate } from "./Certificates.ts"
import { CommandFailure, exitCodes, failed } from "./CommandFailure.ts"
import { connections } from "./DescriptorLimit.ts"
import { GatewayConfig, settings } from "./GatewayConfig.ts"
import * as HttpListener from "./HttpListener.ts"

/** What kept a port from being opened, and which variable moves it. */
const explain = (port: number, variable: string) => (error: HttpServerError.ServeError) => {
  const { cause } = error
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  switch (code) {
    case "EADDRINUSE":
      return failed(
        `Port ${port} is taken by another program, perhaps another HelixFlow. Stop it, or set ${variable} to another port ` +
          "(0 for none)."
      )
    case "EACCES":
      return failed(`Port ${port} is not allowed for this user. Set ${variable} to a port above 1023 (0 for none).`)
    default:
      return failed(
        `Port ${port} cannot be opened: ${cause instanceof Error ? cause.message : cause}. See ${variable}.`
      )
  }
}

const listen = (
  layer: Layer.Layer<HttpServer.HttpServer, HttpServerError.ServeError, Services>,
  port: number,
  variable: string
): Effect.Effect<HttpServer.HttpServer, CommandFailure, Scope.Scope | Services> =>
  Layer.build(layer).pipe(
    Effect.mapBoth({
      onFailure: explain(port, variable),
      onSuccess: (context) => Context.get(context, HttpServer.HttpServer)
    })
  )

/** The operator may have put anything there. */
const checkCertificate = ({ cert, key, certFile }: Certificate) =>
  Effect.try({
    try: () => createSecureContext({ cert, key, minVersion: "TLSv1.3" }),
    catch: (error) =>
      failed(`${certFile} and its key.pem cannot be used: ${error instanceof Error ? error.message : error}`)
  })

/** One server of all that are given: what is served on it is served on each. */
const together = (
  servers: readonly [HttpServer.HttpServer, ...Array<HttpServer.HttpServer>]
): HttpServer.HttpServer => {
  const all = HttpServer.make({
    address: servers[0].address,
    serve: (app, middleware) =>
      Effect.forEach(
        servers,
        (server) => (middleware === undefined ? server.serve(app) : server.serve(app, middleware)),
        { discard: true }
      )
  })
  HttpListener.isMadeOf(all, servers)
  return all
}

/** Every listener that the configuration asks for, as one server. */
export const layer = (
  certificate: Certificate
): Layer.Layer<HttpServer.HttpServer, CommandFailure, GatewayConfig | Services> =>
  Layer.scoped(
    HttpServer.HttpServer,
    Effect.gen(function* () {
      const { httpPort, httpsPort } = yield* GatewayConfig
      const listeners: Array<HttpServer.HttpServer> = []
      // so that strangers leave room for who is on this machine
      const most = Math.floor(connections() / [httpPort, httpsPort].filter((port) => port !== 0).length)
      if (httpPort !== 0) {
        const loopback = HttpListener.layer(
          "http-listener",
          Http.createServer,
          { port: httpPort, host: "127.0.0.1" },
          most
        )
        listeners.push(yield* listen(loopback, httpPort, settings.httpPort.name))
      }
      if (httpsPort !== 0) {
        yield* checkCertificate(certificate)
        const { cert, key } = certificate
        const everywhere = HttpListener.layer(
          "https-listener",
          (options) => Https.createServer({ ...options, cert, key, minVersion: "TLSv1.3" }),
          { port: httpsPort },
          most
        )
        listeners.push(yield* listen(everywhere, httpsPort, settings.httpsPort.name))
      }
      const [first, ...others] = listeners
      if (first === undefined) {
        return yield* new CommandFailure({
          message: `${settings.httpPort.name} and ${settings.httpsPort.name} are both 0: there is nothing to listen on.`,
          exitCode: exitCodes.usage
        })
      }
      return together([first, ...others])
    })
  )
