/**
 * Writes what `train_embed.py` reads: `embed.json` (the encoder's config), and pairs of sentences of one meaning as
 * `pair_ids.bin` (uint16), `pair_lengths.bin` (uint16, one per sentence) and `pair_meanings.bin` (uint32, one per pair); and the
 * encoder's tokenizer as `embed_tokenizer.json`. It is not helix-demo's: pieces of words say more of a meaning than letters.
 *
 *   npx tsx --conditions=source packages/runtime/models/recipe/prepareEmbed.ts <folder> [pairs]
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { Tokenizer } from "@huggingface/tokenizers"
import { tokenizerJson } from "../../src/ByteLevelBpe.ts"
import { trainBpe } from "./Bpe.ts"
import { specialTokens } from "./ChatTemplate.ts"
import { embedConfig } from "./Config.ts"
import { Draw } from "./Draw.ts"
import { drawPair } from "./Paraphrases.ts"

const [folder, count = "300000"] = process.argv.slice(2)
if (folder === undefined) throw new Error("usage: prepareEmbed.ts <folder> [pairs]")

const draw = new Draw(4, "train")
const pairs = Array.from({ length: Number(count) }, () => drawPair(draw))
const texts = pairs.slice(0, 30_000).flatMap((pair) => pair.map(({ text }) => text))
const tokenizerData = tokenizerJson(trainBpe(texts, specialTokens, embedConfig.vocab_size))
const tokenizer = new Tokenizer(tokenizerData, {})
const meanings = new Map<string, number>()
const ids: Array<number> = []
const lengths: Array<number> = []
const pairMeanings = pairs.map((pair) => {
  for (const { text } of pair) {
    const tokens = tokenizer.encode(text, { add_special_tokens: false }).ids
    for (const token of tokens) ids.push(token)
    lengths.push(tokens.length)
  }
  const meaning = meanings.get(pair[0].meaning) ?? meanings.size
  meanings.set(pair[0].meaning, meaning)
  return meaning
})

fs.mkdirSync(folder, { recursive: true })
const write = (file: string, data: Uint16Array | Uint32Array) =>
  fs.writeFileSync(path.join(folder, file), new Uint8Array(data.buffer))
write("pair_ids.bin", Uint16Array.from(ids))
write("pair_lengths.bin", Uint16Array.from(lengths))
write("pair_meanings.bin", Uint32Array.from(pairMeanings))
fs.writeFileSync(path.join(folder, "embed_tokenizer.json"), `${JSON.stringify(tokenizerData)}\n`)
fs.writeFileSync(path.join(folder, "embed.json"), `${JSON.stringify(embedConfig, null, 2)}\n`)
console.log(
  `${pairMeanings.length} pairs of ${meanings.size} meanings, ${(ids.length / lengths.length).toFixed(1)} tokens each`
)
