/** A session that has an actor here, and what is told of it. */
import type { SessionId } from "@helixflow/schema/Ids"
import type { SessionActor } from "@helixflow/schema/SessionActor"
import { Cause, Exit, Option, type Scope } from "effect"
import type { ClientOf } from "./Actor.ts"
import type * as SessionRecord from "./SessionRecord.ts"
import type * as SessionStore from "./SessionStore.ts"

/** What has become of a session that is kept. */
export interface SessionNews {
  readonly session: SessionId
  readonly tenant: string
  readonly model: string
  readonly state: "begun" | "finished" | "cancelled" | "failed"
}

export interface LiveSession {
  readonly session: SessionId
  readonly keep: SessionStore.Keep
  readonly record: SessionRecord.SessionRecord
  readonly certain: number | null
  readonly scope: Scope.CloseableScope
  readonly client: ClientOf<typeof SessionActor>
  /** How many of the record's events were looked at for writing. */
  seen: number
  /** How many events are in the database; null: the session is not. */
  stored: number | null
  /** The revision of its model that it was written with. */
  revision: string | null
  /** When it was described in the database last, in milliseconds, and the bytes that it has said since. */
  describedAt: number
  undescribed: number
  readers: number
  /** The last that was told of it; null: nothing. */
  told: SessionNews["state"] | null
  /** Whether it was asked to generate here. */
  asked: boolean
}

export const keptOf = ({ keep, record, session }: LiveSession): SessionStore.Kept => ({
  session,
  answer: keep.answer,
  ended: record.exit !== null
})

export const stateOf = ({ exit }: SessionRecord.SessionRecord): SessionNews["state"] => {
  if (exit === null) return "begun"
  if (Exit.isSuccess(exit)) return "finished"
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  return error?._tag === "Cancelled" ? "cancelled" : "failed"
}

/** Whether it is gone on with even if nobody listens. */
export const goesOn = ({ asked, keep, record }: LiveSession) => asked && keep.detached && record.exit === null
