/**
 * Writes what `train.py` reads: `tokenizer.json` and `tokenizer_config.json`, `ids.bin` (uint16), `learned.bin` (uint8, one per
 * id) and `lengths.bin` (uint16, one per conversation).
 *
 *   npx tsx --conditions=source packages/runtime/models/recipe/prepare.ts <folder> [conversations] [families]
 *
 * With families, e.g. `counting,tools`: other conversations, of which these make twice their share, for the tokenizer that is there.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { Tokenizer } from "@huggingface/tokenizers"
import { tokenizerJson } from "../../src/ByteLevelBpe.ts"
import { chatTemplate, encode, render, specialTokens } from "./ChatTemplate.ts"
import { chatConfig, tokenizerConfig } from "./Config.ts"
import { wordVocabulary } from "./Vocabulary.ts"
import { trainingConversations } from "./World.ts"

const [folder, count = "650000", more] = process.argv.slice(2)
if (folder === undefined) throw new Error("usage: prepare.ts <folder> [conversations]")

const read = (file: string) => JSON.parse(fs.readFileSync(path.join(folder, file), "utf8"))
/** Where a model goes on learning, its vocabulary stays. */
const tokenizer = more === undefined ? tokenizerJson(vocabulary()) : read("tokenizer.json")

function vocabulary() {
  const separator = new RegExp(specialTokens.map((token) => token.replaceAll("|", "\\|")).join("|"))
  const texts = Array.from(
    trainingConversations(Math.min(Number(count), 30_000)),
    (conversation) => [conversation, render(conversation).split(separator)] as const
  )
  return wordVocabulary(texts, specialTokens, chatConfig.vocab_size, 8)
}

const chatTokenizerConfig = {
  ...tokenizerConfig,
  chat_template: chatTemplate,
  model_max_length: chatConfig.max_position_embeddings
}

const encoder = new Tokenizer(tokenizer, chatTokenizerConfig)
const conversations =
  more === undefined ? trainingConversations(Number(count)) : trainingConversations(Number(count), 3, more.split(","))
const encoded = Array.from(conversations, (conversation) => {
  const { ids, learned } = encode(encoder, conversation)
  return { ids: Uint16Array.from(ids), learned: Uint8Array.from(learned, Number) }
})

fs.mkdirSync(folder, { recursive: true })
fs.writeFileSync(path.join(folder, "tokenizer.json"), `${JSON.stringify(tokenizer)}\n`)
fs.writeFileSync(path.join(folder, "tokenizer_config.json"), `${JSON.stringify(chatTokenizerConfig, null, 2)}\n`)
fs.writeFileSync(path.join(folder, "config.json"), `${JSON.stringify(chatConfig, null, 2)}\n`)
const write = (file: string, parts: ReadonlyArray<Uint8Array | Uint16Array>) =>
  fs.writeFileSync(
    path.join(folder, file),
    Buffer.concat(parts.map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength)))
  )
write(
  "ids.bin",
  encoded.map(({ ids }) => ids)
)
write(
  "learned.bin",
  encoded.map(({ learned }) => learned)
)
write("lengths.bin", [Uint16Array.from(encoded, ({ ids }) => ids.length)])

const tokens = encoded.reduce((sum, { ids }) => sum + ids.length, 0)
console.log(`${encoded.length} conversations, ${(tokens / encoded.length).toFixed(1)} tokens each`)
