import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { chatTemplate, prompt, render } from "../models/recipe/ChatTemplate.ts"
import { openDecoder, type Sampler } from "../models/recipe/Decoder.ts"
import { Draw } from "../models/recipe/Draw.ts"
import { families } from "../models/recipe/Turn.ts"
import { evaluationConversations } from "../models/recipe/World.ts"

const models = fileURLToPath(new URL("../models", import.meta.url))
const json = (file: string) => JSON.parse(fs.readFileSync(`${models}/${file}`, "utf8"))

/** Every file below a folder, and its size in bytes. */
const files = (folder: string): ReadonlyArray<readonly [string, number]> =>
  fs
    .readdirSync(`${models}/${folder}`, { recursive: true, encoding: "utf8" })
    .map((file) => [file, fs.statSync(`${models}/${folder}/${file}`)] as const)
    .flatMap(([file, stat]) => (stat.isFile() ? [[file, stat.size] as const] : []))

describe("the bundled models", () => {
  it("are complete folders in the Hugging Face layout", () => {
    expect(
      files("helix-demo")
        .map(([file]) => file)
        .sort()
    ).toEqual([
      "README.md",
      "config.json",
      "generation_config.json",
      "onnx/model_quantized.onnx",
      "tokenizer.json",
      "tokenizer_config.json"
    ])
    expect(
      files("helix-demo-embed")
        .map(([file]) => file)
        .sort()
    ).toEqual([
      "1_Pooling/config.json",
      "README.md",
      "config.json",
      "modules.json",
      "onnx/model.onnx",
      "sentence_bert_config.json",
      "tokenizer.json",
      "tokenizer_config.json"
    ])
  })

  it("fit into twelve megabytes together", () => {
    const bytes = [...files("helix-demo"), ...files("helix-demo-embed")].reduce((sum, [, size]) => sum + size, 0)
    expect(bytes).toBeLessThan(12e6)
  })

  it("have the recipe's chat template and end their answers as it does", () => {
    const { chat_template: template, eos_token: end } = json("helix-demo/tokenizer_config.json")
    expect(template).toBe(chatTemplate)
    const special: ReadonlyArray<{ id: number; content: string }> = json("helix-demo/tokenizer.json").added_tokens
    expect(special.find(({ content }) => content === end)?.id).toBe(
      json("helix-demo/generation_config.json").eos_token_id
    )
  })

  it("answer the questions of a newcomer", async () => {
    const decoder = await openDecoder(`${models}/helix-demo`, "onnx/model_quantized.onnx")
    const ask = async (content: string) =>
      (await decoder.answer(`${render({ messages: [{ role: "user", content }] })}<|assistant|>\n`)).text
    expect(await ask("Who are you?")).toContain("Helix")
    expect(await ask("What is the capital of France?")).toBe("The capital of France is Paris.")
    expect(await ask("How do I start HelixFlow?")).toContain("npm start")
    expect(await ask("What day comes after Monday?")).toContain("Tuesday")
  })

  // The whole evaluation is `npm run eval:demo`; this notices weights that do not belong to the recipe's texts.
  describe("answer a good part of what was held back in every family", () => {
    const { temperature: _, top_k: topK, top_p: topP } = json("helix-demo/generation_config.json")
    const draw = new Draw(8, "test")
    const sampled: Sampler = { temperature: 1, topP, topK, random: () => draw.next() }
    it.each([
      ["likeliest token first", undefined],
      ["at the temperature of 1 that OpenAI's clients ask for", sampled]
    ])("%s", async (_, sampler) => {
      const decoder = await openDecoder(`${models}/helix-demo`, "onnx/model_quantized.onnx")
      const poor: Array<string> = []
      for (const family of families) {
        let right = 0
        for (const conversation of evaluationConversations(family, 6)) {
          const expected = prompt(conversation)
          if ((await decoder.answer(expected.prompt, sampler)).text === expected.answer) right += 1
        }
        if (right < 2) poor.push(family)
      }
      expect(poor).toEqual([])
    })
  })
})
