/** What becomes of streams when a model's files are replaced under them. */
import { mkdtempSync, renameSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { expect, layer } from "@effect/vitest"
import { ModelReplaced } from "@helixflow/schema/Errors"
import type { TokenId } from "@helixflow/schema/Ids"
import { Effect, Mailbox, Stream } from "effect"
import { afterAll, vi } from "vitest"
import { Runtime } from "../src/Runtime.ts"
import { writeJson, writeTinyChatModel } from "../src/TestModels.ts"
import { compiled } from "./compiled.ts"
import { anySession, drawn } from "./generated.ts"
import { runtimeWith } from "./runtimeWith.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const root = mkdtempSync(join(tmpdir(), "helix-replaced-"))
const models = join(root, "models")
afterAll(() => rmSync(root, { recursive: true, force: true }))

const oldWeights = { hidden_size: 32 }
const newWeights = { hidden_size: 48 }
writeTinyChatModel(join(models, "old"), oldWeights)
writeTinyChatModel(join(models, "new"), newWeights)
for (const [name, afterTokens] of [
  ["early", 0],
  ["late", 20]
] as const) {
  const successor = join(root, `${name}-successor`)
  writeTinyChatModel(join(models, name), oldWeights)
  writeJson(join(models, name), "die.json", { afterTokens, successor })
  writeTinyChatModel(successor, newWeights)
}

const runtime = runtimeWith(await compiled("./replacingWorker.ts"), {
  HELIX_MODELS_DIR: models,
  HELIX_DATA_DIR: join(root, "data")
})

/** What a model says, and why it said no more. */
const say = (model: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const prompt = { _tag: "Text", text: "once upon a time", addSpecialTokens: false } as const
      const tokens: Array<TokenId> = []
      const started: Array<string> = []
      const events = yield* (yield* Runtime).generate(anySession(), drawn(model, prompt))
      const end = yield* Effect.either(
        Stream.runForEach(Mailbox.toStream(events), (event) =>
          Effect.sync(() => {
            if (event._tag === "Started") started.push(event.model)
            if (event._tag === "Delta") tokens.push(...event.tokens)
          })
        )
      )
      return { tokens, started, error: end._tag === "Left" ? end.left : undefined }
    })
  )

layer(runtime, { timeout: 120_000, excludeTestServices: true })("a stream whose model was replaced", (it) => {
  it.effect(
    "fails when its worker is lost, and never goes on with other weights; who comes next gets the new ones",
    () =>
      Effect.gen(function* () {
        const before = yield* say("old")
        const after = yield* say("new")
        expect(before.tokens).toHaveLength(60)
        expect(after.tokens).not.toEqual(before.tokens)

        const cut = yield* say("late")
        expect(cut.error).toEqual(new ModelReplaced({ model: "late" }))
        expect(cut.tokens.length).toBeGreaterThan(0)
        expect(cut.tokens).toEqual(before.tokens.slice(0, cut.tokens.length))
        expect((yield* say("late")).tokens).toEqual(after.tokens)
      })
  )

  it.effect("begins anew with the new one if it had said nothing", () =>
    Effect.gen(function* () {
      const after = yield* say("new")
      expect(yield* say("early")).toEqual({ ...after, started: ["early"] })
    })
  )

  it.effect(
    "is answered all the while it is replaced, each time by one of the two, and by the new one in the end",
    () =>
      Effect.gen(function* () {
        const before = yield* say("old")
        const after = yield* say("new")
        writeTinyChatModel(join(root, "next"), newWeights)
        renameSync(join(models, "old"), join(root, "gone"))
        renameSync(join(root, "next"), join(models, "old"))
        const answers = yield* Effect.iterate([before], {
          while: (answers) => !isDeepStrictEqual(answers.at(-1)?.tokens, after.tokens),
          body: (answers) => Effect.map(say("old"), (answer) => [...answers, answer])
        })
        for (const answer of answers.slice(0, -1)) expect(answer).toEqual(before)
        const { replicas } = yield* (yield* Runtime).fleet
        expect(replicas.filter(({ model, state }) => model === "old" && state === "ready")).toHaveLength(1)
      })
  )
})
