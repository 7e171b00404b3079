import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it, layer } from "@effect/vitest"
import { RequestQuarantined } from "@helixflow/schema/Errors"
import { TokenId } from "@helixflow/schema/Ids"
import { Duration, Effect, TestClock } from "effect"
import { afterAll, vi } from "vitest"
import * as Quarantine from "../src/Quarantine.ts"
import { Runtime } from "../src/Runtime.ts"
import { writeTinyChatModel } from "../src/TestModels.ts"
import { compiled } from "./compiled.ts"
import { tokensAfter } from "./generated.ts"
import { poison } from "./poison.ts"
import { runtimeWith } from "./runtimeWith.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

describe("the quarantine", () => {
  const subject = (n: number) => () => ({ model: "m", prompt: [n] })
  const limits = { millis: 60_000, entries: 3 }

  it.effect("refuses what is the same as what it was given, and nothing else, for as long as it is set to", () =>
    Effect.gen(function* () {
      const quarantine = Quarantine.make(limits)
      yield* quarantine.check(subject(1))
      expect(yield* Effect.flip(quarantine.convict(subject(1)))).toEqual(
        new RequestQuarantined({ retryAfterSeconds: 60 })
      )
      yield* TestClock.adjust(Duration.seconds(59))
      expect(yield* Effect.flip(quarantine.check(subject(1)))).toEqual(new RequestQuarantined({ retryAfterSeconds: 1 }))
      yield* quarantine.check(subject(2))
      yield* TestClock.adjust(Duration.seconds(1))
      yield* quarantine.check(subject(1))
      expect(yield* quarantine.size).toBe(0)
    })
  )

  it.effect("forgets the oldest when it is full", () =>
    Effect.gen(function* () {
      const quarantine = Quarantine.make(limits)
      for (let n = 0; n < 5; n++) yield* Effect.flip(quarantine.convict(subject(n)))
      expect(yield* quarantine.size).toBe(3)
      yield* quarantine.check(subject(1))
      yield* Effect.flip(quarantine.check(subject(2)))
    })
  )

  it.effect("holds a request that is convicted again from then on", () =>
    Effect.gen(function* () {
      const quarantine = Quarantine.make(limits)
      yield* Effect.flip(quarantine.convict(subject(1)))
      yield* TestClock.adjust(Duration.seconds(30))
      yield* Effect.flip(quarantine.convict(subject(1)))
      yield* TestClock.adjust(Duration.seconds(45))
      yield* Effect.flip(quarantine.check(subject(1)))
    })
  )
})

const models = mkdtempSync(join(tmpdir(), "helix-poison-"))
writeTinyChatModel(join(models, "helix-demo"))
afterAll(() => rmSync(models, { recursive: true, force: true }))

const poisonable = runtimeWith(await compiled("./poisonWorker.ts"), {
  HELIX_MODELS_DIR: models,
  HELIX_DATA_DIR: join(models, "data")
})

const prompt = (n: number) => Array.from({ length: 12 }, (_, i) => TokenId.make(100 + ((n * 7 + i) % 50)))

const generate = (tokens: ReadonlyArray<TokenId>, maxTokens: number) => tokensAfter(tokens, "helix-demo", { maxTokens })

const workers = Effect.gen(function* () {
  const { replicas } = yield* (yield* Runtime).fleet
  return replicas.map(({ pid }) => pid)
})

layer(poisonable, { timeout: 120_000, excludeTestServices: true })("a request that kills its workers", (it) => {
  it.effect("fails alone; who shared its workers gets every token; sent again, it harms nobody", () =>
    Effect.gen(function* () {
      const innocents = [0, 1, 2, 3]
      const undisturbed = yield* Effect.forEach(innocents, (n) => generate(prompt(n), 150), {
        concurrency: "unbounded"
      })
      const poisoned = [...prompt(9), poison]
      const [answers, refusal] = yield* Effect.all(
        [
          Effect.forEach(innocents, (n) => generate(prompt(n), 150), { concurrency: "unbounded" }),
          Effect.flip(generate(poisoned, 150))
        ],
        { concurrency: "unbounded" }
      )
      expect(answers).toEqual(undisturbed)
      expect(refusal).toBeInstanceOf(RequestQuarantined)

      const before = yield* workers
      expect(yield* Effect.flip(generate(poisoned, 150))).toBeInstanceOf(RequestQuarantined)
      expect(yield* generate(prompt(0), 150)).toEqual(undisturbed[0])
      expect(yield* workers).toEqual(before)
    })
  )
})
