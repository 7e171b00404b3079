/** A client of the server: streams completions of token prompts and notes when what came. */
import { Agent, type ClientRequest, request } from "node:http"
import { key } from "./ChatRequest.ts"
import type { Generation } from "./Workload.ts"

export interface Streamed {
  /** Milliseconds from the request until each text came. A token whose text is only part of a character comes with the next. */
  readonly arrivals: ReadonlyArray<number>
  readonly usage: {
    readonly prompt: number
    readonly completion: number
    /** Tokens of the prompt that did not have to be computed. */
    readonly cached: number
  }
}

export interface OpenStream {
  /** As {@link Streamed} has them, so far. */
  readonly arrivals: ReadonlyArray<number>
  readonly done: Promise<Streamed>
  /** Hangs up: `done` never settles. */
  readonly abandon: () => void
}

/** Gives up idle connections before the server does, who would close one as the next request is written. */
const agent = new Agent({ keepAlive: true, maxSockets: 64, timeout: 30_000 })

const bodyOf = (model: string, { prompt, tokens }: Generation) =>
  JSON.stringify({
    model,
    prompt,
    max_tokens: tokens,
    ignore_eos: true,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true }
  })

export const open = (port: number, model: string, generation: Generation): OpenStream => {
  const arrivals: Array<number> = []
  let outgoing: ClientRequest | undefined
  let abandoned = false
  const done = new Promise<Streamed>((resolve, reject) => {
    const fail = (error: Error) => {
      if (!abandoned) reject(error)
    }
    const body = bodyOf(model, generation)
    const start = performance.now()
    outgoing = request({
      agent,
      host: "127.0.0.1",
      port,
      method: "POST",
      path: "/v1/completions",
      headers: {
        authorization: `Bearer ${key}`,
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body)
      }
    })
    outgoing.on("error", fail)
    outgoing.on("response", (response) => {
      let text = ""
      let usage: Streamed["usage"] | undefined
      const onFrame = (frame: string) => {
        const data = /^data: (.*)$/m.exec(frame)?.[1] ?? ""
        if (data === "[DONE]") return
        const { choices, error, usage: told } = JSON.parse(data)
        if (error !== undefined) throw new Error(frame)
        for (const choice of choices) if (choice.text !== "") arrivals.push(performance.now() - start)
        if (told === undefined || told === null) return
        usage = {
          prompt: told.prompt_tokens,
          completion: told.completion_tokens,
          cached: told.prompt_tokens_details.cached_tokens
        }
      }
      response.setEncoding("utf8")
      response.on("error", fail)
      response.on("data", (chunk: string) => {
        text += chunk
        if (response.statusCode !== 200) return
        const frames = text.split("\n\n")
        text = frames.pop() ?? ""
        try {
          for (const frame of frames) onFrame(frame)
        } catch (cause) {
          fail(new Error("the stream can't be read", { cause }))
        }
      })
      response.on("end", () => {
        if (usage === undefined) fail(new Error(`${response.statusCode}: ${text}`))
        else resolve({ arrivals, usage })
      })
    })
    outgoing.end(body)
  })
  return {
    arrivals,
    done,
    abandon: () => {
      abandoned = true
      outgoing?.destroy()
    }
  }
}

/** All at once. */
export const streamAll = (
  port: number,
  model: string,
  workload: ReadonlyArray<Generation>
): Promise<ReadonlyArray<Streamed>> => Promise.all(workload.map((generation) => open(port, model, generation).done))

/** Milliseconds from the request to its first text. */
export const firstToken = async (port: number, model: string, generation: Generation): Promise<number> => {
  const { arrivals } = await open(port, model, generation).done
  const [first] = arrivals
  if (first === undefined) throw new Error("a stream has no text")
  return first
}
