/**
 * Requests that are wrong in one way each, generated from a seed: the same 500 every time. `param` is the parameter at fault, for
 * those that have one.
 */
import { gzipSync } from "node:zlib"
import { FastCheck } from "effect"

/** A request that is valid HTTP. */
export interface MalformedRequest {
  readonly name: string
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | string | undefined
  readonly param: string | undefined
}

/** What is written to a socket. Some of it is a request that never ends: then the socket is closed for writing. */
export interface Rubbish {
  readonly name: string
  readonly bytes: Uint8Array
}

type Json = unknown
type Body = Readonly<Record<string, Json>>

interface Models {
  readonly chatModel: string
  readonly embeddingModel: string
}

const json = { "content-type": "application/json" }

const notString: ReadonlyArray<Json> = [1, true, {}, ["a"], []]
const notNumber: ReadonlyArray<Json> = ["1", true, {}, [1], [], ""]
const notInteger: ReadonlyArray<Json> = [...notNumber, 1.5, 1e308, -1.5]
const notBoolean: ReadonlyArray<Json> = ["true", 0, 1, {}, []]
const notObject: ReadonlyArray<Json> = ["a", 1, true, [1]]

/** Wrong values of each parameter of an endpoint; the first valid body is what is spoiled. */
interface Wrong {
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

const wrong: ReadonlyArray<Wrong> = [
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

const wrongValues = (models: Models): ReadonlyArray<MalformedRequest> =>
  wrong.flatMap(({ path, valid, values }) =>
    Object.entries(values).flatMap(([param, candidates]) =>
      candidates.map((value) => ({
        name: `${path} ${param} = ${JSON.stringify(value).slice(0, 80)}`,
        method: "POST",
        path,
        headers: json,
        body: JSON.stringify({ ...valid(models), [param]: value }),
        param
      }))
    )
  )

const pathOf = (index: number): Wrong =>
  wrong[index % wrong.length] ?? wrong[0] ?? { path: "/", valid: () => ({}), values: {} }

/** Parameters that nobody knows, of any name. */
const unknownParameter = (models: Models) =>
  FastCheck.tuple(FastCheck.nat(), FastCheck.stringMatching(/^[a-z][a-z_]{3,20}$/), FastCheck.jsonValue()).map(
    ([index, name, value]): MalformedRequest => {
      const { path, valid } = pathOf(index)
      const param = `x_${name}`
      return {
        name: `${path} with ${param}`,
        method: "POST",
        path,
        headers: json,
        body: JSON.stringify({ ...valid(models), [param]: value }),
        param
      }
    }
  )

/** Bodies that are no JSON object in UTF-8, or do not say so. */
const wrongBody = (models: Models) =>
  FastCheck.tuple(FastCheck.nat(), FastCheck.nat(10_000), FastCheck.nat()).map(
    ([index, at, kind]): MalformedRequest => {
      const { path, valid } = pathOf(index)
      const good = JSON.stringify(valid(models))
      const request = (name: string, body: MalformedRequest["body"], headers: MalformedRequest["headers"] = json) => ({
        name: `${path}: ${name}`,
        method: "POST",
        path,
        headers,
        body,
        param: undefined
      })
      const cut = 1 + (at % (good.length - 1))
      const kinds = [
        () => request(`cut at ${cut}`, good.slice(0, cut)),
        () => request("not UTF-8", Buffer.concat([Buffer.from(good.slice(0, -1)), Buffer.from([0xc3, 0x28, 0xff])])),
        () => request("UTF-16", Buffer.from(good, "utf16le")),
        () =>
          request(
            "a byte order mark of UTF-16",
            Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(good, "utf16le")])
          ),
        () => request("gzip", gzipSync(good), { ...json, "content-encoding": "gzip" }),
        () => request("gzip that it does not tell of", gzipSync(good)),
        () => request("broken gzip", gzipSync(good).subarray(0, 12), { ...json, "content-encoding": "gzip" }),
        () => request("unknown encoding", good, { ...json, "content-encoding": "rot13" }),
        () => request("no content type", good, { "content-type": "" }),
        () => request("a form", "model=a&messages=b", { "content-type": "application/x-www-form-urlencoded" }),
        () => request("text", good, { "content-type": "text/plain" }),
        () => request("another charset", good, { "content-type": "application/json; charset=utf-16" }),
        () => request("empty", ""),
        () => request("an array", "[]"),
        () => request("a string", `"${good.replaceAll('"', "'")}"`),
        () => request("null", "null"),
        () => request("a number", "1e400"),
        () => request("JSON lines", `${good}\n${good}`),
        () => request("a trailing comma", good.replace(/}$/, ",}")),
        () => request("single quotes", good.replaceAll('"', "'")),
        () => request("NaN", good.replace(/}$/, ',"temperature":NaN}')),
        () => request("a control character", good.replace(/}$/, ',"user":"\u0001"}')),
        () => request("deep arrays", "[".repeat(200_000)),
        () => request("deep arrays that end", "[".repeat(50_000) + "]".repeat(50_000)),
        () => request("deep objects", `${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}`),
        () => request("a deep message", good.replace(/}$/, `,"messages":${"[".repeat(50_000)}${"]".repeat(50_000)}}`)),
        () => request("a long name", `{"${"a".repeat(100_000)}":1}`),
        () => request("__proto__", '{"__proto__":{"model":"a"}}')
      ]
      return (kinds[kind % kinds.length] ?? (() => request("empty", "")))()
    }
  )

/** Ways that lead nowhere. */
const wrongPath = FastCheck.tuple(
  FastCheck.constantFrom("GET", "PUT", "PATCH", "DELETE", "OPTIONS"),
  FastCheck.constantFrom(
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/tokenize",
    "/v1/rerank",
    "/v1/nowhere",
    "/v1",
    "/v1/models/a%2Fb%00",
    "/v1/models/%ff",
    "/v1/chat/completions/..",
    "//v1//models",
    "/v1/models/%"
  )
).map(
  ([method, path]): MalformedRequest => ({
    name: `${method} ${path}`,
    method,
    path,
    headers: {},
    body: undefined,
    param: undefined
  })
)

const sample = <A>(arbitrary: FastCheck.Arbitrary<A>, numRuns: number, seed: number) =>
  FastCheck.sample(arbitrary, { numRuns, seed })

/** 440 requests that are HTTP. */
export const malformedRequests = (models: Models, seed: number): ReadonlyArray<MalformedRequest> => [
  ...sample(FastCheck.shuffledSubarray([...wrongValues(models)], { minLength: 250, maxLength: 250 }), 1, seed).flat(),
  ...sample(unknownParameter(models), 40, seed),
  ...sample(wrongBody(models), 120, seed),
  ...sample(wrongPath, 30, seed)
]

/** Requests that are no HTTP, or only nearly. */
const rubbish = (key: string): FastCheck.Arbitrary<Rubbish> => {
  const body = '{"model":"a"}'
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\n`
  const fixed: ReadonlyArray<readonly [string, string]> = [
    ["no request line", "\r\n\r\n\r\nhello\r\n\r\n"],
    ["TLS on a plain port", "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003"],
    ["SSH", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["an unknown method", "BREW /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"],
    ["an unknown version", "GET /v1/models HTTP/9.9\r\nhost: localhost\r\n\r\n"],
    ["a space in the path", "GET /v1/ models HTTP/1.1\r\nhost: localhost\r\n\r\n"],
    ["no host", "GET /healthz HTTP/1.1\r\n\r\n"],
    ["a header without a colon", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nnonsense\r\n\r\n"],
    ["NUL in a header", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: a\u0000b\r\n\r\n"],
    ["large headers", `GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ${"a".repeat(100_000)}\r\n\r\n`],
    ["a large path", `GET /${"a".repeat(100_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`],
    ["two content lengths", `${head}content-length: 3\r\ncontent-length: 5\r\n\r\n${body}`],
    ["length and chunks", `${head}content-length: 13\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
    ["a negative length", `${head}content-length: -1\r\n\r\n${body}`],
    ["a length that is no number", `${head}content-length: many\r\n\r\n${body}`],
    ["a bad chunk", `${head}transfer-encoding: chunked\r\n\r\nzz\r\n${body}\r\n0\r\n\r\n`],
    ["an endless chunk size", `${head}transfer-encoding: chunked\r\n\r\n${"f".repeat(40)}\r\n`],
    ["an unknown transfer coding", `${head}transfer-encoding: gzip\r\n\r\n${body}`],
    ["a length beyond the limit", `${head}content-length: 99999999999\r\n\r\n${body}`],
    ["folded headers", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n folded\r\nx\r\n\r\n"],
    ["HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    [
      "an upgrade to what is not there",
      `GET /v1/nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`
    ],
    ["a body that ends early", `${head}content-length: 100\r\n\r\n${body}`]
  ]
  const noise = FastCheck.uint8Array({ minLength: 20, maxLength: 200 }).map((bytes) => ({
    name: "noise",
    bytes: Buffer.concat([bytes.map((byte) => byte | 0x80), Buffer.from("\r\n\r\n")])
  }))
  const known = FastCheck.constantFrom(...fixed).map(([name, text]) => ({ name, bytes: Buffer.from(text, "latin1") }))
  return FastCheck.oneof({ weight: 4, arbitrary: known }, { weight: 1, arbitrary: noise })
}

/** 60 that are not. */
export const rubbishes = (key: string, seed: number): ReadonlyArray<Rubbish> => sample(rubbish(key), 60, seed)
