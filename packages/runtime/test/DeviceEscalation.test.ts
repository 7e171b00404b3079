/** A device on which every worker crashes: what is done to it, and what is not done to those who were there. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { TokenId } from "@helixflow/schema/Ids"
import { Effect, Layer, Logger } from "effect"
import { afterAll, vi } from "vitest"
import { DeviceGuardPolicy } from "../src/DeviceGuard.ts"
import { Runtime } from "../src/Runtime.ts"
import type { TreeNode } from "../src/SupervisionTree.ts"
import { writeTinyChatModel } from "../src/TestModels.ts"
import { breakDevice, mendDevice } from "./brokenDevice.ts"
import { compiled } from "./compiled.ts"
import { tokensAfter } from "./generated.ts"
import { runtimeWith } from "./runtimeWith.ts"

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 })

const folder = mkdtempSync(join(tmpdir(), "helix-broken-"))
const models = join(folder, "models")
const names = ["one", "two"]
for (const name of names) {
  writeTinyChatModel(join(models, name))
  // of four requests at once two are on each device
  writeFileSync(join(models, name, "helixflow.json"), JSON.stringify({ replicas: 2, slots: 2, policy: "round-robin" }))
}
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const runtime = runtimeWith(await compiled("./brokenDeviceWorker.ts"), {
  HELIX_MODELS_DIR: models,
  HELIX_DATA_DIR: join(folder, "data"),
  HELIX_DEVICES: "cpu:0,cpu:1",
  HELIX_DECISION_LOG: "off"
}).pipe(
  Layer.provide(
    Layer.succeed(DeviceGuardPolicy, {
      intensity: 1,
      periodMillis: 600_000,
      backoff: { minMillis: 3_000, factor: 2, maxMillis: 60_000 },
      quietMillis: 600_000
    })
  ),
  Layer.provide(Logger.remove(Logger.defaultLogger))
)

const generate = (model: string, seed: number) =>
  tokensAfter(
    Array.from({ length: 12 }, (_, i) => TokenId.make(100 + ((seed * 7 + i) % 50))),
    model,
    { seed }
  )

/** Each model is asked by several at once. */
const askAll = Effect.forEach([0, 1, 2, 3, 4, 5, 6, 7], (n) => generate(names[n % 2] ?? "", n), {
  concurrency: "unbounded"
})

const find = (tree: TreeNode, id: string): TreeNode | undefined =>
  tree.id === id ? tree : tree.children.map((child) => find(child, id)).find((found) => found !== undefined)

const place = (id: string) =>
  Effect.map(
    Effect.flatMap(Runtime, ({ tree }) => tree),
    (tree) => find(tree, id)
  )

/** Looks again and again. */
const until = <A, E, R>(look: Effect.Effect<A, E, R>, isSo: (found: A) => boolean) =>
  Effect.repeat(Effect.delay(look, "20 millis"), { until: isSo })

layer(runtime, { timeout: 240_000, excludeTestServices: true })("a device on which all workers crash", (it) => {
  it.effect(
    "is taken out of service; its streams are whole and nobody is blamed; it is used again when it is well",
    () =>
      Effect.gen(function* () {
        const { control } = yield* Runtime
        const undisturbed = yield* askAll
        const replicas = place("local/cpu:0/replicas")
        const used = Effect.map(
          replicas,
          (found) => found?.children.filter(({ state }) => state === "running").length ?? 0
        )
        // both models are on both devices
        yield* until(Effect.zipRight(askAll, used), (count) => count === 2)
        const file = join(folder, "broken")
        breakDevice(file)
        yield* control.kill("local/cpu:0")

        const asking = Effect.forever(
          Effect.tap(askAll, (answers) => Effect.sync(() => assert.deepStrictEqual(answers, undisturbed)))
        )
        const out = yield* Effect.raceFirst(
          until(replicas, (found) => found?.state === "backing-off"),
          asking
        )
        assert.match(String(out?.lastFailure), /the device is taken out of service: 2 of its replicas kept failing/)
        assert.strictEqual((yield* place("local/cpu:0/gpu"))?.state, "running")
        mendDevice(file)
        assert.deepStrictEqual(yield* askAll, undisturbed)

        yield* until(replicas, (found) => found?.state === "running")
        yield* until(Effect.zipRight(askAll, used), (count) => count > 0)
        assert.deepStrictEqual(yield* askAll, undisturbed)
      })
  )
})
