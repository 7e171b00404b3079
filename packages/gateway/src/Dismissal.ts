/** The last word to a client whose answer the server will not finish: a connection that is just closed would tell it nothing. */
import type { ServerResponse } from "node:http"
import { eventStreamType, frame } from "./EventStream.ts"
import { type HelixError, toBody, toHeaders, toStatus } from "./OpenAiErrors.ts"

/**
 * Answers with the error where no answer has begun, and ends a stream of events with it. An answer of another kind that has begun
 * is left to its writer.
 */
export const dismiss = (response: ServerResponse, error: HelixError): void => {
  if (response.writableEnded) return
  const body = JSON.stringify(toBody(error))
  if (!response.headersSent) {
    const headers = { "content-type": "application/json", connection: "close", ...toHeaders(error) }
    response.writeHead(toStatus(error), headers).end(body)
  } else if (response.getHeader("content-type") === eventStreamType) response.end(frame(body))
}
