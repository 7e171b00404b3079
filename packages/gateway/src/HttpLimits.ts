/** What the gateway grants a client before it cuts it off. */
import { Context } from "effect"

export interface HttpLimitsShape {
  /** Most bytes of a request body. */
  readonly bodyBytes: number
  /** Milliseconds within which a request's header fields must have come. */
  readonly headersMillis: number
  /** Milliseconds within which the whole request must have come. */
  readonly requestMillis: number
  /** Milliseconds that a connection may be idle between two requests. */
  readonly keepAliveMillis: number
  /** Milliseconds that a client may leave an answer unread before it is cut off. */
  readonly stallMillis: number
  /** Milliseconds that a request may wait for a place in the fleet. */
  readonly queueMillis: number
  /** Milliseconds that a listener which closes waits for answers in progress: after `Shutdown` these are the last words. */
  readonly drainMillis: number
}

export class HttpLimits extends Context.Reference<HttpLimits>()("@helixflow/gateway/HttpLimits", {
  defaultValue: (): HttpLimitsShape => ({
    bodyBytes: 10 * 1024 * 1024,
    headersMillis: 10_000,
    requestMillis: 60_000,
    keepAliveMillis: 65_000,
    stallMillis: 30_000,
    queueMillis: 60_000,
    drainMillis: 2_000
  })
}) {}
