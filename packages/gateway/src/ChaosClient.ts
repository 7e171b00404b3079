/** A client of the server that `helixflow chaos` harms: it notes all that an answer says, and comes back to a stream that it hung up. */
import { Effect, Redacted, Schema } from "effect"
import type { Question } from "./ChaosPlan.ts"
import type { Answer } from "./ChaosReport.ts"
import type { ChaosServer } from "./ChaosServer.ts"
import { type CommandFailure, failed } from "./CommandFailure.ts"

const Usage = Schema.Struct({ prompt_tokens: Schema.Number, completion_tokens: Schema.optional(Schema.Number) })

const ToolCall = Schema.Struct({
  index: Schema.Int,
  function: Schema.Struct({ name: Schema.optional(Schema.String), arguments: Schema.optional(Schema.String) })
})

const Choice = Schema.Struct({
  index: Schema.Int,
  finish_reason: Schema.NullOr(Schema.String),
  /** Of a legacy completion. */
  text: Schema.optional(Schema.String),
  delta: Schema.optional(
    Schema.Struct({
      content: Schema.optional(Schema.NullOr(Schema.String)),
      tool_calls: Schema.optional(Schema.Array(ToolCall))
    })
  ),
  logprobs: Schema.optional(
    Schema.NullOr(
      Schema.Struct({
        content: Schema.optional(Schema.NullOr(Schema.Array(Schema.Struct({ logprob: Schema.Number })))),
        token_logprobs: Schema.optional(Schema.Array(Schema.NullOr(Schema.Number)))
      })
    )
  )
})

const Failure = Schema.Struct({ error: Schema.Struct({ message: Schema.String }) })
const Chunk = Schema.Struct({
  id: Schema.String,
  choices: Schema.Array(Choice),
  usage: Schema.optional(Schema.NullOr(Usage))
})
const StreamItem = Schema.parseJson(Schema.Union(Failure, Chunk))

const Vectors = Schema.parseJson(
  Schema.Struct({ data: Schema.Array(Schema.Struct({ embedding: Schema.Array(Schema.Number) })), usage: Usage })
)

const decodeItem = Schema.decodeUnknownSync(StreamItem)
const decodeVectors = Schema.decodeUnknownSync(Vectors)
const decodeFailure = Schema.decodeUnknownSync(Schema.parseJson(Failure))

/** What is said of one choice, put together. */
interface Said {
  text: string
  finish: string | null
  readonly logprobs: Array<number>
  readonly calls: Array<{ name: string; arguments: string }>
}

/** An event stream that may be read in pieces. */
class Reading {
  readonly choices: Array<Said> = []
  usage: typeof Usage.Type | undefined
  id = ""
  lastEvent = ""
  chunks = 0
  isDone = false

  /** Takes in events until the stream ends or there are so many chunks. */
  async take(response: Response, most: number): Promise<void> {
    const decoder = new TextDecoder()
    let text = ""
    for await (const bytes of response.body ?? []) {
      text += decoder.decode(bytes, { stream: true })
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        this.#event(text.slice(0, end))
        text = text.slice(end + 2)
        // what was cut off behind it is not taken for had
        if (this.chunks >= most && !this.isDone) return
      }
    }
  }

  #event(event: string): void {
    const [, number, data] = /^(?:id: (\d+)\n)?data: (.*)$/.exec(event) ?? []
    if (data === undefined) return
    if (data === "[DONE]") {
      this.isDone = true
      return
    }
    const item = decodeItem(data)
    if ("error" in item) throw new Error(item.error.message)
    this.id = item.id
    this.lastEvent = number ?? this.lastEvent
    this.usage = item.usage ?? this.usage
    this.chunks++
    for (const choice of item.choices) this.#grow(choice)
  }

  #grow({ delta, finish_reason, index, logprobs, text }: typeof Choice.Type): void {
    this.choices[index] ??= { text: "", finish: null, logprobs: [], calls: [] }
    const said = this.choices[index]
    said.text += delta?.content ?? text ?? ""
    said.finish = finish_reason ?? said.finish
    for (const { logprob } of logprobs?.content ?? []) said.logprobs.push(logprob)
    for (const logprob of logprobs?.token_logprobs ?? []) said.logprobs.push(logprob ?? 0)
    for (const call of delta?.tool_calls ?? []) {
      said.calls[call.index] ??= { name: "", arguments: "" }
      const known = said.calls[call.index]
      if (known === undefined) continue
      known.name += call.function.name ?? ""
      known.arguments += call.function.arguments ?? ""
    }
  }

  get answer(): Answer {
    return {
      text: JSON.stringify(this.choices.map(({ calls, text }) => (calls.length === 0 ? text : { text, calls }))),
      finish: this.choices.map(({ finish }) => finish ?? "none").join(","),
      numbers: this.choices.flatMap(({ logprobs }) => logprobs),
      promptTokens: this.usage?.prompt_tokens ?? 0,
      completionTokens: this.usage?.completion_tokens ?? 0
    }
  }
}

/** A stream that hangs is a failure too. */
const patience = "5 minutes"

/** Asks a question and gives all of its answer. */
export const ask = (
  { key, url }: Pick<ChaosServer, "key" | "url">,
  model: string,
  { body, hangUpAfter, path }: Question
): Effect.Effect<Answer, CommandFailure> => {
  const headers = {
    authorization: `Bearer ${Redacted.value(key)}`,
    "content-type": "application/json",
    // each question on a connection of its own: one that is not closed shows among the server's descriptors
    connection: "close"
  }
  const send = async (where: string, init: RequestInit) => {
    const response = await fetch(url + where, init)
    if (!response.ok) throw new Error(`${response.status}: ${decodeFailure(await response.text()).error.message}`)
    return response
  }
  const answer = async (signal: AbortSignal): Promise<Answer> => {
    const asked = { method: "POST", headers, body: JSON.stringify({ ...body, model }) }
    if (path === "/v1/embeddings") {
      const { data, usage } = decodeVectors(await (await send(path, { ...asked, signal })).text())
      const numbers = data.flatMap(({ embedding }) => embedding)
      return { text: "", finish: null, numbers, promptTokens: usage.prompt_tokens, completionTokens: 0 }
    }
    const reading = new Reading()
    // leaving the loop over the body hangs up
    await reading.take(await send(path, { ...asked, signal }), hangUpAfter ?? Number.POSITIVE_INFINITY)
    if (!reading.isDone && hangUpAfter !== null) {
      const back = { headers: { ...headers, "last-event-id": reading.lastEvent }, signal }
      await reading.take(await send(`${path}/${reading.id}?stream=true`, back), Number.POSITIVE_INFINITY)
    }
    if (!reading.isDone) throw new Error("the stream broke off")
    return reading.answer
  }
  return Effect.tryPromise({
    try: answer,
    catch: (error) => failed(error instanceof Error ? reasonOf(error) : String(error))
  }).pipe(Effect.timeoutFail({ duration: patience, onTimeout: () => failed("it did not end within 5 minutes") }))
}

/** What `fetch` hides behind "fetch failed". */
const reasonOf = (error: Error): string =>
  error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
