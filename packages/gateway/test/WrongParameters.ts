/** What each parameter of the API may not be, endpoint by endpoint. */

type Json = unknown
type Body = Readonly<Record<string, Json>>

export interface Models {
  readonly chatModel: string
  readonly embeddingModel: string
}

const notString: ReadonlyArray<Json> = [1, true, {}, ["a"], []]
const notNumber: ReadonlyArray<Json> = ["1", true, {}, [1], [], ""]
const notInteger: ReadonlyArray<Json> = [...notNumber, 1.5, 1e308, -1.5]
const notBoolean: ReadonlyArray<Json> = ["true", 0, 1, {}, []]
const notObject: ReadonlyArray<Json> = ["a", 1, true, [1]]

/** Wrong values of each parameter of an endpoint; the first valid body is what is spoiled. */
export interface Wrong {
  readonly path: string
  readonly valid: (models: Models) => Body
  readonly values: Readonly<Record<string, ReadonlyArray<Json>>>
}

const samplingValues = {
  model: [...notString, null, ""],
  temperature: [...notNumber, -0.1, 2.1, 1e308],
  top_p: [...notNumber, -1, 1.1],
  n: [...notInteger, 0, -1, 129],
  seed: [...notInteger.filter((value) => value !== -1.5), 2 ** 60],
  stop: [1, true, {}, "", [""], [1], ["a", "b", "c", "d", "e"], [null]],
  max_tokens: [...notInteger, 0, -1],
  presence_penalty: [...notNumber, -2.1, 2.1],
  frequency_penalty: [...notNumber, -2.1, 2.1],
  logit_bias: [...notObject, { a: 1 }, { "1": 101 }, { "1": "1" }, { "-1": 1 }],
  stream: notBoolean,
  stream_options: [...notObject, { include_usage: true }, { include_usage: 1 }, { other: true }],
  user: [1, {}, []],
  top_k: [...notInteger, -2],
  min_p: [...notNumber, -0.1, 1.1],
  typical_p: [...notNumber, -0.1, 1.1],
  repetition_penalty: [...notNumber, 0, -1],
  min_tokens: [...notInteger, -1],
  ignore_eos: notBoolean,
  stop_token_ids: ["a", 1, [-1], [1.5], ["1"], {}]
}

export const wrong: ReadonlyArray<Wrong> = [
  {
    path: "/v1/chat/completions",
    valid: ({ chatModel }) => ({ model: chatModel, messages: [{ role: "user", content: "hi" }], max_tokens: 1 }),
    values: {
      ...samplingValues,
      messages: [
        null,
        "hi",
        {},
        [],
        [1],
        [null],
        [[]],
        [{}],
        [{ role: "user" }],
        [{ content: "hi" }],
        [{ role: "robot", content: "hi" }],
        [{ role: 1, content: "hi" }],
        [{ role: "user", content: null }],
        [{ role: "user", content: 1 }],
        [{ role: "user", content: [] }],
        [{ role: "user", content: [1] }],
        [{ role: "user", content: [{ type: "text" }] }],
        [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:" } }] }],
        [{ role: "user", content: [{ type: "input_audio", input_audio: {} }] }],
        [{ role: "user", content: "hi", other: 1 }],
        [{ role: "user", content: "hi", name: 1 }],
        [{ role: "tool", content: "hi" }],
        [{ role: "assistant", content: "hi", tool_calls: [{ id: "a" }] }],
        [{ role: "assistant" }],
        [{ role: "assistant", content: null, tool_calls: [] }],
        [
          {
            role: "assistant",
            tool_calls: [{ id: "a", type: "function", function: { name: "f", arguments: "no JSON" } }]
          }
        ],
        [
          { role: "user", content: "hi" },
          { role: "function", content: "hi", name: "f" }
        ]
      ],
      max_completion_tokens: [...notInteger, 0, -1],
      logprobs: notBoolean,
      top_logprobs: [...notInteger, -1, 21, 5],
      response_format: [
        "text",
        1,
        {},
        { type: "xml" },
        { type: "json_schema", json_schema: {} },
        { type: "json_schema", json_schema: { name: "a", schema: { type: "string", pattern: "a" } } },
        { type: "json_schema", json_schema: { name: "a", schema: { $ref: "#" } } },
        { type: "json_schema", json_schema: { name: "a", schema: { type: "object" }, strict: true } }
      ],
      modalities: ["text", ["audio"], ["text", "audio"], []],
      tools: [
        1,
        "a",
        {},
        [{ type: "function" }],
        [{ type: "function", function: { name: "no name" } }],
        [{ type: "function", function: { name: "f", parameters: [] } }],
        [{ type: "function", function: { name: "f", strict: 1 } }],
        [{ type: "function", function: { name: "f", strict: true, parameters: { type: "string" } } }],
        [{ type: "custom", custom: { name: "f" } }]
      ],
      tool_choice: ["auto", "required", { type: "function", function: { name: "f" } }, { type: "function" }, "all", 1],
      parallel_tool_calls: notBoolean,
      functions: [[{ name: "f" }], 1],
      function_call: ["auto", { name: "f" }],
      store: [1, "false"],
      service_tier: ["scale", "", 1],
      queue_timeout: ["5", 0, -1, 3601],
      reasoning_effort: ["low", "high", 1],
      verbosity: ["low", "high", 1],
      audio: [{ voice: "alloy", format: "mp3" }, 1],
      prediction: [{ type: "content", content: "a" }, 1],
      web_search_options: [{}, 1],
      metadata: [...notObject, { a: 1 }]
    }
  },
  {
    path: "/v1/completions",
    valid: ({ chatModel }) => ({ model: chatModel, prompt: "hi", max_tokens: 1 }),
    values: {
      ...samplingValues,
      prompt: [
        null,
        1,
        true,
        {},
        [],
        [{}],
        [1, "a"],
        [[]],
        [-1],
        [1.5],
        [["a"]],
        Array.from({ length: 129 }, () => "a")
      ],
      suffix: ["a", 1],
      best_of: [...notInteger, 0, 129],
      logprobs: [...notInteger, -1, 6],
      echo: ["true", 1, {}]
    }
  },
  {
    path: "/v1/embeddings",
    valid: ({ embeddingModel }) => ({ model: embeddingModel, input: "hi" }),
    values: {
      model: samplingValues.model,
      input: [null, "", 1, {}, [], [""], [1, "a"], [[]], [-1], [1.5], Array.from({ length: 2049 }, () => "a")],
      encoding_format: ["hex", 1, {}],
      dimensions: [...notInteger, 0, -1, 3],
      prompt_name: [...notString, "", "nobody's"],
      user: samplingValues.user
    }
  },
  {
    path: "/v1/tokenize",
    valid: ({ chatModel }) => ({ model: chatModel, prompt: "hi" }),
    values: { model: samplingValues.model, prompt: [1, null, {}, []], add_special_tokens: notBoolean }
  },
  {
    path: "/v1/detokenize",
    valid: ({ chatModel }) => ({ model: chatModel, tokens: [1] }),
    values: { model: samplingValues.model, tokens: [null, "a", 1, [-1], [1.5], ["1"], [2 ** 40], {}] }
  },
  // what is wrong with these is seen before the model is looked for
  {
    path: "/v1/rerank",
    valid: () => ({ model: "a-reranker", query: "why", documents: ["because"] }),
    values: {
      model: [...notString, null, ""],
      query: [...notString, null, ""],
      documents: [null, "a", 1, {}, [], [""], [1], [null], [{}], [{ text: 1 }], [{ text: "" }], [{ text: "a", id: 1 }]],
      top_n: [...notInteger, 0, -1],
      return_documents: notBoolean,
      max_tokens_per_doc: [100, "a"],
      max_chunks_per_doc: [1],
      truncation: [true, false],
      truncate_prompt_tokens: [1, -1],
      rank_fields: [["text"]],
      user: samplingValues.user
    }
  },
  {
    path: "/v1/score",
    valid: () => ({ model: "a-reranker", text_1: "why", text_2: ["because"] }),
    values: {
      model: [...notString, null, ""],
      text_1: [null, "", 1, {}, [], [""], [1]],
      text_2: [null, "", 1, {}, [], [""], [1]],
      truncate_prompt_tokens: [1],
      user: samplingValues.user
    }
  },
  {
    path: "/v1/classify",
    valid: () => ({ model: "a-classifier", input: "text" }),
    values: {
      model: [...notString, null, ""],
      input: [
        null,
        "",
        1,
        {},
        [],
        [""],
        [[]],
        [-1],
        [{ text: "a" }],
        { text: "a" },
        { text: "a", text_pair: "" },
        [1, "a"]
      ],
      truncate_prompt_tokens: [1],
      user: samplingValues.user
    }
  }
]
