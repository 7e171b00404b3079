/**
 * The calls of tools in a model's text, found while it arrives. Pure.
 *
 *     It is warm.<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}</tool_call>
 *     `--------´ content    `---------------------------- a call ---------------------------´
 *
 * What looks like a call and is none (no JSON, no name) is text, as it came.
 */
import { CLOSE, OPEN } from "@helixflow/schema/ToolCallNotation"
import { Either, Schema } from "effect"

const Call = Schema.parseJson(
  Schema.Struct({
    name: Schema.NonEmptyString,
    arguments: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.Unknown }), {
      default: () => ({})
    })
  })
)
const decodeCall = Schema.decodeUnknownEither(Call)

/** How calls are told from text. */
export const ToolUse = Schema.Struct({
  /** Whether more than one call is wanted. */
  parallel: Schema.Boolean
})
export type ToolUse = typeof ToolUse.Type

export interface ToolCall {
  readonly name: string
  /** A JSON object. */
  readonly arguments: string
}

/** What a piece of text has added to an answer. */
export interface Parsed {
  readonly content: string
  readonly calls: ReadonlyArray<ToolCall>
}

/** How many characters at the end of `text` may be the beginning of `mark`. */
const begun = (text: string, mark: string): number => {
  for (let length = Math.min(mark.length - 1, text.length); length > 0; length--) {
    if (mark.startsWith(text.slice(text.length - length))) return length
  }
  return 0
}

/** Finds the calls in one choice. */
export class ToolCallParser {
  /** What has arrived and may still become part of a call. */
  #pending = ""
  #inCall = false
  #afterCall = false
  #calls = 0

  /** @param parallel whether more than one call is wanted; the others are left out */
  constructor(readonly parallel: boolean) {}

  /** How many calls there have been. */
  get calls(): number {
    return this.#calls
  }

  /** Takes the next piece of text. `last`: no more will come, so that nothing is held back. */
  add(text: string, last: boolean): Parsed {
    this.#pending += text
    let content = ""
    const calls: Array<ToolCall> = []
    const say = (more: string) => {
      // Line breaks between and after calls belong to their notation.
      const said = this.#afterCall ? more.trimStart() : more
      if (said !== "") this.#afterCall = false
      content += said
    }
    for (;;) {
      const mark = this.#inCall ? CLOSE : OPEN
      const at = this.#pending.indexOf(mark)
      if (at < 0) break
      const before = this.#pending.slice(0, at)
      this.#pending = this.#pending.slice(at + mark.length)
      if (this.#inCall) {
        const call = decodeCall(before)
        if (Either.isLeft(call)) say(OPEN + before + CLOSE)
        else if (this.parallel || this.#calls === 0) {
          calls.push({ name: call.right.name, arguments: JSON.stringify(call.right.arguments) })
          this.#calls += 1
        }
        if (Either.isRight(call)) this.#afterCall = true
      } else say(before)
      this.#inCall = !this.#inCall
    }
    if (last) {
      say((this.#inCall ? OPEN : "") + this.#pending)
      this.#pending = ""
      this.#inCall = false
    } else if (!this.#inCall) {
      const kept = this.#pending.length - begun(this.#pending, OPEN)
      say(this.#pending.slice(0, kept))
      this.#pending = this.#pending.slice(kept)
    }
    return { content, calls }
  }
}
