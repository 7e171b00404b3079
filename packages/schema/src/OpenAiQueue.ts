/** The parameters of waiting for a place, the same on every endpoint that has them. */
import { Schema } from "effect"
import { KeepAliveText } from "./KeepAlive.ts"
import { expected, nullish } from "./OpenAiParameter.ts"

/** Seconds: longer than a client leaves a connection open. */
const longestWait = 3600

export const queueFields = {
  /** https://platform.openai.com/docs/guides/priority-processing and /flex-processing; `auto` is `default`. */
  service_tier: nullish(
    Schema.Literal("auto", "default", "flex", "priority").pipe(expected("'auto', 'default', 'flex' or 'priority'"))
  ),
  /** Not OpenAI's: how many seconds the request may wait for a place. */
  queue_timeout: nullish(
    Schema.Number.pipe(
      Schema.positive(),
      Schema.lessThanOrEqualTo(longestWait),
      expected(`a number of seconds greater than 0 and at most ${longestWait}`)
    )
  ),
  /** Not OpenAI's but Ollama's: how long the model stays loaded once nobody uses it after this request. */
  keep_alive: nullish(
    KeepAliveText.pipe(expected('seconds, a time such as "10m", 0, or -1 for as long as there is room'))
  )
}
