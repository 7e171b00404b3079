import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { ForecastStore } from "../src/ForecastStore.ts"
import { onEachDatabase } from "./databases.ts"

onEachDatabase("what is forecast", (database) => {
  it.effect("is what was kept last, and nothing before", () =>
    Effect.gen(function* () {
      const store = yield* ForecastStore
      assert.strictEqual(yield* store.recall, undefined)
      yield* store.keep("one")
      yield* store.keep("two")
      assert.strictEqual(yield* store.recall, "two")
    }).pipe(Effect.provide(ForecastStore.layer), Effect.provide(database))
  )
})
