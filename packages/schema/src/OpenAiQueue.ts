/** The parameters of waiting for a place, the same on every endpoint that has them. */
import { Schema } from "effect"
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
  )
}
