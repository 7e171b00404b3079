/**
 * A worker that dies just after its model was replaced: `die.json` in the model's folder says after how many tokens of a sequence, and
 * which folder then has the model's place.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type { TextEngine } from "../src/Engine.ts"
import { loadOnnxEngine } from "../src/OnnxEngine.ts"
import * as WorkerProgram from "../src/WorkerProgram.ts"

interface Death {
  readonly afterTokens: number
  readonly successor: string
}

const mortal = (engine: TextEngine, folder: string, { afterTokens, successor }: Death): TextEngine => {
  let tokens = 0
  const { step } = engine
  return Object.assign(engine, {
    step: async () => {
      if (tokens >= afterTokens) {
        fs.renameSync(folder, `${folder}.old`)
        fs.renameSync(successor, folder)
        process.abort()
      }
      const result = await step()
      for (const batch of result.batches) tokens += batch.tokens.length
      return result
    }
  })
}

WorkerProgram.run({
  loadEngine: async (options) => {
    const engine = await loadOnnxEngine(options)
    const file = path.join(options.path, "die.json")
    if (engine.task !== "text-generation" || !fs.existsSync(file)) return engine
    return mortal(engine, options.path, JSON.parse(fs.readFileSync(file, "utf8")))
  }
})
