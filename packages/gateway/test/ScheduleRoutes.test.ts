import { assert, describe, it, layer } from "@effect/vitest"
import { Bytes, DeviceId, ModelId, ReplicaId } from "@helixflow/schema/Ids"
import { DeviceVerdict, Explanation } from "@helixflow/schema/Scheduling"
import { Effect } from "effect"
import { draw } from "../src/ExplainCommand.ts"
import { toView } from "../src/ScheduleRoutes.ts"
import * as StubGateway from "./StubGateway.ts"
import { request } from "./Target.ts"

const replica = ReplicaId.make("local/cpu:0/other#0")

/** A large fleet: one device where it would be loaded once another leaves, thousands that are full, and some that are too small. */
const large = new Explanation({
  model: ModelId.make("m"),
  policy: "best-fit",
  decision: "placed",
  chosen: DeviceId.make("local/cpu:0"),
  devices: Array.from({ length: 10_000 }, (_, n) =>
    DeviceVerdict.make({
      device: DeviceId.make(`local/cpu:${n}`),
      action: n === 0 ? "load" : "none",
      replica: null,
      score: n === 0 ? 5 : null,
      reasons: [
        n % 10 === 9
          ? { _tag: "LargerThanDevice", needed: Bytes.make(2048), total: Bytes.make(1024) }
          : { _tag: "InsufficientMemory", needed: Bytes.make(2048), free: Bytes.make(n % 1000) }
      ],
      missing: Bytes.make(2048 - (n % 10 === 9 ? 0 : n % 1000)),
      evict: n === 0 ? [replica] : [],
      waitingHelps: n % 10 !== 9
    })
  ),
  waiting: 2,
  summary: "m fits on local/cpu:0: needs 2 KiB, 0 B free, once local/cpu:0/other#0 made room"
})

describe("An explanation", () => {
  it("has a line for devices that are alike, however many they are", () => {
    const { groups, ...view } = toView(large)
    assert.deepInclude(view, { decision: "placed", chosen: "local/cpu:0", evict: [replica], waiting: 2 })
    assert.deepStrictEqual(
      groups.map(({ examples, reasons, ...group }) => group),
      [
        { action: "load", devices: 1, fits: false, missing_bytes: 2048, evict: [replica], waiting_helps: true },
        { action: "none", devices: 8999, fits: false, missing_bytes: 1050, evict: [], waiting_helps: true },
        { action: "none", devices: 1000, fits: false, missing_bytes: 2048, evict: [], waiting_helps: false }
      ]
    )
    const [sentence, , ...rows] = draw(toView(large)).split("\n")
    assert.strictEqual(sentence, `${large.summary}. 2 requests wait for it.`)
    assert.match(
      rows[1] ?? "",
      /^local\/cpu:0 +2.0 KiB missing +would load +needs 2 KiB, 0 B free; would have to leave: local\/cpu:0\/other#0$/
    )
    assert.match(
      rows[2] ?? "",
      /^local\/cpu:1, local\/cpu:2, local\/cpu:3 and 8996 more +1.0 KiB or more missing +no +needs 2 KiB, 1 B free$/
    )
    assert.match(rows[3] ?? "", /and 997 more +2.0 KiB or more missing +no +needs 2 KiB, the whole device has 1 KiB$/)
  })
})

describe("An explanation of every device", () => {
  it("says of each whether the model fits, and if not how much is missing", () => {
    const { devices = [], ...view } = toView(large, true)
    assert.strictEqual(devices.length, 10_000)
    assert.deepInclude(devices[7], { id: "local/cpu:7", fits: false, missing_bytes: 2041, waiting_helps: true })
    assert.match(draw({ ...view, devices }), /^local\/cpu:7 +2.0 KiB missing +no +needs 2 KiB, 7 B free$/m)
    assert.isUndefined(toView(large).devices)
  })
})

layer(StubGateway.layer(), { excludeTestServices: true })("GET /admin/v1/schedule/explain", (it) => {
  it.effect("explains a model by its id or alias, and knows no others", () =>
    Effect.gen(function* () {
      const { status, text } = yield* request("/admin/v1/schedule/explain?model=demo")
      assert.strictEqual(status, 200)
      assert.deepInclude(JSON.parse(text), { object: "schedule.explanation", model: "helix-demo", decision: "placed" })
      assert.strictEqual((yield* request("/admin/v1/schedule/explain?model=nobody")).status, 404)
      const some = yield* request("/admin/v1/schedule/explain?model=demo&devices=some")
      assert.deepInclude(JSON.parse(some.text).error, { param: "devices" })
      const none = yield* request("/admin/v1/schedule/explain")
      assert.deepInclude(JSON.parse(none.text).error, { param: "model", code: "missing_required_parameter" })
    })
  )
})
