import { describe, expect, it } from "@effect/vitest"
import { ModelId } from "@helixflow/schema/Ids"
import { loadedBytes, sequenceBytes, type Weighed } from "../src/MemoryEstimate.ts"
import * as ModelSettings from "../src/ModelSettings.ts"

const MiB = 2 ** 20
const weighed = (options: Partial<Weighed> = {}): Weighed => ({
  device: "cpu",
  format: "full",
  files: 500 * MiB,
  vocabulary: 32_000,
  isText: true,
  ...options
})

/** The most that was resident of workers whose slots of 512 tokens had all been full, MiB. */
const measured = [
  ["helix-demo, 1 slot", { files: 2, vocabulary: 512, format: "quantized", slots: 1, kv: 1 }, 130],
  ["helix-demo, 16 slots", { files: 2, vocabulary: 512, format: "quantized", slots: 16, kv: 16 }, 193],
  ["15 M parameters, fp32, 4 slots", { files: 53, vocabulary: 4096, format: "full", slots: 4, kv: 36 }, 275],
  ["15 M parameters, q8, 16 slots", { files: 15, vocabulary: 4096, format: "quantized", slots: 16, kv: 144 }, 455],
  ["100 M parameters, fp32, 1 slot", { files: 476, vocabulary: 32_000, format: "full", slots: 1, kv: 12 }, 599],
  ["100 M parameters, fp32, 16 slots", { files: 476, vocabulary: 32_000, format: "full", slots: 16, kv: 192 }, 988],
  ["100 M parameters, q8, 4 slots", { files: 132, vocabulary: 32_000, format: "quantized", slots: 4, kv: 48 }, 412]
] as const

describe("what a worker is charged", () => {
  it.each(measured)(
    "is within a tenth of what was measured: %s",
    (_, { files, format, kv, slots, vocabulary }, resident) => {
      const weights = loadedBytes(weighed({ files: files * MiB, format, vocabulary }))
      const kvPerToken = (kv * MiB) / slots / 512
      const spec = ModelSettings.toSpec(
        ModelId.make("m"),
        {
          task: "text-generation",
          context: 512,
          onKinds: new Map([["cpu", { weights, kvPerToken }]]),
          sampling: {},
          labels: [],
          created: 0,
          revision: ""
        },
        { ...ModelSettings.defaults, slots }
      )
      expect(resident / (spec.claimOn("cpu") / MiB)).toBeGreaterThan(0.9)
      expect(resident / (spec.claimOn("cpu") / MiB)).toBeLessThan(1.1)
    }
  )

  it("grows with its files, by their format, and with its vocabulary and slots", () => {
    const bytes = (options: Partial<Weighed>) => loadedBytes(weighed(options))
    expect(bytes({ files: 600 * MiB })).toBeGreaterThan(bytes({}))
    expect(bytes({ format: "half" })).toBeGreaterThan(bytes({ format: "quantized" }))
    expect(bytes({ vocabulary: 128_000 })).toBeGreaterThan(bytes({}))
    expect(bytes({ vocabulary: null })).toBeLessThan(bytes({}))
    expect(sequenceBytes(16)).toBe(16 * sequenceBytes(1))
  })

  it("of models without a cache does not depend on their vocabulary", () => {
    const bytes = (vocabulary: number | null) => loadedBytes(weighed({ isText: false, vocabulary }))
    expect(bytes(32_000)).toBe(bytes(null))
  })
})
