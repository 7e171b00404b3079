/**
 * Answers as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), framed as OpenAI does: `data:`
 * lines only, `[DONE]` at the end, and an error's body in the place of `[DONE]` when something fails after the beginning.
 *
 * This is the hot path. It writes to node's response itself: one write per batch of events, no effect per event, and the
 * socket's own timer against clients that stop reading, none of which platform's streams can do.
 */
import type { ServerResponse } from "node:http"
import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import type { SessionEvent, Waiting } from "@helixflow/schema/SessionActor"
import { Cause, type Context, Effect, Option, Stream } from "effect"
import { forEachBatch, type Generation } from "./Generations.ts"
import { HttpLimits } from "./HttpLimits.ts"
import { defectBody, type HelixError, isHelixError, toBody } from "./OpenAiErrors.ts"
import { logDefect, processingMillis, RequestInfo } from "./RequestInfo.ts"

/** The chunks of one kind of stream, each as JSON. An encoder belongs to one stream and may keep state. */
export interface EventEncoder {
  /** What comes before any event. */
  readonly open: ReadonlyArray<string>
  /** The chunks of an event, perhaps none. */
  readonly encode: (event: SessionEvent) => ReadonlyArray<string>
}

/** One frame. */
export const frame = (json: string): string => `data: ${json}\n\n`

export const eventStreamType = "text/event-stream; charset=utf-8"

const done = frame("[DONE]")

const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)}s`

/** A wait as a comment, which readers of event streams skip: `: queued position=3 waiting=7 waited=1.2s expected=4.0s`. */
export const waitingComment = ({ expectedMillis, loading, position, waitedMillis, waiting }: Waiting): string => {
  const words = [
    loading === null ? ": queued" : ": loading",
    ...(loading === null ? [] : [`elapsed=${seconds(loading.elapsedMillis)}`]),
    ...(loading === null || loading.usualMillis === null ? [] : [`usual=${seconds(loading.usualMillis)}`]),
    `position=${position}`,
    `waiting=${waiting}`,
    `waited=${seconds(waitedMillis)}`,
    ...(expectedMillis === null ? [] : [`expected=${seconds(expectedMillis)}`])
  ]
  return `${words.join(" ")}\n\n`
}

/**
 * Waits until the client has read some of what was written. If that takes `stallMillis`, node destroys the socket, and the
 * request is interrupted like any whose client has gone.
 */
export const drained = (response: ServerResponse, stallMillis: number): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    // it may have read meanwhile
    if (!response.writableNeedDrain) return resume(Effect.void)
    const onDrain = () => {
      response.setTimeout(0)
      resume(Effect.void)
    }
    response.setTimeout(stallMillis)
    response.once("drain", onDrain)
    return Effect.sync(() => response.off("drain", onDrain))
  })

/**
 * Ends a response in the middle, so that its reader does not take it for whole, and nobody tries to answer in its place. One that
 * has been given an end already (`Dismissal.ts`) keeps it.
 */
const cutOff = (response: ServerResponse) => {
  if (response.writableEnded) return
  response.destroy()
  response.end()
}

/** A stream's response whose header is on its way. */
const opened = (contentType: string, headers: Readonly<Record<string, string>> = {}) =>
  Effect.gen(function* () {
    const info = yield* RequestInfo
    const { stallMillis } = yield* HttpLimits
    const response = NodeHttpServerRequest.toServerResponse(yield* HttpServerRequest.HttpServerRequest)
    response.writeHead(200, {
      "content-type": contentType,
      "cache-control": "no-cache",
      "x-accel-buffering": "no",
      "openai-processing-ms": processingMillis(info),
      ...headers
    })
    return { info, response, write: writer(response, stallMillis) }
  })

/**
 * Streams a generation that has begun, without its first `skipped` chunks. Those of one that is kept are numbered from 0, as ids of
 * their events. Succeeds when the last byte is handed over, and for a client that has gone never does.
 */
export const eventStream = (
  generation: Generation,
  encoder: EventEncoder,
  skipped = 0
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest | RequestInfo> =>
  Effect.gen(function* () {
    const { info, response, write } = yield* opened(eventStreamType)
    let number = 0
    const framed = (chunks: ReadonlyArray<string>) => {
      let text = ""
      for (const chunk of chunks) {
        if (number >= skipped) text += generation.kept ? `id: ${number}\n${frame(chunk)}` : frame(chunk)
        number++
      }
      return text
    }
    let unwritten = encoder.open
    const events = forEachBatch(generation, (events) => {
      let text = ""
      for (const event of events) {
        if (event._tag === "Waiting") {
          text += waitingComment(event)
          continue
        }
        if (unwritten.length > 0) text += framed(unwritten)
        unwritten = []
        text += framed(encoder.encode(event))
        if (event._tag === "Completed") text += done
      }
      return write(text)
    })
    return yield* toTheEnd(response, events, write, info)
  })

/** Passes on a stream of another server that has begun, as it comes. */
export const passOn = <E extends HelixError>(
  body: Stream.Stream<Uint8Array, E>,
  contentType: string,
  headers: Readonly<Record<string, string>>
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest | RequestInfo> =>
  Effect.gen(function* () {
    const { info, response, write } = yield* opened(contentType, headers)
    return yield* toTheEnd(response, Stream.runForEach(body, write), write, info)
  })

type Write = (text: string | Uint8Array) => Effect.Effect<void>

const writer =
  (response: ServerResponse, stallMillis: number): Write =>
  (text) =>
    text.length === 0 || response.write(text) ? Effect.void : drained(response, stallMillis)

/** What a stream ends with when something fails, or nobody is there any more. */
const toTheEnd = <E, R>(
  response: ServerResponse,
  writing: Effect.Effect<void, E, R>,
  write: Write,
  info: Context.Tag.Service<RequestInfo>
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R> =>
  writing.pipe(
    Effect.catchAllCause((cause) => {
      if (Cause.isInterruptedOnly(cause)) return Effect.interrupt
      const error = Option.getOrUndefined(Cause.failureOption(cause))
      if (isHelixError(error)) return write(frame(JSON.stringify(toBody(error))))
      return Effect.zipRight(logDefect(cause, info), write(frame(JSON.stringify(defectBody(info.id)))))
    }),
    Effect.onInterrupt(() => Effect.sync(() => cutOff(response))),
    Effect.map(() => {
      response.end()
      return HttpServerResponse.empty({ status: 200 })
    })
  )
