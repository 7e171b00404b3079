/**
 * What a session has said, event by event. Nearly all of it is one token after the other with nothing else to be said of it, and those are kept
 * as entries of a few arrays instead of objects: what a thousand streams have said would otherwise be most of what the garbage
 * collector looks at, for as long as they are kept.
 */
import type { TokenId } from "@helixflow/schema/Ids"
import { Delta, type SessionEvent } from "@helixflow/schema/SessionActor"
import { unchecked } from "@helixflow/schema/Unchecked"

export class EventLog implements Iterable<SessionEvent> {
  /** Of each event that is one token: the choice, the token and its text. */
  readonly #choices: Array<number> = []
  readonly #tokens: Array<TokenId | null> = []
  readonly #texts: Array<string> = []
  /** All other events, by where they are. */
  readonly #others = new Map<number, SessionEvent>()

  constructor(events: Iterable<SessionEvent> = []) {
    for (const event of events) this.push(event)
  }

  get length(): number {
    return this.#tokens.length
  }

  push(event: SessionEvent): void {
    const token = tokenOf(event, this.length)
    if (token === null || event._tag !== "Delta") {
      this.#others.set(this.length, event)
      this.#choices.push(0)
      this.#tokens.push(null)
      this.#texts.push("")
    } else {
      this.#choices.push(event.choice)
      this.#tokens.push(token)
      this.#texts.push(event.text)
    }
  }

  /** The events from one place on until before another. */
  slice(from: number, to: number = this.length): ReadonlyArray<SessionEvent> {
    const events: Array<SessionEvent> = []
    for (let index = from; index < Math.min(to, this.length); index++) {
      const event = this.#at(index)
      if (event !== undefined) events.push(event)
    }
    return events
  }

  [Symbol.iterator](): Iterator<SessionEvent> {
    return this.slice(0)[Symbol.iterator]()
  }

  #at(seq: number): SessionEvent | undefined {
    const token = this.#tokens[seq]
    if (token === null || token === undefined) return this.#others.get(seq)
    const choice = this.#choices[seq] ?? 0
    const text = this.#texts[seq] ?? ""
    return unchecked(Delta, { _tag: "Delta", seq, choice, text, tokens: [token], logprobs: null, finish: null })
  }
}

/** The token of an event of which there is no more to say; null of all others. */
const tokenOf = (event: SessionEvent, seq: number): TokenId | null => {
  if (event._tag !== "Delta" || event.seq !== seq || event.tokens.length !== 1) return null
  const isMore =
    event.logprobs !== null ||
    event.finish !== null ||
    event.promptLogprobs !== undefined ||
    event.cachedTokens !== undefined
  return isMore ? null : (event.tokens[0] ?? null)
}
