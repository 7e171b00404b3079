/**
 * Requests that are wrong in one way each, generated from a seed: the same 500 every time. `param` is the parameter at fault, for
 * those that have one.
 */
import { gzipSync } from "node:zlib"
import { FastCheck } from "effect"
import { type Models, type Wrong, wrong } from "./WrongParameters.ts"

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

const json = { "content-type": "application/json" }

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
