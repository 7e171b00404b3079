import * as fs from "node:fs"
import * as path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { LoadFailed } from "@helixflow/schema/Errors"
import { describeModelFolder } from "../src/ModelFolder.ts"
import {
  tinyBert,
  tinyLlama,
  type WriteLlamaOptions,
  writeTinyChatModel,
  writeTinyEmbeddingModel
} from "../src/TestModels.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

const root = temporaryFolder()
let folders = 0

const folderOf = (write: (folder: string) => void, files: Readonly<Record<string, unknown>> = {}) => {
  const folder = path.join(root, String(folders++))
  write(folder)
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(folder, name)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    if (content === null) fs.rmSync(file, { recursive: true })
    else fs.writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content))
  }
  return folder
}
const chat = (files: Readonly<Record<string, unknown>> = {}) => folderOf((folder) => writeTinyChatModel(folder), files)
const embedding = (files: Readonly<Record<string, unknown>> = {}) =>
  folderOf((folder) => writeTinyEmbeddingModel(folder), files)
const describeFolder = (folder: string) => describeModelFolder(folder, "org/model")

const refusal = (folder: string): LoadFailed => {
  try {
    describeFolder(folder)
  } catch (cause) {
    if (cause instanceof LoadFailed) return cause
    throw cause
  }
  throw new Error("the folder was not refused")
}

describe("a text generation folder", () => {
  it("is described by its files", () => {
    const folder = chat()
    const model = describeFolder(folder)
    expect(model).toMatchObject({
      task: "text-generation",
      architecture: "LlamaForCausalLM",
      graph: path.join(folder, "onnx", "model.onnx"),
      vocabulary: 320,
      context: 512,
      eosTokenIds: [3],
      sampling: {},
      embeddingPrompts: { byName: new Map(), default: "" }
    })
    expect(model.kvPerToken).toBe(2 * 2 * 2 * 16 * 4)
    expect(model.weights).toBeGreaterThan(model.graphBytes)
    expect(model.chatTemplates?.default).toContain("message['role']")
  })

  it("has a context of the smallest limit that its files name", () => {
    expect(describeFolder(chat({ "tokenizer_config.json": { model_max_length: 100 } })).context).toBe(100)
    expect(describeFolder(chat({ "tokenizer_config.json": { model_max_length: 1e30 } })).context).toBe(512)
  })

  it("may name its figures as GPT-2 does", () => {
    const config = {
      architectures: ["GPT2LMHeadModel"],
      n_embd: 64,
      n_layer: 3,
      n_head: 4,
      n_positions: 256,
      eos_token_id: [7, 8]
    }
    expect(describeFolder(chat({ "config.json": config, "generation_config.json": null }))).toMatchObject({
      task: "text-generation",
      context: 256,
      // as the graph says, whatever the configuration does
      kvPerToken: 2 * 2 * 2 * 16 * 4,
      eosTokenIds: [7, 8]
    })
  })

  it("has the sampling of its generation_config.json as defaults", () => {
    const sampling = {
      do_sample: true,
      temperature: 0.7,
      top_p: 0.8,
      top_k: 20,
      min_p: 0.05,
      typical_p: 0.9,
      repetition_penalty: 1.1
    }
    expect(describeFolder(chat({ "generation_config.json": sampling })).sampling).toEqual({
      temperature: 0.7,
      topP: 0.8,
      topK: 20,
      minP: 0.05,
      typicalP: 0.9,
      repetitionPenalty: 1.1
    })
    expect(describeFolder(chat({ "generation_config.json": { do_sample: false } })).sampling).toEqual({
      temperature: 0
    })
  })

  it("has its chat template in a file of its own, as one text or by name", () => {
    const named = [
      { name: "tool_use", template: "tools" },
      { name: "default", template: "plain" }
    ]
    const templates = (files: Readonly<Record<string, unknown>>) => describeFolder(chat(files)).chatTemplates
    const config = { "tokenizer_config.json": { chat_template: named } }
    expect(templates({ "chat_template.jinja": "own" })).toEqual({ default: "own", toolUse: null })
    expect(templates(config)).toEqual({ default: "plain", toolUse: "tools" })
    expect(templates({ ...config, "additional_chat_templates/tool_use.jinja": "own" })?.toolUse).toBe("own")
    expect(templates({ "tokenizer_config.json": {} })).toBeNull()
  })

  const written = (files: ReadonlyArray<string>, settings: object = {}, options: WriteLlamaOptions = {}) => {
    const folder = chat({ "onnx/model.onnx": null, "helixflow.json": settings })
    for (const file of files) writeTinyChatModel(folder, { ...options, file })
    return folder
  }
  const chosen = (...given: Parameters<typeof written>) => {
    const folder = written(...given)
    return path.relative(folder, describeFolder(folder).graph)
  }

  it("is loaded from the most precise file, in the names that exporters give", () => {
    expect(chosen(["onnx/model_q4.onnx", "onnx/model_quantized.onnx"])).toBe("onnx/model_quantized.onnx")
    expect(chosen(["onnx/model_quantized.onnx", "onnx/model_fp16.onnx"])).toBe("onnx/model_fp16.onnx")
    expect(chosen(["onnx/model_fp16.onnx", "model.onnx"])).toBe("model.onnx")
    expect(chosen(["onnx/decoder_with_past_model.onnx", "onnx/decoder_model_merged.onnx"])).toBe(
      "onnx/decoder_model_merged.onnx"
    )
  })

  it("is loaded in half precision on a GPU, and in eight bits only where there is nothing else", () => {
    const onGpu = (...given: Parameters<typeof written>) => {
      const folder = written(...given)
      return path.relative(folder, describeModelFolder(folder, "org/model", "cuda").graph)
    }
    expect(onGpu(["onnx/model.onnx", "onnx/model_fp16.onnx"])).toBe("onnx/model_fp16.onnx")
    expect(onGpu(["onnx/model_q4.onnx", "onnx/model_q4f16.onnx", "onnx/model_quantized.onnx"])).toBe(
      "onnx/model_q4f16.onnx"
    )
    expect(onGpu(["onnx/model_quantized.onnx"])).toBe("onnx/model_quantized.onnx")
  })

  it("is loaded from the file or in the precision that its settings ask for", () => {
    const files = ["onnx/model.onnx", "onnx/model_q4.onnx", "other.onnx"]
    expect(chosen(files, { dtype: "q4" })).toBe("onnx/model_q4.onnx")
    expect(chosen(files, { file: "other.onnx" })).toBe("other.onnx")
    expect(refusal(written(files, { dtype: "int8" })).reason).toMatch(/no ONNX file/)
    expect(refusal(written(files, { file: "none.onnx" })).reason).toMatch(/none\.onnx/)
  })

  it("passes over files that can't be used, and names each with its reason where none is left", () => {
    const unusable = { "onnx/model.onnx": "<!doctype html>", "onnx/model_quantized.onnx": "" }
    const folder = chat(unusable)
    writeTinyChatModel(folder, { file: "onnx/model_q4.onnx" })
    expect(path.basename(describeFolder(folder).graph)).toBe("model_q4.onnx")
    const { reason, file } = refusal(chat(unusable))
    expect(reason).toMatch(/onnx\/model\.onnx: .*; onnx\/model_quantized\.onnx: .*/)
    expect(file).toMatch(/model\.onnx$/)
  })

  it("keeps the files at hand that take no more memory, should the runtime refuse the best", () => {
    const folder = written(["onnx/model.onnx", "onnx/model_q4.onnx"])
    writeTinyChatModel(folder, { file: "onnx/model_int8.onnx", scheme: "int8" })
    const names = describeFolder(folder).otherGraphs.map((file) => path.basename(file))
    // what is named q4 here is as large as the best, and counted as quantized
    expect(names).toEqual(["model_int8.onnx"])
  })

  it("charges for its cache in the precision that the graph has", () => {
    const half = written(["onnx/model_fp16.onnx"], {}, { precision: "float16" })
    expect(describeFolder(half).kvPerToken).toBe(2 * 2 * 2 * 16 * 2)
  })

  it("is refused where weights beside its graph are missing or cut off", () => {
    const folder = folderOf((folder) => writeTinyChatModel(folder, { externalData: true }))
    const weights = path.join(folder, "onnx", "model.onnx_data")
    fs.truncateSync(weights, fs.statSync(weights).size - 1)
    expect(refusal(folder)).toMatchObject({ file: weights, reason: expect.stringMatching(/cut off/) })
    fs.rmSync(weights)
    expect(refusal(folder)).toMatchObject({ file: weights, reason: expect.stringMatching(/missing/) })
  })

  it("weighs what is in the files beside the graph too", () => {
    const inside = describeFolder(chat())
    const outside = describeFolder(folderOf((folder) => writeTinyChatModel(folder, { externalData: true })))
    expect(outside.graphBytes).toBeGreaterThan(inside.graphBytes)
  })
})

describe("an embedding folder", () => {
  it("is described by the files of sentence-transformers", () => {
    expect(describeFolder(embedding())).toMatchObject({
      task: "embedding",
      context: tinyBert.max_position_embeddings,
      kvPerToken: 0,
      pooling: "mean"
    })
  })

  it("pools as its files say and puts the default prompt before every text", () => {
    const files = {
      "1_Pooling/config.json": { pooling_mode_cls_token: true, pooling_mode_mean_tokens: false },
      "config_sentence_transformers.json": { prompts: { query: "query: " }, default_prompt_name: "query" },
      "sentence_bert_config.json": { max_seq_length: 64 }
    }
    expect(describeFolder(embedding(files))).toMatchObject({
      pooling: "cls",
      embeddingPrompts: { byName: new Map([["query", "query: "]]), default: "query: " },
      context: 64
    })
    const lastToken = { "1_Pooling/config.json": { pooling_mode_lasttoken: true } }
    expect(describeFolder(embedding(lastToken)).pooling).toBe("last-token")
    const later = { "1_Pooling/config.json": { embedding_dimension: 32, pooling_mode: "cls", include_prompt: true } }
    expect(describeFolder(embedding(later)).pooling).toBe("cls")
  })

  it("of RoBERTa's kind has fewer positions than its files count", () => {
    const config = { model_type: "xlm-roberta", architectures: ["XLMRobertaModel"], max_position_embeddings: 514 }
    const files = { "config.json": config, "tokenizer_config.json": {}, "sentence_bert_config.json": null }
    expect(describeFolder(embedding(files)).context).toBe(512)
  })

  it("may be a bare encoder, or a decoder with a pooling", () => {
    const bare = { "modules.json": null, "1_Pooling": null }
    expect(describeFolder(embedding(bare)).task).toBe("embedding")
    const decoder = { ...tinyBert, architectures: ["Qwen3ForCausalLM"] }
    expect(describeFolder(embedding({ "config.json": decoder })).task).toBe("embedding")
  })
})

describe("a folder that can't be served", () => {
  it.each([
    ["has no config.json", chat({ "config.json": null }), "config.json", /no config.json/],
    ["has no tokenizer", chat({ "tokenizer.json": null }), "tokenizer.json", /no tokenizer.json/],
    ["has no graph", chat({ "onnx/model.onnx": null }), "", /no ONNX file/],
    ["has a malformed file", chat({ "config.json": "{" }), "config.json", /JSON/],
    ["has a figure that is none", chat({ "config.json": { vocab_size: "many" } }), "config.json", /vocab_size/],
    [
      "is of an unknown kind",
      chat({ "config.json": { ...tinyLlama, architectures: ["WhisperForConditionalGeneration"] } }),
      "config.json",
      /WhisperForConditionalGeneration/
    ],
    [
      "says nothing of its context",
      chat({ "config.json": { architectures: ["XForCausalLM"] }, "tokenizer_config.json": {} }),
      "config.json",
      /context length/
    ],
    [
      "pools in a way that isn't known",
      embedding({ "1_Pooling/config.json": { pooling_mode_max_tokens: true } }),
      path.join("1_Pooling", "config.json"),
      /pooling `max`/
    ],
    [
      "pools in several ways",
      embedding({ "1_Pooling/config.json": { pooling_mode: ["cls", "mean"] } }),
      path.join("1_Pooling", "config.json"),
      /`cls` with `mean`/
    ],
    [
      "pools without its prompts",
      embedding({
        "1_Pooling/config.json": { pooling_mode: "mean", include_prompt: false },
        "config_sentence_transformers.json": { prompts: { query: "q: " } }
      }),
      path.join("1_Pooling", "config.json"),
      /leaves the prompt out/
    ],
    [
      "has a default prompt that it has not",
      embedding({ "config_sentence_transformers.json": { prompts: {}, default_prompt_name: "query" } }),
      "config_sentence_transformers.json",
      /`query`/
    ],
    [
      "has a layer after the pooling",
      embedding({ "modules.json": [{ path: "2_Dense", type: "sentence_transformers.models.Dense" }] }),
      "modules.json",
      /dense layer/
    ]
  ])("is refused with the reason and the file where it %s", (_, folder, file, reason) => {
    const failed = refusal(folder)
    expect(failed.model).toBe("org/model")
    expect(failed.file).toBe(path.join(folder, file))
    expect(failed.reason).toMatch(reason)
  })
})
