/**
 * Writes what `train.py` reads: `tokenizer.json` and `tokenizer_config.json`, `ids.bin` (uint16), `learned.bin` (uint8, one per
 * id) and `lengths.bin` (uint16, one per conversation).
 *
 *   npx tsx --conditions=source packages/runtime/models/recipe/prepare.ts <folder> [conversations]
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { Tokenizer } from "@huggingface/tokenizers"
import { tokenizerJson } from "../../src/ByteLevelBpe.ts"
import { chatTemplate, encode, render, specialTokens } from "./ChatTemplate.ts"
import { chatConfig, tokenizerConfig } from "./Config.ts"
import { wordVocabulary } from "./Vocabulary.ts"
import { trainingConversations } from "./World.ts"

const [folder, count = "200000"] = process.argv.slice(2)
if (folder === undefined) throw new Error("usage: prepare.ts <folder> [conversations]")

const conversations = trainingConversations(Number(count))

const separator = new RegExp(specialTokens.map((token) => token.replaceAll("|", "\\|")).join("|"))
const texts = conversations
  .slice(0, 30_000)
  .map((conversation) => [conversation, render(conversation).split(separator)] as const)
const vocabulary = wordVocabulary(texts, specialTokens, chatConfig.vocab_size, 8)
const tokenizer = tokenizerJson(vocabulary)
const chatTokenizerConfig = {
  ...tokenizerConfig,
  chat_template: chatTemplate,
  model_max_length: chatConfig.max_position_embeddings
}

const encoder = new Tokenizer(tokenizer, chatTokenizerConfig)
const encoded = conversations.map((conversation) => encode(encoder, conversation))

fs.mkdirSync(folder, { recursive: true })
fs.writeFileSync(path.join(folder, "tokenizer.json"), `${JSON.stringify(tokenizer)}\n`)
fs.writeFileSync(path.join(folder, "tokenizer_config.json"), `${JSON.stringify(chatTokenizerConfig, null, 2)}\n`)
fs.writeFileSync(path.join(folder, "config.json"), `${JSON.stringify(chatConfig, null, 2)}\n`)
const write = (file: string, data: Uint8Array | Uint16Array) =>
  fs.writeFileSync(path.join(folder, file), new Uint8Array(data.buffer))
write("ids.bin", Uint16Array.from(encoded.flatMap(({ ids }) => ids)))
write("learned.bin", Uint8Array.from(encoded.flatMap(({ learned }) => learned.map(Number))))
write("lengths.bin", Uint16Array.from(encoded.map(({ ids }) => ids.length)))

const tokens = encoded.reduce((sum, { ids }) => sum + ids.length, 0)
console.log(
  `${conversations.length} conversations, ${vocabulary.specials.length + vocabulary.tokens.length} tokens in the vocabulary, ${(tokens / conversations.length).toFixed(1)} tokens each`
)
