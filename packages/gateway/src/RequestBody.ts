/** Bodies of requests: JSON in UTF-8, bounded, checked against a Schema. */
import type { IncomingMessage } from "node:http"
import { HttpServerRequest } from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { InvalidRequest, PayloadTooLarge, UnsupportedMediaType } from "@helixflow/schema/Errors"
import { Bytes } from "@helixflow/schema/Ids"
import { Effect, Either, ParseResult, type Schema } from "effect"
import { HttpLimits } from "./HttpLimits.ts"
import { toInvalidRequest } from "./ParameterIssue.ts"

const jsonType = /^application\/json *(; *charset="?utf-8"?)? *$/i

const notJson = (reason: string) =>
  new InvalidRequest({ reason: `We could not parse the JSON body of your request: ${reason}`, param: null })

/** What the header fields say against the body; undefined if nothing. */
const headerIssue = (
  headers: IncomingMessage["headers"],
  limit: number
): PayloadTooLarge | UnsupportedMediaType | undefined => {
  const type = headers["content-type"]
  if (type === undefined || !jsonType.test(type)) {
    return new UnsupportedMediaType({ reason: "The Content-Type of the request must be application/json (in UTF-8)." })
  }
  const encoding = headers["content-encoding"]
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    return new UnsupportedMediaType({ reason: "Encoded request bodies are not supported: send no Content-Encoding." })
  }
  return Number(headers["content-length"] ?? 0) > limit ? new PayloadTooLarge({ limit: Bytes.make(limit) }) : undefined
}

/**
 * The bytes of a body. One that is too large is refused at once; what the client still sends of it is discarded, so that it can
 * read the answer, for as long as the server grants a request.
 */
const readBytes = (message: IncomingMessage, limit: number): Effect.Effect<Buffer, PayloadTooLarge | InvalidRequest> =>
  Effect.async((resume) => {
    const chunks: Array<Buffer> = []
    let size = 0
    const stop = () => {
      message.off("data", onData).off("end", onEnd).off("error", onError)
    }
    const onData = (chunk: Buffer) => {
      size += chunk.length
      if (size > limit) {
        stop()
        message.resume()
        resume(Effect.fail(new PayloadTooLarge({ limit: Bytes.make(limit) })))
      } else chunks.push(chunk)
    }
    const onEnd = () => {
      stop()
      resume(Effect.succeed(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, size)))
    }
    const onError = () => {
      stop()
      resume(Effect.fail(new InvalidRequest({ reason: "The request body ended early.", param: null })))
    }
    message.on("data", onData).on("end", onEnd).on("error", onError)
    return Effect.sync(stop)
  })

const utf8 = new TextDecoder("utf-8", { fatal: true })

const parseJson = (bytes: Buffer): Either.Either<unknown, InvalidRequest> => {
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch {
    return Either.left(notJson("it is not valid UTF-8."))
  }
  try {
    return Either.right(JSON.parse(text))
  } catch {
    return Either.left(notJson(text.trim() === "" ? "it is empty." : "it is not valid JSON."))
  }
}

/** Bodies that were read: whoever asks again for that of the same request has it again. */
const readBodies = new WeakMap<IncomingMessage, unknown>()

/** The JSON of the body of the request at hand. */
export const readJson: Effect.Effect<
  unknown,
  InvalidRequest | PayloadTooLarge | UnsupportedMediaType,
  HttpServerRequest.HttpServerRequest
> = Effect.gen(function* () {
  const limits = yield* HttpLimits
  const message = NodeHttpServerRequest.toIncomingMessage(yield* HttpServerRequest.HttpServerRequest)
  if (readBodies.has(message)) return readBodies.get(message)
  const issue = headerIssue(message.headers, limits.bodyBytes)
  if (issue !== undefined) return yield* Effect.fail(issue)
  const json = yield* parseJson(yield* readBytes(message, limits.bodyBytes))
  readBodies.set(message, json)
  return json
})

/** Whoever reads the body of the request at hand from here on has this. */
export const replaceJson = (json: unknown): Effect.Effect<void, never, HttpServerRequest.HttpServerRequest> =>
  Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
    readBodies.set(NodeHttpServerRequest.toIncomingMessage(request), json)
  })

/** Reads the body of the request at hand and checks it; parameters that `schema` does not have are refused. */
export const decodeBody = <A, I>(
  schema: Schema.Schema<A, I>
): Effect.Effect<A, InvalidRequest | PayloadTooLarge | UnsupportedMediaType, HttpServerRequest.HttpServerRequest> => {
  const decode = ParseResult.decodeUnknownEither(schema, { errors: "first", onExcessProperty: "error" })
  return Effect.flatMap(readJson, (json) => Either.mapLeft(decode(json), toInvalidRequest))
}
