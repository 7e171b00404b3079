import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { LocalDevices } from "../src/LocalDevices.ts"
import * as Machine from "../src/Machine.ts"
import { RuntimeConfig } from "../src/RuntimeConfig.ts"

const threadsOf = (settings: Readonly<Record<string, string>>) =>
  Effect.map(LocalDevices, ({ threads }) => threads).pipe(
    Effect.provide(
      LocalDevices.layer.pipe(
        Layer.provide(RuntimeConfig.layer),
        Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(settings)))))
      )
    )
  )

describe("the threads of a replica", () => {
  const cpus = Machine.cpus()

  it.effect("are all of the processors where there is one device", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* threadsOf({ HELIX_DEVICES: "cpu:0=1GiB" }), cpus)
    })
  )

  it.effect("are shared equally among the replicas of several devices, one at least", () =>
    Effect.gen(function* () {
      const devices = (count: number) => Array.from({ length: count }, (_, index) => `cpu:${index}=64MiB`).join()
      assert.strictEqual(yield* threadsOf({ HELIX_DEVICES: devices(2) }), Math.max(1, Math.floor(cpus / 2)))
      assert.strictEqual(yield* threadsOf({ HELIX_DEVICES: devices(cpus + 1) }), 1)
    })
  )

  it.effect("are as many as the operator says", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* threadsOf({ HELIX_DEVICES: "cpu:0=64MiB,cpu:1=64MiB", HELIX_THREADS: "7" }), 7)
    })
  )
})
