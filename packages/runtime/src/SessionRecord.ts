/**
 * All that a session is: what was asked, and what has been said. From it a session goes on after a pause, in another actor, in another
 * process; random numbers are a function of (seed, choice, position), so what was not written down in time comes out the same again.
 */
import type { GenerationRequest } from "@helixflow/schema/Generation"
import type { TokenId } from "@helixflow/schema/Ids"
import type { SessionError } from "@helixflow/schema/SessionActor"
import type { Exit } from "effect"
import { EventLog } from "./EventLog.ts"
import * as SequenceProgress from "./SequenceProgress.ts"

export interface SessionRecord {
  /** None: nothing was asked yet. */
  request: GenerationRequest | null
  /** Empty until `Started`. */
  prompt: ReadonlyArray<TokenId>
  /** Of the model that it was begun with: it goes on with no other. Null until it has a place. */
  revision: string | null
  readonly events: EventLog
  /** How it ended; null as long as it may go on. */
  exit: Exit.Exit<void, SessionError> | null
}

export const make = (): SessionRecord => ({
  request: null,
  prompt: [],
  revision: null,
  events: new EventLog(),
  exit: null
})

/** Of its prompt's tokens those that were known when it was computed first. */
export const cachedTokensOf = ({ events }: SessionRecord): number =>
  [...events].reduce((sum, event) => sum + (event._tag === "Delta" ? (event.cachedTokens ?? 0) : 0), 0)

/** How far each choice has come. */
export const progressOf = ({ events, request }: SessionRecord): ReadonlyArray<SequenceProgress.SequenceProgress> => {
  const choices = Array.from({ length: request?.n ?? 0 }, SequenceProgress.make)
  for (const event of events) {
    if (event._tag !== "Delta") continue
    const progress = choices[event.choice]
    if (progress === undefined) continue
    for (const token of event.tokens) progress.tokens.push(token)
    progress.finish = event.finish
  }
  return choices
}

/** What a choice has said. */
export const textOf = ({ events }: SessionRecord, choice: number): string =>
  [...events].map((event) => (event._tag === "Delta" && event.choice === choice ? event.text : "")).join("")
