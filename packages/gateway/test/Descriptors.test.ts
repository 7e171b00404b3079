import * as fs from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { descriptorsBut } from "../src/Descriptors.ts"

/** A server that keeps what its clients have closed, and a client of it in this process. */
const connected = Effect.acquireRelease(
  Effect.async<{ readonly port: number; readonly client: Socket; readonly kept: Socket; readonly close: () => void }>(
    (resume) => {
      const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = address !== null && typeof address === "object" ? address.port : 0
        const client = connect({ port, host: "127.0.0.1", allowHalfOpen: true })
        server.once("connection", (kept) => {
          const close = () => {
            client.destroy()
            kept.destroy()
            server.close()
          }
          resume(Effect.succeed({ port, client, kept, close }))
        })
      })
    }
  ),
  ({ close }) => Effect.sync(close)
)

describe.skipIf(!fs.existsSync("/proc/self/net/tcp"))("descriptors of a server", () => {
  it.scoped("do not count a connection while its client has it open, and do once the client has closed it", () =>
    Effect.gen(function* () {
      const { client, kept, port } = yield* connected
      const all = () => descriptorsBut(process.pid, 1)
      assert.strictEqual(all() - descriptorsBut(process.pid, port), 1)
      const closed = Effect.async<void>((resume) => {
        kept.resume().once("end", () => resume(Effect.void))
        client.end()
      })
      yield* closed
      assert.strictEqual(all() - descriptorsBut(process.pid, port), 0)
    })
  )
})
