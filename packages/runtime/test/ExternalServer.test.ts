import { assert, describe, it } from "@effect/vitest"
import { Bytes, DeviceId, ModelId, makeReplicaId, ReservationId } from "@helixflow/schema/Ids"
import { ModelSpec } from "@helixflow/schema/Model"
import { ModelActor } from "@helixflow/schema/ModelActor"
import { Effect, Schema } from "effect"
import * as DeviceMeter from "../src/DeviceMeter.ts"
import * as ExternalServer from "../src/ExternalServer.ts"
import * as InProcess from "../src/InProcess.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const folder = temporaryFolder()
const [first, second] = [DeviceId.make("local/cuda:0"), DeviceId.make("local/cuda:3")]
const MiB = 2 ** 20

/** Answers with what it was given and the process that it has started, once that has its memory. */
const program = `
  const child = require("node:child_process").spawn(process.execPath, ["-e", \`
    globalThis.held = Buffer.alloc(${64 * MiB}, 1)
    console.log("held")
    setInterval(() => {}, 1000)
  \`])
  const { CUDA_VISIBLE_DEVICES: visible, WHERE: where } = process.env
  child.stdout.once("data", () => require("node:http").createServer((_, response) =>
    response.end(JSON.stringify({ visible, where, child: child.pid }))
  ).listen(Number(process.argv[1])))
`

const model = new ModelSpec({
  id: ModelId.make("served"),
  aliases: [],
  task: "text-generation",
  context: 8,
  slots: 1,
  weights: Bytes.make(1),
  kvPerToken: Bytes.make(0),
  replicas: 1,
  policy: "best-fit",
  sampling: {},
  created: 0,
  external: true
})

const Told = Schema.parseJson(
  Schema.Struct({ visible: Schema.String, where: Schema.String, child: Schema.Int.pipe(Schema.positive()) })
)

describe("a program that serves a model", () => {
  it.scopedLive("is given its devices, and takes what all of its processes take", () =>
    Effect.gen(function* () {
      const replica = yield* ExternalServer.make(
        {
          replica: makeReplicaId(first, model.id, 0),
          device: first,
          reservation: ReservationId.make("a"),
          parts: [{ device: second, reservation: ReservationId.make("b") }],
          model,
          path: folder,
          engine: "auto",
          server: null,
          threads: 1,
          worker: {
            entry: { path: "", execArgv: [] },
            socketDir: folder,
            records: folder,
            liveness: { freezeMillis: 2_000, stepMillis: 2_000 }
          }
        },
        {
          command: [process.execPath, "-e", program, "{port}"],
          env: { WHERE: "{devices}" },
          memory: MiB,
          task: "text-generation",
          context: 8,
          ready: "/",
          base: "/v1",
          gpus: ["GPU-a", "GPU-d"]
        }
      )
      const client = yield* InProcess.host(ModelActor, Effect.succeed(replica.handlers), { name: "served" })
      yield* client.Load()
      const { pid, rss, url } = yield* client.Status()
      const told = yield* Effect.promise(async () => (await fetch(`${url}`)).text())
      const { child, visible, where } = yield* Schema.decode(Told)(told)
      assert.deepStrictEqual([where, visible], ["cuda:0,cuda:3", "GPU-a,GPU-d"])
      assert.isAbove(Number(rss), 64 * MiB)
      const onGpu = new Map([
        [pid ?? 0, 1],
        [child, 20],
        [process.pid, 300]
      ])
      assert.deepStrictEqual([...DeviceMeter.ofGroups([pid ?? 0], onGpu)], [[pid, 21]])
    })
  )
})
