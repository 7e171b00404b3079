/** What a client says on `/v1/ws`: JSON texts, told apart by `type`. */
import { Schema } from "effect"
import { expected, NonEmptyText, nullish } from "./OpenAiParameter.ts"

/** What a client calls a request, unique among those of its connection. */
const Id = Schema.String.pipe(Schema.minLength(1), Schema.maxLength(128), expected("a string of 1 to 128 characters"))

export const topicName = /^[A-Za-z0-9_.:/-]{1,128}$/

const Topic = Schema.String.pipe(
  Schema.pattern(topicName),
  expected("a topic: 1 to 128 characters of A-Z, a-z, 0-9 and _.:/-")
)

/** The number of the last chunk that the client has; -1: none. */
const LastSeq = Schema.Int.pipe(Schema.greaterThanOrEqualTo(-1), expected("the seq of a chunk, or -1 for none"))

const message = <Type extends string, Fields extends Schema.Struct.Fields>(type: Type, fields: Fields) =>
  Schema.Struct({ type: Schema.Literal(type), ...fields })

export const ClientMessage = Schema.Union(
  /** `body` is that of `POST /v1/chat/completions`; the answer is streamed in any case. */
  message("chat.completions.create", { id: Id, body: Schema.Unknown }),
  message("responses.create", { id: Id, body: Schema.Unknown }),
  message("cancel", { id: Id }),
  /** `session` is a connection's session or a completion's id; `last_seq` one number, or one for each request of the session. */
  message("resume", {
    session: NonEmptyText,
    last_seq: nullish(Schema.Union(LastSeq, Schema.Record({ key: Schema.String, value: LastSeq }))),
    id: nullish(Id)
  }),
  message("subscribe", { topic: Topic }),
  message("unsubscribe", { topic: Topic }),
  message("publish", { topic: Topic, data: Schema.Unknown }),
  message("ping", {})
)
export type ClientMessage = typeof ClientMessage.Type

export const messageTypes: ReadonlyArray<string> = ClientMessage.members.map(({ fields }) => fields.type.literals[0])
