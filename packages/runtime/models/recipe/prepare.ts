/**
 * Writes what `train.py` reads: `tokenizer.json` and `tokenizer_config.json`, `ids.bin` (uint16), `learned.bin` (uint8, one per
 * id) and `lengths.bin` (uint16, one per conversation).
 *
 *   npx tsx --conditions=source packages/runtime/models/recipe/prepare.ts <folder> [conversations] [families]
 *
 * With families, e.g. `counting,tools`: other conversations, of which these make twice their share, for the tokenizer that is there.
 * The conversations are drawn in as many parts, whatever the machine, each from a seed of its own and by a process of its own.
 */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { Tokenizer } from "@huggingface/tokenizers"
import { tokenizerJson } from "../../src/ByteLevelBpe.ts"
import { chatTemplate, encode, render, specialTokens } from "./ChatTemplate.ts"
import { chatConfig, tokenizerConfig } from "./Config.ts"
import { wordVocabulary } from "./Vocabulary.ts"
import { trainingConversations } from "./World.ts"

const PARTS = 12
const FILES = ["ids.bin", "learned.bin", "lengths.bin"] as const

const [folder, count = "650000", families = "", part] = process.argv.slice(2)
if (folder === undefined) throw new Error("usage: prepare.ts <folder> [conversations] [families]")

const at = (...name: ReadonlyArray<string | number>) => path.join(folder, name.join("."))
const read = (file: string) => JSON.parse(fs.readFileSync(at(file), "utf8"))

if (part === undefined) await prepare()
else drawPart(Number(part))

async function prepare(): Promise<void> {
  fs.mkdirSync(folder ?? "", { recursive: true })
  // Where a model goes on learning, its vocabulary stays.
  if (families === "") fs.writeFileSync(at("tokenizer.json"), `${JSON.stringify(tokenizerJson(vocabulary()))}\n`)
  const chatTokenizerConfig = {
    ...tokenizerConfig,
    chat_template: chatTemplate,
    model_max_length: chatConfig.max_position_embeddings
  }
  fs.writeFileSync(at("tokenizer_config.json"), `${JSON.stringify(chatTokenizerConfig, null, 2)}\n`)
  fs.writeFileSync(at("config.json"), `${JSON.stringify(chatConfig, null, 2)}\n`)
  const parts = [...Array(PARTS).keys()]
  await Promise.all(parts.map(runPart))
  for (const file of FILES) {
    fs.writeFileSync(at(file), "")
    for (const index of parts) {
      fs.appendFileSync(at(file), fs.readFileSync(at(file, index)))
      fs.rmSync(at(file, index))
    }
  }
  const [tokens, drawn] = [fs.statSync(at("ids.bin")).size / 2, fs.statSync(at("lengths.bin")).size / 2]
  console.log(`${drawn} conversations, ${(tokens / drawn).toFixed(1)} tokens each`)
}

function vocabulary() {
  const separator = new RegExp(specialTokens.map((token) => token.replaceAll("|", "\\|")).join("|"))
  const texts = Array.from(
    trainingConversations(Math.min(Number(count), 30_000)),
    (conversation) => [conversation, render(conversation).split(separator)] as const
  )
  return wordVocabulary(texts, specialTokens, chatConfig.vocab_size, 8)
}

/** Draws a part in a process of its own. */
function runPart(index: number): Promise<void> {
  const args = [fileURLToPath(import.meta.url), folder ?? "", count, families, String(index)]
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...process.execArgv, ...args], { stdio: "inherit" })
    child.on("error", reject)
    child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`part ${index} ended with code ${code}`))))
  })
}

function drawPart(index: number): void {
  const encoder = new Tokenizer(read("tokenizer.json"), read("tokenizer_config.json"))
  // Seeds 1, 1001, 2001, …; what a model goes on with begins at 3.
  const seed = (families === "" ? 1 : 3) + 1000 * index
  const conversations = trainingConversations(Math.ceil(Number(count) / PARTS), seed, families.split(","))
  const encoded = Array.from(conversations, (conversation) => {
    const { ids, learned } = encode(encoder, conversation)
    return { ids: Uint16Array.from(ids), learned: Uint8Array.from(learned, Number) }
  })
  const write = (file: (typeof FILES)[number], parts: ReadonlyArray<Uint8Array | Uint16Array>) =>
    fs.writeFileSync(
      at(file, index),
      Buffer.concat(parts.map((bytes) => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)))
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
}
