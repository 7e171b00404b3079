/** What a WebSocket connection may take before it is cut off. */
import { Context } from "effect"

export interface WebSocketLimitsShape {
  /** Most connections at once. */
  readonly connections: number
  /** Most connections of one principal. */
  readonly perPrincipal: number
  /** Most requests in progress on a connection. */
  readonly requests: number
  /** Most topics that a connection is subscribed to. */
  readonly topics: number
  /**
   * Most bytes of a message. What has come of one is held until it is whole, on each connection, and more than a chat has would be held
   * for nobody's good: what is larger may come by HTTP.
   */
  readonly messageBytes: number
  /** Bytes that wait to be sent, above which streams of the connection wait and events of topics are left out. */
  readonly bufferedBytes: number
  /** Milliseconds that a client may leave what is sent unread before it is cut off. */
  readonly stallMillis: number
  /** Milliseconds between two pings; a connection that has been silent for two of them is cut off. */
  readonly heartbeatMillis: number
  /** Milliseconds after which a connection is closed that asks for nothing and listens to nothing. */
  readonly idleMillis: number
  /** Milliseconds that a client has to answer a close. */
  readonly closeMillis: number
  /** Whether messages are compressed for clients that offer it. */
  readonly compression: boolean
}

export class WebSocketLimits extends Context.Reference<WebSocketLimits>()("@helixflow/gateway/WebSocketLimits", {
  defaultValue: (): WebSocketLimitsShape => ({
    connections: 20_000,
    perPrincipal: 2_000,
    requests: 128,
    topics: 64,
    messageBytes: 1024 * 1024,
    bufferedBytes: 256 * 1024,
    stallMillis: 30_000,
    heartbeatMillis: 30_000,
    idleMillis: 3_600_000,
    closeMillis: 1_000,
    compression: false
  })
}) {}
