/** How an answer is written, as data: it is kept with a session, so that whoever comes back gets the same chunks. */
import type { SessionRecord } from "@helixflow/runtime/SessionRecord"
import { ServiceTier } from "@helixflow/schema/Caller"
import { SessionId } from "@helixflow/schema/Ids"
import type { SessionEvent } from "@helixflow/schema/SessionActor"
import { Schema } from "effect"
import { ChatAnswer, chatEncoder } from "./ChatAnswer.ts"
import { CompletionAnswer, completionEncoder } from "./CompletionAnswer.ts"
import type { EventEncoder } from "./EventStream.ts"
import { ToolUse } from "./ToolCalls.ts"

const Identity = Schema.Struct({
  id: SessionId,
  created: Schema.Int,
  model: Schema.String,
  fingerprint: Schema.String,
  tier: Schema.optional(ServiceTier)
})

export const ChatForm = Schema.TaggedStruct("Chat", {
  identity: Identity,
  /** What the client called it on its connection. */
  request: Schema.optional(Schema.String),
  /** When it was asked, among the requests of its session: the later have the greater. */
  order: Schema.optional(Schema.Int),
  n: Schema.Int,
  includeUsage: Schema.Boolean,
  logprobs: Schema.Boolean,
  /** What is told from text as calls; null or absent: nothing, for no tools were offered. */
  tools: Schema.optional(Schema.NullOr(ToolUse))
})

export const CompletionForm = Schema.TaggedStruct("Completion", {
  identity: Identity,
  echoed: Schema.Array(Schema.String),
  includeUsage: Schema.Boolean,
  logprobs: Schema.Boolean,
  n: Schema.Int,
  bestOf: Schema.Int
})

export type ChatForm = typeof ChatForm.Type

export const AnswerForm = Schema.Union(ChatForm, CompletionForm)
export type AnswerForm = typeof AnswerForm.Type

const Text = Schema.parseJson(AnswerForm)
export const toText = Schema.encodeSync(Text)
export const fromText = Schema.decodeSync(Text)

/** How many choices are generated: with more than one, the order of their chunks is chance. */
const choicesOf = (form: AnswerForm): number => (form._tag === "Chat" ? form.n : form.echoed.length)

/** The chunks of a stream. */
export const encoderOf = (form: AnswerForm): EventEncoder =>
  form._tag === "Chat"
    ? chatEncoder(form.identity, form.n, form.includeUsage, form.tools ?? null)
    : completionEncoder(form.identity, form.echoed, form.includeUsage, form.logprobs)

/** A whole answer, to be built from its events. */
export const answerOf = (form: AnswerForm): ChatAnswer | CompletionAnswer =>
  form._tag === "Chat"
    ? new ChatAnswer(form.identity, form.n, form.logprobs, form.tools ?? null)
    : new CompletionAnswer(form.identity, form.echoed, form)

/** How many chunks a stream of these events has so far. */
const countChunks = (form: AnswerForm, events: ReadonlyArray<SessionEvent>): number => {
  const { encode, open } = encoderOf(form)
  return events.reduce((count, event) => count + encode(event).length, open.length)
}

/**
 * The number of the last chunk that is as it was before the server's end. Where the choices' order is chance, chunks that had not been
 * written down by then can't be counted on.
 */
export const lastCertain = (form: AnswerForm, { events }: SessionRecord, certain: number | null): number =>
  certain === null || choicesOf(form) === 1 ? Number.POSITIVE_INFINITY : countChunks(form, events.slice(0, certain)) - 1
