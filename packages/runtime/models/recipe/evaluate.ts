/**
 * Asks helix-demo what its training held back and prints the share of right answers per family, as the model card shows it.
 * An answer is right when it is the expected text, word for word.
 *
 *   npm run eval:demo -- [--model <folder>] [--file onnx/model_quantized.onnx] [--count 200] [--seed 2] [--sample] [--split train]
 *   [--verbose]
 */
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { prompt } from "./ChatTemplate.ts"
import { generationConfig } from "./Config.ts"
import { openDecoder, type Sampler } from "./Decoder.ts"
import { Draw } from "./Draw.ts"
import { families } from "./Turn.ts"
import { evaluationConversations } from "./World.ts"

const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: fileURLToPath(new URL("../helix-demo", import.meta.url)) },
    file: { type: "string", default: "onnx/model_quantized.onnx" },
    count: { type: "string", default: "200" },
    /** Another draws other questions. */
    seed: { type: "string", default: "2" },
    /** Samples with OpenAI's default temperature of 1 and the top_p and top_k of the generation config. */
    sample: { type: "boolean", default: false },
    /** `train` asks what training has seen the likes of: the difference is what was not generalized. */
    split: { type: "string", default: "test" },
    verbose: { type: "boolean", default: false }
  }
})

const split = options.split
if (split !== "train" && split !== "test") throw new Error(`--split is train or test, not ${split}`)
const decoder = await openDecoder(path.resolve(options.model), options.file)
const draw = new Draw(3, "test")
const sampler: Sampler | undefined = options.sample
  ? { temperature: 1, topP: generationConfig.top_p, topK: generationConfig.top_k, random: () => draw.next() }
  : undefined

let rightInAll = 0
let askedInAll = 0
let tokens = 0
const began = performance.now()
console.log("| family | right | asked | share |\n|---|---|---|---|")
const row = (name: string, right: number, asked: number) =>
  console.log(`| ${name} | ${right} | ${asked} | ${((100 * right) / asked).toFixed(1)} % |`)
for (const family of families) {
  const conversations = evaluationConversations(family, Number(options.count), Number(options.seed), split)
  let right = 0
  for (const conversation of conversations) {
    const expected = prompt(conversation)
    const given = await decoder.answer(expected.prompt, sampler)
    tokens += given.tokens
    if (given.text === expected.answer) right += 1
    else if (options.verbose) {
      console.error(`${family}\n${expected.prompt}\n  expected: ${expected.answer}\n  given:    ${given.text}\n`)
    }
  }
  row(family, right, conversations.length)
  rightInAll += right
  askedInAll += conversations.length
}
row("**all**", rightInAll, askedInAll)
const seconds = (performance.now() - began) / 1000
console.log(`\n${options.file}: ${Math.round(tokens / seconds)} tokens/s, one sequence, one thread`)
