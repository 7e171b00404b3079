/** A server of the API's outer form whose answers a test decides: what the command line does with answers, good and bad. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { Effect, type Scope } from "effect"
import { listening } from "./listening.ts"

export interface StubRequest {
  readonly url: string | undefined
  readonly authorization: string | undefined
  readonly body: unknown
  /** Completes when the client has hung up or has the whole answer. */
  readonly closed: Promise<void>
}

const readBody = async (request: IncomingMessage): Promise<unknown> => {
  let text = ""
  for await (const chunk of request) text += String(chunk)
  return text === "" ? undefined : JSON.parse(text)
}

/** Its URL, and what it has been asked so far. */
export const stubServer = (
  answer: (request: StubRequest, response: ServerResponse) => void
): Effect.Effect<{ readonly url: string; readonly requests: ReadonlyArray<StubRequest> }, never, Scope.Scope> =>
  Effect.gen(function* () {
    const requests: Array<StubRequest> = []
    const server = createServer((request, response) => {
      const closed = new Promise<void>((resolve) => response.on("close", resolve))
      void readBody(request).then((body) => {
        const stubRequest = { url: request.url, authorization: request.headers.authorization, body, closed }
        requests.push(stubRequest)
        answer(stubRequest, response)
      })
    })
    const url = yield* listening(server)
    return { url, requests }
  })

const json = (status: number, body: unknown) => (_: StubRequest, response: ServerResponse) => {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
}

export const models = (...ids: ReadonlyArray<string>) =>
  json(200, {
    object: "list",
    data: ids.map((id) => ({ id, object: "model", created: 1_700_000_000, owned_by: "helixflow" }))
  })

export const refusal = (status: number, message: string) =>
  json(status, { error: { message, type: "invalid_request_error", param: null, code: null } })

const event = (data: unknown) => `data: ${JSON.stringify(data)}\n\n`

const chunk = (content: string | undefined, finish: string | null = null) =>
  event({
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    created: 1,
    model: "m",
    choices: [{ index: 0, delta: content === undefined ? {} : { content }, logprobs: null, finish_reason: finish }]
  })

export const usage = event({
  id: "chatcmpl-1",
  object: "chat.completion.chunk",
  choices: [],
  usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
})

export const done = "data: [DONE]\n\n"

/** The start of a stream: its head and its first deltas. */
export const begin = (response: ServerResponse, ...deltas: ReadonlyArray<string>) => {
  response.writeHead(200, { "content-type": "text/event-stream" })
  for (const delta of deltas) response.write(chunk(delta))
}

/** A whole answer, as the API frames it. */
export const answerWith =
  (...deltas: ReadonlyArray<string>) =>
  (_: StubRequest, response: ServerResponse) => {
    begin(response, ...deltas)
    response.end(chunk(undefined, "stop") + usage + done)
  }
