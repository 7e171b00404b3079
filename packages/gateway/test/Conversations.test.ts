/** Conversations on a model of several replicas, on a server as a user starts it. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { FileSystem } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it, vi } from "@effect/vitest"
import { writeTinyChatModel } from "@helixflow/runtime/TestModels"
import { Effect } from "effect"
import OpenAI from "openai"
import { startServer } from "./Program.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const key = "hx-a-key-of-the-suite"

type Message = OpenAI.Chat.Completions.ChatCompletionMessageParam

describe("A conversation", () => {
  it.scopedLive("stays on the replica that has computed its beginning, while others come and go", () =>
    Effect.gen(function* () {
      const files = yield* FileSystem.FileSystem
      const models = yield* Effect.orDie(files.makeTempDirectoryScoped({ prefix: "helixflow-models-" }))
      const folder = join(models, "helix-demo")
      writeTinyChatModel(folder, { max_position_embeddings: 4096 })
      writeFileSync(
        join(folder, "helixflow.json"),
        JSON.stringify({ slots: 8, context: 4096, replicas: { min: 2, max: 2 } })
      )
      const server = yield* startServer({
        HELIX_BOOTSTRAP_KEY: key,
        HELIX_MODELS_DIR: models,
        HELIX_DEVICES: "cpu:0=1GiB,cpu:1=1GiB"
      })
      const client = new OpenAI({ apiKey: key, baseURL: `${server.url}/v1`, maxRetries: 0 })
      const ask = async (messages: ReadonlyArray<Message>, more: object = {}) =>
        await client.chat.completions.create({
          model: "helix-demo",
          messages: [...messages],
          max_tokens: 8,
          ...{ ignore_eos: true },
          ...more
        })
      const turn = async (messages: Array<Message>, question: string, more: object) => {
        messages.push({ role: "user", content: question })
        const { choices, usage } = await ask(messages, more)
        messages.push({ role: "assistant", content: choices[0]?.message.content ?? "" })
        return usage?.prompt_tokens_details?.cached_tokens ?? 0
      }
      yield* Effect.promise(async () => {
        // the first question is the same for all, and the name tells them apart, or the question does
        const conversations = Array.from({ length: 6 }, (_, n) => {
          const messages: Array<Message> = []
          return n < 3
            ? {
                messages,
                question: "Tell me something about the sea, please, and make it long.",
                more: { prompt_cache_key: `conversation ${n}` }
              }
            : { messages, question: `Question ${n}: what is so long?`, more: {} }
        })
        for (const { messages, more, question } of conversations) await turn(messages, question, more)
        for (let round = 0; round < 3; round++) {
          // now one replica is the busier, and now the other
          const load = Array.from({ length: 1 + round }, (_, n) =>
            ask([{ role: "user", content: `load ${round} ${n}` }], { max_tokens: 300 })
          )
          for (const { messages, more } of conversations) {
            assert.isAbove(await turn(messages, "And what else?", more), 16)
          }
          await Promise.all(load)
        }
      })
    }).pipe(Effect.provide(NodeContext.layer))
  )
})
