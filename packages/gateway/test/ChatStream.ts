/** Streams of chat completions of a server that was started with the key `given`. */
import { expect } from "@effect/vitest"
import { Effect, Schema } from "effect"

/** A stream of a running server: its first bytes have come, and `rest` is all of it once it has ended. */
export const openStream = (url: string, more: object = {}) =>
  Effect.promise(async () => {
    const body = {
      model: "helix-demo",
      messages: [{ role: "user", content: "Tell me all." }],
      // long enough to be still there when the signal comes
      ...{ n: 16, temperature: 1, seed: 1, ignore_eos: true, stream: true, stream_options: { include_usage: true } },
      ...more
    }
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: "Bearer given", "content-type": "application/json" },
      body: JSON.stringify(body)
    })
    const reader = (response.body ?? new ReadableStream<Uint8Array>()).pipeThrough(new TextDecoderStream()).getReader()
    let text = (await reader.read()).value ?? ""
    const rest = (async () => {
      for (let read = await reader.read(); !read.done; read = await reader.read()) text += read.value
      return text
    })()
    return { rest: Effect.promise(() => rest) }
  })

const Chunk = Schema.parseJson(
  Schema.Struct({
    choices: Schema.Array(
      Schema.Struct({ index: Schema.Int, delta: Schema.Struct({ content: Schema.optional(Schema.String) }) })
    )
  })
)

/** The text of each choice of a stream that was ended by its server as it should be. */
export const textsOf = (stream: string): ReadonlyMap<number, string> => {
  const texts = new Map<number, string>()
  expect(stream).toMatch(/\n\ndata: \[DONE\]\n\n$/)
  for (const [, data = ""] of stream.matchAll(/^data: (\{.*)$/gm)) {
    for (const { delta, index } of Schema.decodeSync(Chunk)(data).choices) {
      texts.set(index, (texts.get(index) ?? "") + (delta.content ?? ""))
    }
  }
  return texts
}
