import { X509Certificate } from "node:crypto"
import { join } from "node:path"
import { connect, createServer } from "node:tls"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import { RuntimeConfig } from "@helixflow/runtime/RuntimeConfig"
import { Effect, Layer, Option, TestClock } from "effect"
import * as Certificates from "../src/Certificates.ts"
import * as SelfSignedCertificate from "../src/SelfSignedCertificate.ts"
import { environment } from "./environment.ts"

const inFolder = (dataDir: string) => RuntimeConfig.layer.pipe(Layer.provide(environment({ HELIX_DATA_DIR: dataDir })))

const withFolder = <A, E>(test: (folder: string) => Effect.Effect<A, E, FileSystem.FileSystem | RuntimeConfig>) =>
  Effect.gen(function* () {
    const files = yield* FileSystem.FileSystem
    const folder = yield* files.makeTempDirectoryScoped()
    return yield* Effect.provide(test(folder), inFolder(join(folder, "data")))
  }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))

describe("a generated certificate", () => {
  it.effect("is for this machine, with a P-256 key", () =>
    Effect.gen(function* () {
      const now = Date.parse("2030-01-01T00:00:00Z")
      const certificate = new X509Certificate((yield* Effect.promise(() => SelfSignedCertificate.make(now))).cert)
      expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" })
      expect(certificate.checkHost("localhost")).toBe("localhost")
      expect(certificate.checkIP("127.0.0.1")).toBe("127.0.0.1")
      expect(certificate.checkIP("::1")).toBe("::1")
      expect(certificate.checkHost("example.com")).toBeUndefined()
      expect(certificate.ca).toBe(false)
      expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"])
      expect(Date.parse(certificate.validFrom)).toBeLessThan(now)
      expect(Date.parse(certificate.validTo) - now).toBeLessThan(398 * 24 * 60 * 60 * 1000)
    })
  )

  it.live("convinces a client that trusts it", () =>
    Effect.gen(function* () {
      const made = yield* Effect.promise(() => SelfSignedCertificate.make(Date.now()))
      const protocol = yield* Effect.async<string | null, Error>((resume) => {
        const server = createServer({ ...made, minVersion: "TLSv1.3" }, (socket) => socket.end())
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          const port = address !== null && typeof address === "object" ? address.port : 0
          const socket = connect({ host: "127.0.0.1", port, ca: made.cert }, () => {
            resume(Effect.succeed(socket.getProtocol()))
            socket.end()
          })
          socket.on("error", (error) => resume(Effect.fail(error)))
        })
        return Effect.sync(() => server.close())
      })
      expect(protocol).toBe("TLSv1.3")
    })
  )
})

describe("the server's certificate", () => {
  it.effect("is made once, its key for its owner's eyes only", () =>
    withFolder(() =>
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem
        const { dataDir } = yield* RuntimeConfig
        const first = yield* Certificates.obtain(Option.none())
        const second = yield* Certificates.obtain(Option.none())
        expect([first.source, second.source]).toEqual(["generated", "file"])
        expect(second.cert).toBe(first.cert)
        expect(yield* files.readFileString(first.certFile)).toBe(first.cert)
        expect((yield* files.stat(join(dataDir, "tls", "key.pem"))).mode & 0o777).toBe(0o600)
        expect((yield* files.stat(join(dataDir, "tls"))).mode & 0o777).toBe(0o700)
      })
    )
  )

  it.effect("is renewed before it ends", () =>
    withFolder(() =>
      Effect.gen(function* () {
        const first = yield* Certificates.obtain(Option.none())
        yield* TestClock.adjust("360 days")
        expect((yield* Certificates.obtain(Option.none())).cert).toBe(first.cert)
        yield* TestClock.adjust("10 days")
        const second = yield* Certificates.obtain(Option.none())
        expect(second.source).toBe("generated")
        expect(second.cert).not.toBe(first.cert)
      })
    )
  )

  it.effect("is the operator's where both files are there, and then nothing is written", () =>
    withFolder((folder) =>
      Effect.gen(function* () {
        const files = yield* FileSystem.FileSystem
        const { dataDir } = yield* RuntimeConfig
        yield* files.writeFileString(join(folder, "cert.pem"), "the certificate")
        expect((yield* Certificates.obtain(Option.some(folder))).source).toBe("generated")
        yield* files.remove(dataDir, { recursive: true })
        yield* files.writeFileString(join(folder, "key.pem"), "the key")
        expect(yield* Certificates.obtain(Option.some(folder))).toEqual({
          cert: "the certificate",
          key: "the key",
          certFile: join(folder, "cert.pem"),
          source: "certs"
        })
        expect(yield* files.exists(dataDir)).toBe(false)
      })
    )
  )
})
